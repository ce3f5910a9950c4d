import { appendFile, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CheckpointError, DataError } from '../gpu/errors.ts'
import type { CheckpointStore } from '../pipelines/checkpoint.ts'
import type { EpochMetrics } from '../pipelines/metrics.ts'
import { makeFolder, writeFileAtomic } from './atomic.ts'

const files = { last: 'last.safetensors', best: 'best.safetensors' } as const

async function readIfThere(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new CheckpointError(`${path}: cannot be read (${(error as Error).message})`, { cause: error })
  }
}

/**
 * The files of one training run: `config.json`, `metrics.jsonl` (a line an epoch), `last.safetensors`
 * (everything needed to resume), `best.safetensors` (weights of the best validation DSC). Checkpoints are
 * written whole or not at all.
 */
export class RunFolder implements CheckpointStore {
  private constructor(readonly path: string) {}

  /**
   * Opens or begins a run. `config` says what is run; a folder that was begun with another one is refused
   * with a DataError that names the differences.
   */
  static async open(path: string, config: Readonly<Record<string, unknown>>): Promise<RunFolder> {
    await makeFolder(path).catch((cause: Error) => {
      throw new DataError(`${path}: the run folder cannot be made (${cause.message}); choose another --out`, {
        cause,
      })
    })
    const file = join(path, 'config.json')
    const known = await readIfThere(file)
    if (known) {
      const before = parse(file, known.toString('utf8'))
      const wanted = JSON.parse(JSON.stringify(config)) as Record<string, unknown>
      const changed = differences(before, wanted)
      if (changed.length > 0) {
        throw new DataError(
          `${path} holds a run with other settings (${changed.join('; ')}); choose another --out, or the same settings to resume`,
        )
      }
    } else await writeFileAtomic(file, `${JSON.stringify(config, null, 2)}\n`)
    return new RunFolder(path)
  }

  read(name: 'last' | 'best'): Promise<Uint8Array | undefined> {
    return readIfThere(join(this.path, files[name]))
  }

  write(name: 'last' | 'best', bytes: Uint8Array): Promise<void> {
    return writeFileAtomic(join(this.path, files[name]), bytes)
  }

  nameOf(name: 'last' | 'best'): string {
    return join(this.path, files[name])
  }

  async addMetrics(metrics: EpochMetrics): Promise<void> {
    const file = join(this.path, 'metrics.jsonl')
    await appendFile(file, `${JSON.stringify(metrics)}\n`).catch((cause: Error) => {
      throw new DataError(
        `cannot write ${file}: ${cause.message}; the checkpoint of the epoch before is whole, the same command goes on from it`,
        { cause },
      )
    })
  }

  async keepMetrics(epochs: number): Promise<void> {
    const file = join(this.path, 'metrics.jsonl')
    const text = (await readIfThere(file))?.toString('utf8') ?? ''
    const lines = text.split('\n').filter((line) => line !== '')
    await writeFileAtomic(
      file,
      lines
        .slice(0, epochs)
        .map((line) => `${line}\n`)
        .join(''),
    )
  }
}

/** Where two values of JSON differ, each place with both values: `settings.lr was 0.002, now 0.001`. */
function differences(before: unknown, now: unknown, place = ''): string[] {
  const inside = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null
  if (inside(before) && inside(now) && Array.isArray(before) === Array.isArray(now)) {
    return [...new Set([...Object.keys(before), ...Object.keys(now)])].flatMap((key) =>
      differences(before[key], now[key], place === '' ? key : `${place}.${key}`),
    )
  }
  const text = (v: unknown) => (v === undefined ? 'not there' : JSON.stringify(v))
  return text(before) === text(now) ? [] : [`${place} was ${text(before)}, now ${text(now)}`]
}

function parse(file: string, text: string): Record<string, unknown> {
  try {
    return JSON.parse(text) as Record<string, unknown>
  } catch (cause) {
    throw new DataError(`${file}: is no JSON; move the folder away or restore it`, { cause })
  }
}
