/** TensorFlow.js on its WebGPU backend, in NHWC (its own layout). Prints one JSON line; see README.md. */

import { mkdtempSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build } from 'esbuild'
import { measure, openWebGPU, packageVersion, report } from './measure.mjs'
import {
  ADAM,
  BATCH_NORM,
  CONV,
  convData,
  DICE_SMOOTH,
  ITEMS,
  meanAbs,
  UNET,
  unetBatch,
  unetLayers,
  unetWeights,
} from './workload.mjs'

/** Node cannot import tfjs's gradients as they are published, so esbuild makes one file of all of it. */
async function load() {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-peers-'))
  try {
    const outfile = join(folder, 'tfjs.cjs')
    const entry = fileURLToPath(new URL('entries/tfjs.mjs', import.meta.url))
    const target = { bundle: true, format: 'cjs', platform: 'node', mainFields: ['module', 'main'] }
    await build({ ...target, entryPoints: [entry], outfile, logLevel: 'error' })
    return createRequire(import.meta.url)(outfile)
  } finally {
    rmSync(folder, { recursive: true })
  }
}

const { adapter, counts } = await openWebGPU()
const tf = await load()
await tf.setBackend('webgpu')
await tf.ready()

/** Sends what tfjs has recorded and waits for the GPU. */
async function done() {
  const backend = tf.backend()
  backend.endComputePassEncoder()
  if (backend.commandEncoder) backend.submitQueue()
  await backend.device.queue.onSubmittedWorkDone()
}

const toNhwc = [0, 2, 3, 1]
const toHwio = [2, 3, 1, 0]

function convTensors() {
  const { batch, channels, filters, size, kernel } = CONV
  const { x, weight, dy } = convData()
  return {
    x: tf.transpose(tf.tensor4d(x, [batch, channels, size, size]), toNhwc),
    weight: tf.transpose(tf.tensor4d(weight, [filters, channels, kernel, kernel]), toHwio),
    dy: tf.transpose(tf.tensor4d(dy, [batch, filters, size, size]), toNhwc),
  }
}

async function conv(name) {
  const { x, weight } = convTensors()
  const step = async () => {
    const y = tf.conv2d(x, weight, 1, 'same')
    await done()
    y.dispose()
  }
  const result = await measure(name, step, counts)
  return { ...result, check: [meanAbs(await tf.conv2d(x, weight, 1, 'same').data())] }
}

async function convGradients(name) {
  const { x, weight, dy } = convTensors()
  // The two kernels that the gradient of tf.conv2d runs, without the forward pass that tf.grads would add.
  const attributes = { strides: 1, pad: 'same', dataFormat: 'NHWC' }
  const gradients = () => [
    tf
      .engine()
      .runKernel('Conv2DBackpropInput', { dy, filter: weight }, { ...attributes, inputShape: x.shape }),
    tf.engine().runKernel('Conv2DBackpropFilter', { x, dy }, { ...attributes, filterShape: weight.shape }),
  ]
  const step = async () => {
    const made = gradients()
    await done()
    for (const tensor of made) tensor.dispose()
  }
  const result = await measure(name, step, counts)
  const check = []
  for (const tensor of gradients()) check.push(meanAbs(await tensor.data()))
  return { ...result, check }
}

/** tfjs wants size × size × input × output, and size × size × output × input for a transposed convolution. */
function variable(values, { kind, size, input, output }) {
  const shape = kind === 'up' ? [input, output, size, size] : [output, input, size, size]
  return tf.variable(tf.transpose(tf.tensor4d(values, shape), toHwio))
}

