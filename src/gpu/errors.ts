/**
 * Every error that fovea throws on purpose. A message is a sentence: what was called, what it got,
 * what it wants, what to do. Catch by class; `op` names the operation where there is one.
 */
export class FoveaError extends Error {
  override name = 'FoveaError'
  /** The op in which it arose, where one is to blame. */
  readonly op: string | undefined
  constructor(message: string, options?: { op?: string | undefined; cause?: unknown }) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause })
    this.op = options?.op
  }
}

/** A shape, dtype or option that does not fit; thrown by the very call that was given it. */
export class ShapeError extends FoveaError {
  override name = 'ShapeError'
  constructor(op: string, detail: string) {
    super(`${op}: ${detail}`, { op })
  }
}

/** A tensor was used after it was freed. */
export class FreedTensorError extends FoveaError {
  override name = 'FreedTensorError'
}

/** No gradient can be had: the op has no backward rule, or there is nothing to differentiate. */
export class GradientError extends FoveaError {
  override name = 'GradientError'
}

/** No usable GPU adapter, or one that computes wrongly. */
export class AdapterError extends FoveaError {
  override name = 'AdapterError'
}

/** The GPU refused a command (WebGPU validation). A fault of a kernel or of its launch. */
export class GpuValidationError extends FoveaError {
  override name = 'GpuValidationError'
}

/** The GPU has no room, or a limit of the adapter is too small for what was asked. */
export class GpuOutOfMemoryError extends FoveaError {
  override name = 'GpuOutOfMemoryError'
  /** Bytes that there is room for in all, where that is known: the limit, or what was held when the driver refused. */
  readonly room: number | undefined
  constructor(
    message: string,
    options?: { op?: string | undefined; room?: number | undefined; cause?: unknown },
  ) {
    super(message, options)
    this.room = options?.room
  }
}

/** The device is gone. Nothing computed since is valid; open a new one and go on from a checkpoint. */
export class DeviceLostError extends FoveaError {
  override name = 'DeviceLostError'
}

/** A kernel does not compile; the message carries file, line, column and the source line. */
export class ShaderError extends FoveaError {
  override name = 'ShaderError'
}

/** An image, mask, folder or other input that cannot be used; the message names the file. */
export class DataError extends FoveaError {
  override name = 'DataError'
}

/** A checkpoint or weight file that is damaged, or belongs to another network. */
export class CheckpointError extends FoveaError {
  override name = 'CheckpointError'
}

/** Weights of another network: `differences` names each tensor that is missing, unknown or of another shape. */
export class WeightsMismatchError extends CheckpointError {
  override name = 'WeightsMismatchError'
  constructor(
    network: string,
    readonly differences: readonly string[],
  ) {
    super(
      `the weights do not belong to this ${network}: ${listed(differences, 8)}. ` +
        'Build the network with the options it was saved with, or pass { strict: false }',
    )
  }
}

/** The first of some texts, and how many more there are. */
export function listed(texts: readonly string[], most: number): string {
  const rest = texts.length - most
  return `${texts.slice(0, most).join('; ')}${rest > 0 ? ` and ${rest} more` : ''}`
}

/** Training cannot go on: the loss is not finite. */
export class TrainingError extends FoveaError {
  override name = 'TrainingError'
}
