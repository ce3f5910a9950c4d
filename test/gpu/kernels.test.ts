import { expect, test } from 'vitest'
import { dealtForm } from '../../src/gpu/deal.ts'
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

/** What the compiler has against a text. Files that need a feature say so; where the adapter lacks it, they are never loaded. */
async function errorsOf(name: string, source: string): Promise<string[]> {
  const { adapter, native } = await testDevice()
  const features = [...source.matchAll(/^enable\s+([\w-]+)/gm)].map((m) => m[1]!)
  if (features.some((f) => !adapter.features.includes(f === 'f16' ? 'shader-f16' : f))) return []
  native.pushErrorScope('validation')
  const info = await native.createShaderModule({ code: source }).getCompilationInfo()
  await native.popErrorScope()
  return info.messages
    .filter((m) => m.type === 'error')
    .map((m) => `${name}:${m.lineNum}:${m.linePos} ${m.message}`)
}

test.each(named)('%s is valid WGSL by itself, and its declarations are read', async (name, source) => {
  expect(await errorsOf(name, source)).toEqual([])
  const { meta } = kernel(name.replace('.wgsl', ''), source)
  expect(meta.entries.size).toBeGreaterThan(0)
  for (const entry of meta.entries.values()) {
    const indices = entry.bindings.map((b) => b.index)
    expect(new Set(indices).size, `${entry.name}: two of its bindings share an index`).toBe(indices.length)
  }
})

test.each(named)(
  'the dealt form of %s is valid, with the lines and the entry points of the file',
  async (name, source) => {
    const plain = kernel(name.replace('.wgsl', ''), source)
    const form = dealtForm(plain)
    if (!form) return
    const dealt = form.kernel
    expect(await errorsOf(name, dealt.source)).toEqual([])
    expect(dealt.source.split('\n').length).toBe(source.split('\n').length)
    expect([...dealt.meta.entries.keys()]).toEqual([...plain.meta.entries.keys()])
    for (const [entry, { bindings, workgroupSize }] of dealt.meta.entries) {
      const own = plain.meta.entries.get(entry)!
      if (form.entries.has(entry)) expect(workgroupSize).toEqual(['8'])
      else expect(workgroupSize).toEqual(own.workgroupSize)
      expect(bindings.filter((b) => b.name !== 'deal' && b.access !== 'uniform')).toEqual(
        own.bindings.filter((b) => b.access !== 'uniform'),
      )
    }
  },
)

test.each(named)('%s keeps to the limits that every adapter has', (_, source) => {
  for (const entry of kernel('limits', source).meta.entries.values()) {
    const storages = entry.bindings.filter((b) => b.access !== 'uniform')
    expect(storages.length, `${entry.name}: storage bindings`).toBeLessThanOrEqual(8)
  }
  expect(source).not.toMatch(/arrayLength/)
})
