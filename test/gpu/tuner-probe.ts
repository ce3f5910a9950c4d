import { matmul } from '../../src/autograd/ops/matmul.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { tunerOf } from '../../src/gpu/tuner.ts'
import { openDevice } from '../../src/node/open.ts'

/**
 * Run as a process of its own, with FOVEA_TUNE and FOVEA_CACHE: prepares a product of m rows (first argument),
 * and prints as JSON what the tuner took and whether it had to measure.
 */
const rows = Number(process.argv[2])
const device = await openDevice()
const tuner = tunerOf(device)
const settle = tuner.settle.bind(tuner)
let measured = 0
tuner.settle = (question, variant) => {
  measured++
  settle(question, variant)
}
const step = device.compile((a: Tensor, b: Tensor) => matmul(a, b))
const [a, b] = [device.zeros([rows, 16]), device.zeros([16, 16])]
await step.prepare(a, b)
process.stdout.write(`${JSON.stringify({ measured, choices: tuner.export().choices })}\n`, () =>
  process.exit(0),
)
