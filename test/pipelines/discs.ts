import { Prng } from '../../src/autograd/random.ts'
import type { Sample } from '../../src/data/dataset.ts'

/** Bright discs of random place and size on a dark, noisy ground, with their masks. */
export function discs(count: number, { size = 32, seed = 1 } = {}): Sample[] {
  const prng = new Prng(seed)
  return Array.from({ length: count }, (_, i): Sample => {
    const r = size * (0.15 + 0.15 * prng.uniform())
    const [cx, cy] = [0, 0].map(() => r + (size - 1 - 2 * r) * prng.uniform()) as [number, number]
    const mask = new Float32Array(size * size)
    const image = new Float32Array(size * size)
    for (let k = 0; k < mask.length; k++) {
      mask[k] = Math.hypot((k % size) - cx, Math.floor(k / size) - cy) <= r ? 1 : 0
      image[k] = mask[k]! - 0.5 + 0.3 * (prng.uniform() - 0.5)
    }
    const id = `disc${i}`
    const data = { image, mask, height: size, width: size, channels: 1 }
    return { id, group: id, imagePath: '', originalSize: [size, size], load: async () => data }
  })
}
