/**
 * The work that every peer does, in plain numbers: item names, sizes, seeded data and the U-Net's layers.
 * Each peer lays these out as it likes best (tfjs wants NHWC), so no conversion falls into a measured run.
 */

export const ITEMS = {
  conv: 'conv3x3 4x32->32x64x64',
  convGradients: 'conv3x3 gradients 4x32->32x64x64',
  inference: 'unet16 inference 4x1x64x64',
  training: 'unet16 training step 4x1x64x64',
}

export const CONV = { batch: 4, channels: 32, filters: 32, size: 64, kernel: 3 }
export const UNET = { batch: 4, channels: 1, size: 64, features: 16, levels: 4 }
export const ADAM = { learningRate: 1e-3, beta1: 0.9, beta2: 0.999, epsilon: 1e-8 }
export const BATCH_NORM = { epsilon: 1e-5, momentum: 0.1 }
/** λ of the soft Dice loss `1 − (2Σxy + λ)/(Σx + Σy + λ)` over the batch. */
export const DICE_SMOOTH = 1

/** Seeded uniform numbers in [low, high) (the mulberry32 generator). */
export function uniform(seed, length, low = -1, high = 1) {
  let state = seed >>> 0
  return Float32Array.from({ length }, () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return low + ((high - low) * ((t ^ (t >>> 14)) >>> 0)) / 2 ** 32
  })
}

/** The convolution's input, weight and output gradient, in PyTorch's layout (NCHW; output × input × size × size). */
export function convData() {
  const { batch, channels, filters, size, kernel } = CONV
  return {
    x: uniform(1, batch * channels * size * size),
    weight: uniform(2, filters * channels * kernel * kernel),
    dy: uniform(3, batch * filters * size * size),
  }
}

/** Mean absolute value: the fingerprint by which the peers' results are compared. */
export const meanAbs = (values) => values.reduce((sum, value) => sum + Math.abs(value), 0) / values.length

/** Images and discs to find in them: `{ images, masks }`, each batch × 1 × size × size. */
export function unetBatch() {
  const { batch, size } = UNET
  const masks = new Float32Array(batch * size * size)
  for (let n = 0, i = 0; n < batch; n++) {
    const [cx, cy, radius] = [size * 0.4 + 3 * n, size * 0.5 - 2 * n, size * 0.2 + n]
    for (let y = 0; y < size; y++)
      for (let x = 0; x < size; x++, i++) masks[i] = Math.hypot(x - cx, y - cy) < radius ? 1 : 0
  }
  const images = uniform(7, masks.length, -0.3, 0.3).map((noise, i) => noise + masks[i] - 0.5)
  return { images, masks }
}

const block = (name, input, output) => [
  { name: `${name}.conv1`, kind: 'conv', size: 3, input, output },
  { name: `${name}.norm1`, kind: 'norm', output },
  { name: `${name}.conv2`, kind: 'conv', size: 3, input: output, output },
  { name: `${name}.norm2`, kind: 'norm', output },
]

/**
 * The layers that hold weights, in the order of the forward pass: encoder1…4, bottleneck, upconv4, decoder4, …,
 * upconv1, decoder1, conv. `kind` is conv (3×3, no bias), norm, up (2×2 stride 2, bias) or head (1×1, bias).
 */
export function unetLayers() {
  const { channels, features, levels } = UNET
  const width = (level) => features * 2 ** (level - 1)
  const down = Array.from({ length: levels }, (_, i) => i + 1)
  return [
    ...down.flatMap((level) =>
      block(`encoder${level}`, level === 1 ? channels : width(level - 1), width(level)),
    ),
    ...block('bottleneck', width(levels), width(levels + 1)),
    ...down
      .reverse()
      .flatMap((level) => [
        { name: `upconv${level}`, kind: 'up', size: 2, input: width(level + 1), output: width(level) },
        ...block(`decoder${level}`, 2 * width(level), width(level)),
      ]),
    { name: 'conv', kind: 'head', size: 1, input: width(1), output: 1 },
  ]
}

/**
 * Seeded weights by layer name, uniform in ±1/√fan-in, in PyTorch's layouts: output × input × size × size, and
 * input × output × 2 × 2 for the transposed convolutions.
 */
export function unetWeights() {
  return new Map(
    unetLayers().map(({ name, kind, size, input, output }, i) => {
      if (kind === 'norm')
        return [name, { scale: new Float32Array(output).fill(1), shift: new Float32Array(output) }]
      const bound = 1 / Math.sqrt(input * size * size)
      const weight = uniform(100 + i, output * input * size * size, -bound, bound)
      return [name, { weight, bias: kind === 'conv' ? undefined : uniform(500 + i, output, -bound, bound) }]
    }),
  )
}
