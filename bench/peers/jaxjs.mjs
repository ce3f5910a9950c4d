/** jax-js on WebGPU, each item one jitted function, in NCHW (its own layout). Prints one JSON line; see README.md. */
import * as jax from './entries/jaxjs.mjs'
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

const { jit, lax, nn, numpy: np, tree, valueAndGrad } = jax
const { adapter, counts } = await openWebGPU()
if (!(await jax.init('webgpu')).includes('webgpu')) throw new Error('jax-js found no WebGPU')
jax.defaultDevice('webgpu')

// A jax-js function consumes its arguments; `.ref` (tree.ref for a tree) is one more use of a value.
const tensor = (values, shape) => np.array(values).reshape(shape)
const conv3 = (x, weight) => lax.conv(x, weight, [1, 1], 'SAME')

function convTensors() {
  const { batch, channels, filters, size, kernel } = CONV
  const { x, weight, dy } = convData()
  return {
    x: tensor(x, [batch, channels, size, size]),
    weight: tensor(weight, [filters, channels, kernel, kernel]),
    dy: tensor(dy, [batch, filters, size, size]),
  }
}

/** Times `run`, a function that makes a tree of arrays; the check is each array's mean absolute value. */
async function time(name, run) {
  const step = async () => {
    const made = run()
    await jax.blockUntilReady(made)
    tree.dispose(made)
  }
  const result = await measure(name, step, counts)
  const check = []
  for (const array of tree.leaves(run())) check.push(meanAbs(await array.data()))
  return { ...result, check }
}

async function conv(name) {
  const { x, weight } = convTensors()
  const forward = jit(conv3)
  return time(name, () => [forward(x.ref, weight.ref)])
}

async function convGradients(name) {
  const { x, weight, dy } = convTensors()
  // Σ y·dy has the gradients of y under dy; jit drops its value, and so the forward pass.
  const product = (x, weight, dy) => conv3(x, weight).mul(dy).sum()
  const gradients = jit((x, weight, dy) => valueAndGrad(product, { argnums: [0, 1] })(x, weight, dy)[1])
  return time(name, () => gradients(x.ref, weight.ref, dy.ref))
}

/** `[trained, running]`: the weights, and the running statistics of the batch norms, by layer name. */
function unetTensors() {
  const weights = unetWeights()
  const trained = {}
  const running = {}
  for (const { name, kind, size, input, output } of unetLayers()) {
    const { weight, bias, scale, shift } = weights.get(name)
    const column = (values) => tensor(values, [1, output, 1, 1])
    if (kind === 'norm') {
      trained[name] = { scale: column(scale), shift: column(shift) }
      running[name] = { mean: np.zeros([1, output, 1, 1]), variance: np.ones([1, output, 1, 1]) }
    } else {
      const channels = kind === 'up' ? [input, output] : [output, input]
      trained[name] = { weight: tensor(weight, [...channels, size, size]) }
      if (bias) trained[name].bias = column(bias)
    }
  }
  return [trained, running]
}

function batchTensors() {
  const { batch, channels, size } = UNET
  const { images, masks } = unetBatch()
  return [images, masks].map((values) => tensor(values, [batch, channels, size, size]))
}

/** Max pooling 2×2 by a reshape: jax-js's reduceWindow does the same and more slowly. */
function maxPool(x) {
  const [n, c, height, width] = x.shape
  return np.max(x.reshape([n, c, height / 2, 2, width / 2, 2]), [3, 5])
}

/**
 * The 2×2 transposed convolution of stride 2 as a matrix product, weight input × output × 2 × 2. (jax-js 0.1.25's
 * lax.convTranspose computes wrong values on WebGPU, on lavapipe and SwiftShader alike, though not on Wasm; and
 * einsum takes no string on Node 20.)
 */
function upconv(x, weight) {
  const [n, , height, width] = x.shape
  const output = weight.shape[1]
  const [image, input, y, column, channel, dy, dx] = [0, 1, 2, 3, 4, 5, 6]
  return np
    .einsum(
      x,
      [image, input, y, column],
      weight,
      [input, channel, dy, dx],
      [image, channel, y, dy, column, dx],
    )
    .reshape([n, output, 2 * height, 2 * width])
}

