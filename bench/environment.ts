import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { cpus } from 'node:os'
import { dirname, join } from 'node:path'
import type { Device } from '../src/autograd/device.ts'

/** Where and when something was measured. */
export interface Environment {
  /** ISO date, without the time. */
  readonly date: string
  readonly adapter: string
  readonly features: readonly string[]
  readonly cpu: string
  readonly platform: string
  readonly node: string
  /** Of the npm package `webgpu`, which is Dawn. */
  readonly webgpu: string
}

/** The version of an installed package; '' where it is not installed. */
function packageVersion(name: string): string {
  try {
    const main = createRequire(import.meta.url).resolve(name)
    return (JSON.parse(readFileSync(join(dirname(main), 'package.json'), 'utf8')) as { version: string })
      .version
  } catch {
    return ''
  }
}

export function environmentOf(device: Device): Environment {
  const processors = cpus()
  return {
    date: new Date().toISOString().slice(0, 10),
    adapter: device.adapter.name,
    features: device.adapter.features,
    cpu: `${processors.length} × ${processors[0]?.model.trim() ?? 'unknown processor'}`,
    platform: `${process.platform}-${process.arch}`,
    node: process.version,
    webgpu: packageVersion('webgpu'),
  }
}
