import { pad } from '../autograd/ops/pad.ts'
import { formatShape, type Shape, sameShape, type Tensor } from '../autograd/tensor.ts'
import { CheckpointError } from '../gpu/errors.ts'
import type { Module } from './module.ts'
import { type TensorRecord, tensorsFromSafetensors } from './state.ts'

export interface TransferOptions {
  /** Only the encoder: names that begin with `encoder` or `bottleneck`. Default false. */
  readonly encoderOnly?: boolean
  /**
   * 'zero': where the network's first convolution takes more channels than the weights have, the extra input
   * planes begin at zero, so that it computes at first what it computed without them. Default: it is skipped.
   */
  readonly extraChannels?: 'zero' | undefined
}

/** What a transfer did. */
export interface TransferReport {
  /** The network's names that took weights. */
  readonly matched: readonly string[]
  /** Of these, the ones whose extra input planes were set to zero. */
  readonly extended: readonly string[]
  /** Weights that were given and not used, by their own names. */
  readonly skipped: readonly { readonly name: string; readonly why: string }[]
  /** The network's names that kept their values. */
  readonly kept: readonly string[]
}

const ENCODER = /^(encoder|bottleneck)/

/** A ResNet's names as torchvision writes them, without a prefix. */
const RESNET = /^(conv1|bn1|layer[1-4])\./

/** The network's name for a given one: itself, without DataParallel's `module.`, or with `encoder.` before a ResNet's. */
function ownName(name: string, own: Readonly<Record<string, Tensor>>): string | undefined {
  const bare = name.replace(/^module\./, '')
  const candidates = RESNET.test(bare) ? [bare, `encoder.${bare}`] : [bare]
  return candidates.find((n) => Object.hasOwn(own, n))
}

/** True if `to` is a convolution's weight like `from`, with more input channels. */
const takesMore = (from: Shape, to: Shape): boolean =>
  from.length === 4 && to.length === 4 && to[1]! > from[1]! && from.every((d, k) => k === 1 || d === to[k])

/** Why a weight does not fit; the first convolution's input channels are the user's to decide. */
function misfit(from: Shape, to: Shape, first: boolean): string {
  const what = `${formatShape(from)} instead of ${formatShape(to)}`
  if (!first) return what
  return takesMore(from, to)
    ? `${what}; extraChannels: 'zero' takes it and begins the extra input planes at zero`
    : what
}

/**
 * Copies what fits from a state dict into a network: weights from pretraining, from a rough network into a fine
 * one, from a Cartesian into a polar one. Names match if they are equal; torchvision's ResNet names (`conv1.weight`,
 * `layer1.0.conv1.weight`; `fc` has no place) match an encoder's. Says what matched, what was skipped and why.
 * Throws a CheckpointError if nothing matched; the network is unchanged then.
 */
export function transferWeights(
  net: Module,
  weights: Readonly<TensorRecord>,
  { encoderOnly = false, extraChannels }: TransferOptions = {},
): TransferReport {
  if (extraChannels !== undefined && extraChannels !== 'zero')
    throw new CheckpointError(`loadPretrained: extraChannels is 'zero' or left out, got '${extraChannels}'`)
  const own = net.stateDict()
  const kind = net.constructor.name
  if (encoderOnly && !Object.keys(own).some((n) => ENCODER.test(n)))
    throw new CheckpointError(
      `loadPretrained: ${kind} has no part called encoder; leave encoderOnly out to take all that fits`,
    )
  const first = net.namedParameters().find(([, t]) => t.rank === 4)?.[0]
  const copies: { name: string; from: Tensor; extend: boolean }[] = []
  const skipped: { name: string; why: string }[] = []
  for (const [given, from] of Object.entries(weights)) {
    if (given.endsWith('num_batches_tracked')) continue
    const name = ownName(given, own)
    const skip = (why: string) => skipped.push({ name: given, why })
    if (!name) skip(`${kind} has no such weight`)
    else if (encoderOnly && !ENCODER.test(name)) skip('it is not of the encoder')
    else if (from.dtype !== 'float32') skip(`it holds ${from.dtype}, not floats`)
    else if (sameShape(from.shape, own[name]!.shape)) copies.push({ name, from, extend: false })
    else if (extraChannels && name === first && takesMore(from.shape, own[name]!.shape))
      copies.push({ name, from, extend: true })
    else skip(misfit(from.shape, own[name]!.shape, name === first))
  }
  if (copies.length === 0) throw nothingMatched(kind, own, weights, skipped)
  for (const { name, from, extend } of copies) copyInto(own[name]!, from, extend)
  const matched = new Set(copies.map((c) => c.name))
  return {
    matched: [...matched],
    extended: copies.filter((c) => c.extend).map((c) => c.name),
    skipped,
    kept: Object.keys(own).filter((n) => !matched.has(n)),
  }
}

function copyInto(to: Tensor, from: Tensor, extend: boolean): void {
  const { device } = to
  if (from === to) return
  device.scope(() =>
    device.noGrad(() => {
      const missing = to.shape.map((d, k) => [0, d - from.shape[k]!] as const)
      const whole = extend ? pad(from, { pads: missing }) : from
      device.copy('loadPretrained', whole.storage, to.storage, to.bytes)
    }),
  )
}

function nothingMatched(
  kind: string,
  own: Readonly<TensorRecord>,
  weights: Readonly<TensorRecord>,
  skipped: TransferReport['skipped'],
): CheckpointError {
  const some = (names: readonly string[]) => names.slice(0, 3).join(', ')
  const reasons = skipped.slice(0, 3).map(({ name, why }) => `${name}: ${why}`)
  return new CheckpointError(
    `loadPretrained: none of ${Object.keys(weights).length} weights matched this ${kind} (${reasons.join('; ')}). ` +
      `It has ${some(Object.keys(own))}, …; rename the weights, or build the network with the options they were made for`,
  )
}

/**
 * `transferWeights` from the bytes of a safetensors file, from a state dict, or from another network, whose weights
 * stay its own. In Node it takes the path of a file, too.
 */
export async function loadPretrained(
  net: Module,
  source: Uint8Array | Readonly<TensorRecord> | Module,
  options: TransferOptions = {},
): Promise<TransferReport> {
  if (isModule(source)) return transferWeights(net, source.stateDict(), options)
  if (!(source instanceof Uint8Array)) return transferWeights(net, source, options)
  return transferFromBytes(net, source, 'loadPretrained', options)
}

const isModule = (source: object): source is Module =>
  typeof (source as Partial<Module>).stateDict === 'function'

/** `transferWeights` from a file's bytes; the tensors that they become are freed. */
export function transferFromBytes(
  net: Module,
  bytes: Uint8Array,
  file: string,
  options: TransferOptions,
): TransferReport {
  const [, t] = net.namedParameters()[0]!
  const weights = tensorsFromSafetensors(t.device, bytes, file)
  try {
    return transferWeights(net, weights, options)
  } catch (error) {
    if (error instanceof CheckpointError)
      throw new CheckpointError(`${file}: ${error.message}`, { cause: error })
    throw error
  } finally {
    for (const w of Object.values(weights)) w.dispose('its weights were copied')
  }
}
