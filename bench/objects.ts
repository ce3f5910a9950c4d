import type { Device } from '../src/autograd/device.ts'
import { gt } from '../src/autograd/ops/comparison.ts'
import { slice } from '../src/autograd/ops/slice.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import { evenSpans, objectsAPass } from '../src/pipelines/object-rows.ts'
import { inPrecision } from '../src/pipelines/precision.ts'
import { segmentSeveral } from '../src/pipelines/segment-several.ts'
import { segmentThenSegment } from '../src/pipelines/segment-then-segment.ts'
import { NETWORKS } from './catalog.ts'
import { budget, median } from './measure.ts'
import type { NetworkCase } from './networks.ts'
import { DISCS, type Scene } from './scenes.ts'

/** Where the time of a method goes that takes an image apart by its objects. Medians in milliseconds. */
export interface ObjectsRow {
  readonly method: string
  readonly images: number
  readonly objects: number
  /** From images on the GPU to masks read back. */
  readonly ms: number
  /** The rough network alone on its inputs, and the fine one on its own in the same passes. */
  readonly roughMs: number
  readonly fineMs: number
  /** The method with networks that do nothing: components, boxes, crops or warps, pasting or fusion, both waits. */
  readonly restMs: number
  /** restMs over both networks. */
  readonly share: number
  /** ms over a pass of the rough network: what segmenting the same images by a single network takes. */
  readonly passes: number
  /** What the GPU does of the rest, by op. */
  readonly parts: readonly { readonly op: string; readonly ms: number }[]
}

/** The first channel's bright pixels: what the networks of this bench are taken to say. */
const bright = (x: Tensor): Tensor =>
  gt(slice(x, { starts: [0, 0, 0, 0], ends: [x.shape[0]!, 1, x.shape[2]!, x.shape[3]!] }), 0)

type Segment = (x: Tensor) => Tensor

/** A method on its images: reads the masks, gives the number of objects. */
type Method = (rough: Segment, fine: Segment) => Promise<number>

async function middle(device: Device, call: () => unknown): Promise<number> {
  const times: number[] = []
  const end = performance.now() + budget(6000)
  for (let i = 0; i < 2 || (times.length < 5 && performance.now() < end); i++) {
    const start = performance.now()
    await call()
    await device.idle()
    if (i > 0) times.push(performance.now() - start)
  }
  return median(times)
}

/**
 * Times segment-then-segment and polar segmentation of several objects on images of 154 discs each, or of a scene's objects,
 * bright on dark ground. The networks run and their results are put aside, so that every object is found whatever their
 * weights.
 */
export async function benchObjects(
  device: Device,
  each: NetworkCase,
  scene: Scene = DISCS,
): Promise<ObjectsRow[]> {
  const { network, features, inChannels, batch, side, precision = 'float32' } = each
  const net = NETWORKS[network]!.make(device, { features, inChannels }).eval()
  const run: Segment = (x) => inPrecision(device, precision, () => net.forward(x) as Tensor)
  const busy: Segment = (x) => {
    run(x)
    return bright(x)
  }
  const images = (height: number, width: number): Tensor => {
    const all = new Float32Array(batch * inChannels * height * width)
    const one = scene.at(height, width).map((v) => v - 0.5)
    for (let i = 0; i < batch * inChannels; i++) all.set(one, i * one.length)
    return device.tensor(all, [batch, inChannels, height, width])
  }
  /** A network alone on so many inputs, in the passes that the method takes. */
  const alone = (count: number, size: number) => {
    const spans = evenSpans(count, objectsAPass(size, size))
    const inputs = spans.map(([from, to]) => device.full([to - from, inChannels, size, size], 0.1))
    const call = () => device.noGrad(() => device.scope(() => void inputs.map((x) => run(x))))
    return { call, free: () => inputs.map((x) => x.dispose()) }
  }
  const rowOf = async (method: string, size: number, call: Method): Promise<ObjectsRow> => {
    const objects = await call(busy, busy)
    const ms = await middle(device, () => call(busy, busy))
    const restMs = await middle(device, () => call(bright, bright))
    const passes: number[] = []
    for (const count of [batch, objects]) {
      const network = alone(count, size)
      passes.push(await middle(device, network.call))
      network.free()
    }
    const [roughMs, fineMs] = passes as [number, number]
    const { kernels } = await device.profile(() => call(bright, bright), { print: false })
    const byOp = new Map<string, number>()
    for (const k of kernels) byOp.set(k.op, (byOp.get(k.op) ?? 0) + k.ms)
    const parts = [...byOp].map(([op, ms]) => ({ op, ms })).sort((a, b) => b.ms - a.ms)
    return {
      method,
      images: batch,
      objects,
      ms,
      roughMs,
      fineMs,
      restMs,
      share: restMs / (roughMs + fineMs),
      passes: ms / roughMs,
      parts,
    }
  }
  const { title, height, width } = scene
  const whole = images(height, width)
  const crops = await rowOf(`segment-then-segment, ${side}², ${title}`, side, async (rough, fine) => {
    const [r] = await segmentThenSegment(device, [whole], { rough, fine, size: side })
    await r!.mask.data()
    for (const t of [r!.rough, r!.mask, r!.boxes]) t.dispose()
    return r!.boxes.shape[0]!
  })
  whole.dispose()
  const square = images(2 * side, 2 * side)
  const several = await rowOf(
    `several objects, polar, ${2 * side}², ${title}`,
    2 * side,
    async (rough, fine) => {
      const r = await segmentSeveral(device, square, { rough, fine })
      await r.mask.data()
      for (const t of [r.rough, r.fused, r.mask, r.origins]) t?.dispose()
      return r.counts.reduce((a, b) => a + b, 0)
    },
  )
  square.dispose()
  return [crops, several]
}
