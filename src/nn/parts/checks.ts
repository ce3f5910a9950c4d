import { formatShape, type Tensor } from '../../autograd/tensor.ts'
import { FoveaError, ShapeError } from '../../gpu/errors.ts'

/** Refuses options that are no whole numbers of at least 1. */
export function checkCounts(network: string, counts: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(counts)) {
    if (!Number.isInteger(value) || value < 1)
      throw new FoveaError(`${network}: ${name} must be a whole number of at least 1, got ${value}`)
  }
}

/** Refuses an input that is not (N, inChannels, H, W) with sides that are multiples of `step`. */
export function checkImages(network: string, x: Tensor, inChannels: number, step: number): void {
  const [, c, h, w] = x.shape
  if (x.rank !== 4 || c !== inChannels)
    throw new ShapeError(network, `expects (N, ${inChannels}, H, W), got ${formatShape(x.shape)}`)
  if (h! % step !== 0 || w! % step !== 0 || h === 0 || w === 0) {
    throw new ShapeError(
      network,
      `H and W must be multiples of ${step}, got ${formatShape(x.shape)}; resize or pad the image`,
    )
  }
}
