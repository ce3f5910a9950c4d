import { InvalidArgumentError } from 'commander'
import { NETWORKS } from '../../bench/catalog.ts'
import { kernelNames } from '../../bench/kernels.ts'
import type { NetworkCase } from '../../bench/networks.ts'
import { DataError } from '../gpu/errors.ts'
import type { Precision } from '../pipelines/precision.ts'

/** Networks at widths, batches and sides. */
export interface CaseOptions {
  readonly network: readonly string[]
  readonly features: readonly number[]
  readonly channels: number
  readonly batch: readonly number[]
  readonly size: readonly number[]
  readonly precision: Precision
}

/** What commander makes of the options of `fovea bench`. */
export interface BenchOptions extends CaseOptions {
  readonly adapter: string
  readonly only: string
  readonly kernels: boolean
  readonly networks: boolean
  readonly profile?: boolean
  readonly start?: boolean
  readonly dealt?: boolean
  readonly pixels?: boolean
  readonly firstSteps?: boolean
  readonly oneByOne?: boolean
  /** A folder of images and masks; true for the one that comes with fovea. */
  readonly input?: string | true
  readonly objects?: boolean
  /** A folder of images of many objects. */
  readonly data?: string
  readonly peers?: boolean
  readonly tune?: boolean
  readonly large?: boolean
  readonly subgroupMatrices?: boolean
  readonly quick?: boolean
  readonly json?: boolean
}

const parts = (text: string): string[] => text.split(',').map((part) => part.trim())

/** Whole numbers with commas between them, each at least 1. */
export function counts(text: string): number[] {
  const values = parts(text).map(Number)
  if (values.some((v) => !Number.isInteger(v) || v < 1))
    throw new InvalidArgumentError(
      'It must be whole numbers of at least 1, with commas between them: 16 or 16,32.',
    )
  return values
}

export function count(text: string): number {
  const [value, ...rest] = counts(text)
  if (rest.length > 0) throw new InvalidArgumentError('It must be one whole number of at least 1.')
  return value!
}

/** Names of networks with commas between them. */
export function networks(text: string): string[] {
  const names = parts(text)
  const unknown = names.filter((name) => !Object.hasOwn(NETWORKS, name))
  if (unknown.length > 0) {
    throw new InvalidArgumentError(
      `There is no network ${unknown.join(', ')}; choose from ${Object.keys(NETWORKS).join(', ')}.`,
    )
  }
  return names
}

/** A part of a kernel's name. */
export function kernelPart(text: string): string {
  const names = kernelNames(true)
  if (names.some((name) => name.includes(text))) return text
  const kinds = [...new Set(names.map((name) => name.split(' ')[0]))]
  throw new InvalidArgumentError(`No kernel's name contains it; there are ${kinds.join(', ')}.`)
}

/** Every network at every width, batch and side that was asked for. Throws a DataError for a side it cannot take. */
export function casesOf(
  command: 'bench' | 'tune',
  { network, features, channels, batch, size, precision }: CaseOptions,
): NetworkCase[] {
  for (const name of network) {
    const { multiple } = NETWORKS[name]!
    const bad = size.find((side) => side % multiple !== 0)
    if (bad !== undefined)
      throw new DataError(`${command} --size ${bad}: ${name} takes sides that are multiples of ${multiple}`)
  }
  return network.flatMap((name) =>
    (NETWORKS[name]!.hasWidth ? features : features.slice(0, 1)).flatMap((width) =>
      batch.flatMap((n) =>
        size.map((side) => ({
          network: name,
          features: width,
          inChannels: channels,
          batch: n,
          side,
          precision,
        })),
      ),
    ),
  )
}

/** What is measured in place of the rest. */
const INSTEAD = ['profile', 'start', 'dealt', 'pixels', 'input', 'objects'] as const

/** The device that is measured. */
export const deviceOptions = ({ adapter, subgroupMatrices }: BenchOptions) => ({
  adapter,
  ...(subgroupMatrices ? { subgroupMatrices: 'required' as const } : {}),
})

/** Refuses what a measurement in place of the rest would ignore. */
function checkInstead(
  name: (typeof INSTEAD)[number],
  { peers, tune, networks, only, size }: BenchOptions,
): void {
  const refuse = (why: string): never => {
    throw new DataError(`bench --${name}${why}`)
  }
  if (peers) refuse(': it is in place of the rest, the peers too; leave out --peers')
  if (tune && name !== 'profile') refuse(': it chooses nothing by measurement; leave out --tune')
  if (!networks && name !== 'dealt') refuse(': it measures networks; leave out --no-networks')
  if (only !== '' && name !== 'dealt') refuse(': it measures networks, no kernels; leave out --only')
  if (name === 'pixels' && new Set(size).size < 2)
    refuse(` --size ${size}: it compares sizes; name two or more, such as --size 64,256`)
}

/** Refuses options that do not go together, before anything is measured. */
export function checkTogether(options: BenchOptions): void {
  const { only, kernels, networks, large } = options
  const alone = INSTEAD.filter((name) => options[name])
  const [instead] = alone
  if (alone.length > 1)
    throw new DataError(
      `bench --${alone[0]} --${alone[1]}: each is in place of the rest; ask for one of them`,
    )
  if (instead) checkInstead(instead, options)
  if (!kernels && !networks)
    throw new DataError('bench: without kernels and networks nothing is left to measure')
  const unhurried = (['start', 'input', 'peers', 'tune'] as const).find((name) => options[name])
  if (options.quick && unhurried)
    throw new DataError(`bench --quick: --${unhurried} takes its own time; leave out --quick`)
  if (options.peers && !networks)
    throw new DataError('bench --peers: the peers run the networks; leave out --no-networks')
  if (options.input && NETWORKS[options.network[0]!]!.target(1, 64)[2] !== 64)
    throw new DataError(
      `bench --input: ${options.network[0]} has targets of its own; take a segmentation network`,
    )
  if (options.objects && NETWORKS[options.network[0]!]!.target(1, 64)[2] !== 64)
    throw new DataError(`bench --objects: ${options.network[0]} gives no masks; take a segmentation network`)
  if (options.data !== undefined && !options.objects)
    throw new DataError('bench --data: it gives images of many objects; add --objects')
  if (options.input && ![1, 3].includes(options.channels))
    throw new DataError(`bench --input --channels ${options.channels}: images have 1 channel or 3`)
  if (only !== '' && !kernels) throw new DataError('bench --only: it picks kernels; leave out --no-kernels')
  if (!kernelNames(large).some((name) => name.includes(only)))
    throw new DataError(`bench --only ${only}: only large convolutions contain it; add --large`)
}
