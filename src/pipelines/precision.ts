import type { Device } from '../autograd/device.ts'
import { FoveaError } from '../gpu/errors.ts'

/** 'mixed': activations and their gradients in float16 where that is safe, all else in float32. */
export type Precision = 'float32' | 'mixed'

/** Refuses a precision that is none, or that the adapter does not offer. */
export function checkPrecision(op: string, device: Device, precision: Precision): void {
  if (precision !== 'float32' && precision !== 'mixed')
    throw new FoveaError(`${op}: precision is 'float32' or 'mixed', got '${precision}'`)
  if (precision === 'mixed') device.assertHalf(op)
}

/** Runs a network's part of a step in a precision. */
export const inPrecision = <R>(device: Device, precision: Precision, fn: () => R): R =>
  precision === 'mixed' ? device.autocast(fn) : fn()