/** Returns the prediction; in training, puts each batch norm's statistics of the batch into `statistics`. */
function unet(trained, running, x, statistics) {
  function norm(x, name) {
    const { scale, shift } = trained[name]
    const axes = [0, 2, 3]
    const mean = statistics ? np.mean(x.ref, axes, { keepdims: true }) : running[name].mean
    const centred = x.sub(mean.ref)
    const variance = statistics
      ? np.mean(np.square(centred.ref), axes, { keepdims: true })
      : running[name].variance
    if (statistics) statistics[name] = { mean, variance: variance.ref }
    else mean.dispose()
    return centred.mul(scale.div(np.sqrt(variance.add(BATCH_NORM.epsilon)))).add(shift)
  }

  function block(x, name) {
    for (const half of [1, 2])
      x = nn.relu(norm(conv3(x, trained[`${name}.conv${half}`].weight), `${name}.norm${half}`))
    return x
  }

  const skips = []
  for (let level = 1; level <= UNET.levels; level++) {
    const out = block(x, `encoder${level}`)
    skips.push(out.ref)
    x = maxPool(out)
  }
  x = block(x, 'bottleneck')
  for (let level = UNET.levels; level >= 1; level--) {
    const { weight, bias } = trained[`upconv${level}`]
    x = upconv(x, weight).add(bias)
    x = block(np.concatenate([x, skips[level - 1]], 1), `decoder${level}`)
  }
  const { weight, bias } = trained.conv
  return nn.sigmoid(lax.conv(x, weight, [1, 1], 'VALID').add(bias))
}

async function inference(name) {
  const [trained, running] = unetTensors()
  const [images] = batchTensors()
  const predict = jit((trained, running, x) => unet(trained, running, x))
  return time(name, () => [predict(tree.ref(trained), tree.ref(running), images.ref)])
}

function diceLoss(predicted, masks) {
  const overlap = predicted.ref.mul(masks.ref).sum().mul(2).add(DICE_SMOOTH)
  return np.subtract(1, overlap.div(predicted.sum().add(masks.sum()).add(DICE_SMOOTH)))
}

/** One step: loss, gradients, Adam, running statistics; `count` is the step's number, from 1. */
function trainingStep({ trained, running, first, second, count }, images, masks) {
  const lossOf = (trained, images, masks) => {
    const statistics = {}
    const predicted = unet(trained, undefined, images, statistics)
    return [diceLoss(predicted, masks), statistics]
  }
  const [[loss, statistics], gradients] = valueAndGrad(lossOf, { hasAux: true })(
    tree.ref(trained),
    images,
    masks,
  )
  const { learningRate, beta1, beta2, epsilon } = ADAM
  const follow = (old, now, rate) => old.mul(1 - rate).add(now.mul(rate))
  const momenta = tree.map((m, g) => follow(m, g.ref, 1 - beta1), first, gradients)
  const squares = tree.map((v, g) => follow(v, np.square(g), 1 - beta2), second, gradients)
  const corrected = (value, beta) => value.div(np.subtract(1, np.power(beta, count.ref)))
  const updated = tree.map(
    (w, m, v) => {
      const root = np.sqrt(corrected(v.ref, beta2)).add(epsilon)
      return w.sub(corrected(m.ref, beta1).mul(learningRate).div(root))
    },
    trained,
    momenta,
    squares,
  )
  const state = {
    trained: updated,
    running: tree.map((old, now) => follow(old, now, BATCH_NORM.momentum), running, statistics),
    first: momenta,
    second: squares,
    count: count.add(1),
  }
  return [loss, state]
}

async function training(name) {
  const [trained, running] = unetTensors()
  const [images, masks] = batchTensors()
  const zeros = () => tree.map((w) => np.zeros(w.shape), trained)
  let state = { trained, running, first: zeros(), second: zeros(), count: np.array([1]) }
  const jitted = jit(trainingStep)
  const losses = []
  const step = async () => {
    const [loss, next] = jitted(state, images.ref, masks.ref)
    state = next
    await jax.blockUntilReady(state)
    losses.push((await loss.data())[0])
  }
  const result = await measure(name, step, counts)
  return { ...result, check: losses.slice(0, 2) }
}

await report('jax-js', packageVersion('@jax-js/jax'), adapter, [
  [ITEMS.conv, conv],
  [ITEMS.convGradients, convGradients],
  [ITEMS.inference, inference],
  [ITEMS.training, training],
])
