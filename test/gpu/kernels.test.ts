import { expect, test } from 'vitest'
import { kernel } from '../../src/gpu/kernel.ts'
import { testDevice } from '../device.ts'

declare global {
  interface ImportMeta {
    /** Vite's: the modules whose paths match. */
    glob<T>(pattern: string, options: { readonly eager: true; readonly import: 'default' }): Record<string, T>
  }
}

/** Every kernel file as the build sees it. */
const files = import.meta.glob<string>('../../kernels/*.wgsl', { eager: true, import: 'default' })
const texts = new Map(Object.entries(files).map(([path, source]) => [path.split('/').at(-1)!, source]))
const sums = ['add_up.wgsl', 'add_up_subgroups.wgsl', 'add_up_lanes.wgsl'].map((name) => texts.get(name)!)

/** A file that sums over its workgroup is none without a form of `add_up` (src/gpu/summing.ts). */
const named = [...texts].flatMap(([name, source]): [string, string][] => {
  if (sums.includes(source)) return []
  if (!/\badd_up\(/.test(source)) return [[name, source]]
  return [
    [name, source + sums[0]],
    [`${name} in subgroups`, `enable subgroups; ${source + sums[1]}`],
    ...(name === 'batch_norm.wgsl'
      ? [[`${name} in lanes`, `enable subgroups; ${source + sums[2]}`] as [string, string]]
      : []),
  ]
})

test.each(named)('%s is valid WGSL by itself, and its declarations are read', async (name, source) => {
  const device = await testDevice()
  // Files that need a feature say so; where the adapter lacks it, they are never loaded.
  const features = [...source.matchAll(/^enable\s+([\w-]+)/gm)].map((m) => m[1]!)
  const missing = features.some((f) => !device.adapter.features.includes(f === 'f16' ? 'shader-f16' : f))
  if (!missing) {
    device.native.pushErrorScope('validation')
    const info = await device.native.createShaderModule({ code: source }).getCompilationInfo()
    await device.native.popErrorScope()
    expect(
      info.messages
        .filter((m) => m.type === 'error')
        .map((m) => `${name}:${m.lineNum}:${m.linePos} ${m.message}`),
    ).toEqual([])
  }
  const { meta } = kernel(name.replace('.wgsl', ''), source)
  expect(meta.entries.size).toBeGreaterThan(0)
  for (const entry of meta.entries.values()) {
    const indices = entry.bindings.map((b) => b.index)
    expect(new Set(indices).size, `${entry.name}: two of its bindings share an index`).toBe(indices.length)
  }
})

test.each(named)('%s keeps to the limits that every adapter has', (_, source) => {
  for (const entry of kernel('limits', source).meta.entries.values()) {
    const storages = entry.bindings.filter((b) => b.access !== 'uniform')
    expect(storages.length, `${entry.name}: storage bindings`).toBeLessThanOrEqual(8)
  }
  expect(source).not.toMatch(/arrayLength/)
})
