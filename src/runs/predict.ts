import type { Device } from '../autograd/device.ts'
import type { Sample, SampleData } from '../data/dataset.ts'
import type { Method, Networks } from './methods/method.ts'
import type { Settings } from './settings.ts'

/** Probability maps (H, W) of prepared images, each in its own size: what `fovea predict` writes. */
export async function predictMasks(
  device: Device,
  method: Method,
  settings: Settings,
  nets: Networks,
  images: readonly SampleData[],
): Promise<Float32Array[]> {
  const samples = images.map((data, i): Sample => {
    const { height, width } = data
    return { id: String(i), group: '', imagePath: '', originalSize: [height, width], load: async () => data }
  })
  // The mask that a user gets is the last one: origins that a network found, fine crops.
  const scored = await method.score(device, nets, samples, {
    ...settings,
    origins: method.userOrigins ?? ['cartesian'],
  })
  return scored.at(-1)!.images.map((e) => e.prediction)
}
