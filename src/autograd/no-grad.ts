import type { Device } from './device.ts'

/** Runs `fn` without recording gradients on `device`; the same as `device.noGrad(fn)`. `fn` must not be async. */
export const noGrad = <R>(device: Device, fn: () => R): R => device.noGrad(fn)