function unet() {
  const weights = unetWeights()
  const layers = new Map(
    unetLayers().map((layer) => {
      const { weight, bias, scale, shift } = weights.get(layer.name)
      return [
        layer.name,
        layer.kind === 'norm'
          ? {
              scale: tf.variable(tf.tensor1d(scale)),
              shift: tf.variable(tf.tensor1d(shift)),
              mean: tf.variable(tf.zeros([layer.output]), false),
              variance: tf.variable(tf.ones([layer.output]), false),
            }
          : { weight: variable(weight, layer), bias: bias && tf.variable(tf.tensor1d(bias)) },
      ]
    }),
  )
  const trained = [...layers.values()].flatMap(({ weight, bias, scale, shift }) => [
    weight,
    bias,
    scale,
    shift,
  ])

  function norm(x, name, training) {
    const { scale, shift, mean, variance } = layers.get(name)
    if (!training) return tf.batchNorm(x, mean, variance, shift, scale, BATCH_NORM.epsilon)
    const batch = tf.moments(x, [0, 1, 2])
    const follow = (running, now) =>
      running.assign(tf.add(running, tf.mul(tf.sub(now, running), BATCH_NORM.momentum)))
    follow(mean, batch.mean)
    follow(variance, batch.variance)
    return tf.batchNorm(x, batch.mean, batch.variance, shift, scale, BATCH_NORM.epsilon)
  }

  function block(x, name, training) {
    for (const half of [1, 2]) {
      x = tf.conv2d(x, layers.get(`${name}.conv${half}`).weight, 1, 'same')
      x = tf.relu(norm(x, `${name}.norm${half}`, training))
    }
    return x
  }

  function forward(x, training) {
    const skips = []
    for (let level = 1; level <= UNET.levels; level++) {
      skips.push(block(x, `encoder${level}`, training))
      x = tf.maxPool(skips.at(-1), 2, 2, 'valid')
    }
    x = block(x, 'bottleneck', training)
    for (let level = UNET.levels; level >= 1; level--) {
      const { weight, bias } = layers.get(`upconv${level}`)
      const [n, height, width] = x.shape
      const shape = [n, 2 * height, 2 * width, weight.shape[2]]
      x = tf.add(tf.conv2dTranspose(x, weight, shape, 2, 'valid'), bias)
      x = block(tf.concat([x, skips[level - 1]], 3), `decoder${level}`, training)
    }
    const { weight, bias } = layers.get('conv')
    return tf.sigmoid(tf.add(tf.conv2d(x, weight, 1, 'valid'), bias))
  }
  return { forward, trained: trained.filter(Boolean) }
}

function unetTensors() {
  const { batch, size } = UNET
  const { images, masks } = unetBatch()
  // One channel: NCHW and NHWC are the same bytes.
  return [images, masks].map((values) => tf.tensor4d(values, [batch, size, size, 1]))
}

async function inference(name) {
  const { forward } = unet()
  const [images] = unetTensors()
  const run = () => tf.tidy(() => forward(images, false))
  const step = async () => {
    const y = run()
    await done()
    y.dispose()
  }
  const result = await measure(name, step, counts)
  return { ...result, check: [meanAbs(await run().data())] }
}

async function training(name) {
  const { forward, trained } = unet()
  const [images, masks] = unetTensors()
  const optimiser = new tf.AdamOptimizer(ADAM.learningRate, ADAM.beta1, ADAM.beta2, ADAM.epsilon)
  const dice = () => {
    const predicted = forward(images, true)
    const overlap = tf.add(tf.mul(tf.sum(tf.mul(predicted, masks)), 2), DICE_SMOOTH)
    return tf.sub(1, tf.div(overlap, tf.add(tf.add(tf.sum(predicted), tf.sum(masks)), DICE_SMOOTH)))
  }
  const losses = []
  const step = async () => {
    const loss = optimiser.minimize(dice, true, trained)
    losses.push((await loss.data())[0])
    await done()
    loss.dispose()
  }
  const result = await measure(name, step, counts)
  return { ...result, check: losses.slice(0, 2) }
}

await report('tfjs-backend-webgpu', packageVersion('@tensorflow/tfjs-backend-webgpu'), adapter, [
  [ITEMS.conv, conv],
  [ITEMS.convGradients, convGradients],
  [ITEMS.inference, inference],
  [ITEMS.training, training],
])
