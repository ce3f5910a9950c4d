// Trains a small U-Net on images with masks and writes the mask of one held-out image:
//   node examples/train.mjs [folder] [epochs] [mask.png]
import * as fovea from 'fovea'

const [folder = 'data/lesion', epochs = '8', file = 'runs/mask.png'] = process.argv.slice(2)
const device = await fovea.openDevice()
const { samples, channels } = await fovea.openDataset(folder, { size: 64 })
const fractions = { train: 0.8, validation: 0.1, test: 0.1 }
const { train, validation, test } = fovea.splitDataset(samples, { fractions, seed: 42 })

const net = new fovea.UNet(device, { inChannels: channels, features: 8, seed: 42 })
const task = fovea.cartesianTask()
const onEpoch = (m) => console.log(`epoch ${m.epoch}: loss ${m.trainLoss}, DSC ${m.validationScore}`)
await fovea.train(net, device, { task, train, validation, epochs: +epochs, batchSize: 4, lr: 2e-3, onEpoch })

const [first, ...others] = await fovea.evaluateCartesian(device, net, test)
await fovea.writeMask(file, first.prediction, { height: 64, width: 64 })
console.log(`DSC ${first.scores.dice} for ${first.id} (${file}), ${others.length} more`)
device.destroy()
