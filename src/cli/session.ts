import type { TuneMode } from '../gpu/tuner.ts'
import { openDevice } from '../node/open.ts'
import { RecoveringDevice } from '../pipelines/recover.ts'
import type { Io } from './io.ts'

/** The device of a command; a lost one is opened anew, three times at most. */
export function recoveringDevice(
  adapter: string,
  io: Io,
  {
    tune,
    memoryLimit,
    subgroupMatrices,
  }: {
    tune?: TuneMode | undefined
    memoryLimit?: number | undefined
    subgroupMatrices?: boolean | undefined
  } = {},
): RecoveringDevice {
  const options = {
    adapter,
    ...(tune ? { tune } : {}),
    ...(memoryLimit === undefined ? {} : { memoryLimit }),
    ...(subgroupMatrices ? { subgroupMatrices: 'required' as const } : {}),
  }
  return new RecoveringDevice(() => openDevice(options), {
    retries: 3,
    onLost: (error, left) =>
      io.err(
        `${error.message.split('\n')[0]}\nOpening a new device and going on from the last checkpoint (${left} more tries).\n`,
      ),
  })
}
