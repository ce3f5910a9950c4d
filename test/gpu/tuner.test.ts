import { describe, expect, test } from 'vitest'
import { Run } from '../../src/autograd/op.ts'
import { matmul } from '../../src/autograd/ops/matmul.ts'
import { sum } from '../../src/autograd/ops/sum.ts'
import { kernel } from '../../src/gpu/kernel.ts'
import { tune } from '../../src/gpu/tune.ts'
import { type Question, Tuner, tunerOf } from '../../src/gpu/tuner.ts'
import { type ChoiceStore, mergedChoices, storedChoices } from '../../src/gpu/tuner-table.ts'
import { VERSION } from '../../src/version.ts'
import { testDevice } from '../device.ts'
import { randomValues } from '../oracle.ts'
import { expectClose } from '../reference.ts'

const ADAPTER = 'an adapter, driver 1.2'
const text = (name: string) => kernel(name, `@compute @workgroup_size(1) fn ${name}() {}`)

/** A question that nobody measures. */
const question = (names: readonly string[], key = 'key'): Question<{ name: string }> => ({
  key,
  candidates: names.map((name) => ({ name })),
  kernelsOf: ({ name }) => [text(name)],
  rehearse: () => {
    throw new Error('not to be measured')
  },
})

class MemoryChoices implements ChoiceStore {
  kept: unknown
  async read() {
    return this.kept
  }
  async write(adapter: string, choices: Parameters<ChoiceStore['write']>[1]) {
    this.kept = JSON.parse(JSON.stringify(mergedChoices(this.kept, adapter, choices)))
  }
}

/** A tuner that has found b faster than a, and where it keeps that. */
async function measured() {
  const store = new MemoryChoices()
  const tuner = new Tuner(ADAPTER)
  await tuner.attach('measure', () => store)
  tuner.choose(question(['a', 'b']))
  for (const q of tuner.open) tuner.settle(q, 'b')
  expect(await tuner.save()).toBe(true)
  return { tuner, store }
}

const attached = async (store: ChoiceStore, mode: 'off' | 'defaults' | 'cached' | 'measure' = 'cached') => {
  const tuner = new Tuner(ADAPTER)
  await tuner.attach(mode, () => store)
  return tuner
}

describe('choices', () => {
  test('the first candidate where nothing is known; what is set goes before what was measured', async () => {
    const { tuner } = await measured()
    expect(new Tuner(ADAPTER).choose(question(['a', 'b'])).name).toBe('a')
    expect(tuner.choose(question(['a', 'b'])).name).toBe('b')
    tuner.set('key', 'a')
    expect(tuner.choose(question(['a', 'b'])).name).toBe('a')
    expect(tuner.export()).toEqual({ adapter: ADAPTER, choices: { key: 'a' } })
    expect(() => tuner.choose(question([]))).toThrow('no candidate for key')
  })

  test('what was measured holds in another process if it asks for it', async () => {
    const { store } = await measured()
    for (const [mode, taken] of [
      ['off', 'a'],
      ['defaults', 'a'],
      ['cached', 'b'],
      ['measure', 'b'],
    ] as const) {
      expect([mode, (await attached(store, mode)).choose(question(['a', 'b'])).name]).toEqual([mode, taken])
    }
  })

  test('only the mode that measures has questions open', async () => {
    const store = new MemoryChoices()
    for (const mode of ['off', 'defaults', 'cached'] as const) {
      const tuner = await attached(store, mode)
      tuner.choose(question(['a', 'b']))
      expect(tuner.open).toEqual([])
    }
    const tuner = await attached(store, 'measure')
    tuner.choose(question(['a', 'b']))
    tuner.choose(question(['only'], 'other'))
    expect(tuner.open.map((q) => q.key)).toEqual(['key'])
  })

  test('what is shipped for an adapter is taken unless the tuner is off, and what was measured goes before it', async () => {
    const shipped = { 'an adapter': { key: 'b' }, another: { key: 'c' } }
    const choice = async (mode: 'off' | 'defaults' | 'cached', store: ChoiceStore, adapter = ADAPTER) => {
      const tuner = new Tuner(adapter)
      tuner.ship(shipped)
      await tuner.attach(mode, () => store)
      return tuner.choose(question(['a', 'b'])).name
    }
    const empty = new MemoryChoices()
    expect(await choice('off', empty)).toBe('a')
    expect(await choice('defaults', empty)).toBe('b')
    expect(await choice('cached', empty)).toBe('b')
    // Its candidate is gone, or it is for another adapter.
    expect(await choice('defaults', empty, 'another')).toBe('a')
    expect(await choice('defaults', empty, 'a third')).toBe('a')
    const tuner = new Tuner(ADAPTER)
    await tuner.attach('measure', () => empty)
    tuner.choose(question(['a', 'b']))
    for (const q of tuner.open) tuner.settle(q, 'a')
    await tuner.save()
    expect(await choice('cached', empty)).toBe('a')
    expect(await choice('defaults', empty)).toBe('b')
  })

  test('a table is taken on its own adapter, and a name that is no candidate is passed over', () => {
    const tuner = new Tuner(ADAPTER)
    expect(tuner.import({ adapter: 'another', choices: { key: 'b' } })).toBe(false)
    expect(tuner.choose(question(['a', 'b'])).name).toBe('a')
    expect(tuner.import({ adapter: ADAPTER, choices: { key: 'b', other: 'gone' } })).toBe(true)
    expect(tuner.choose(question(['a', 'b'])).name).toBe('b')
    expect(tuner.choose(question(['a', 'b'], 'other')).name).toBe('a')
  })
})

describe('a store that cannot be believed is as good as none', () => {
  const good = {
    format: 1,
    fovea: VERSION,
    adapter: ADAPTER,
    choices: { key: { variant: 'b', kernels: '' } },
  }

  test.each([
    ['nothing', undefined],
    ['no record', 'text'],
    ['null', null],
    ['a list', [good]],
    ['another format', { ...good, format: 2 }],
    ['another version of fovea', { ...good, fovea: '0.0.9' }],
    ['another adapter or driver', { ...good, adapter: 'an adapter, driver 1.3' }],
    ['no choices', { ...good, choices: undefined }],
    ['choices that are a list', { ...good, choices: ['b'] }],
  ])('%s', (_, value) => {
    expect(storedChoices(value, ADAPTER).size).toBe(0)
  })

  test('a damaged entry is left out, the others hold', () => {
    const choices = {
      ...good.choices,
      half: { variant: 'b' },
      none: null,
      number: 3,
      odd: { variant: 1, kernels: 2 },
    }
    expect([...storedChoices({ ...good, choices }, ADAPTER).keys()]).toEqual(['key'])
  })

  test('other kernels or other candidates void a choice', async () => {
    const { store } = await measured()
    const tuner = await attached(store)
    expect(tuner.choose(question(['a', 'b', 'c'])).name).toBe('a')
    const edited = { ...question(['a', 'b']), kernelsOf: () => [text('edited')] }
    expect(tuner.choose(edited).name).toBe('a')
    expect(tuner.choose(question(['a', 'b'])).name).toBe('b')
  })

  test('one that throws: choices are not kept, and nothing else happens', async () => {
    const refuse = () => Promise.reject(new Error('refused'))
    const tuner = await attached({ read: refuse, write: refuse }, 'measure')
    expect(tuner.choose(question(['a', 'b'])).name).toBe('a')
    for (const q of tuner.open) tuner.settle(q, 'b')
    expect(await tuner.save()).toBe(false)
    expect(tuner.choose(question(['a', 'b'])).name).toBe('b')
    const none = new Tuner(ADAPTER)
    await none.attach('cached', () => {
      throw new Error('no such place')
    })
    expect(none.choose(question(['a', 'b'])).name).toBe('a')
  })

  test('what is written joins what others wrote, and replaces what is stale', () => {
    const mine = new Map([['mine', { variant: 'b', kernels: '1' }]])
    const { choices } = mergedChoices(good, ADAPTER, mine) as typeof good
    expect(Object.keys(choices)).toEqual(['key', 'mine'])
    const fresh = mergedChoices({ ...good, fovea: '0.0.9' }, ADAPTER, mine) as typeof good
    expect(Object.keys(fresh.choices)).toEqual(['mine'])
  })
})

describe('measuring', () => {
  test('products and reductions are measured as convolutions are; values stay', async () => {
    const device = await testDevice()
    const a = device.tensor(randomValues([70, 36], 1), [70, 36], { requiresGrad: true })
    const b = device.tensor(randomValues([36, 52], 2), [36, 52], { requiresGrad: true })
    const work = () => {
      const y = matmul(a, b)
      sum(y, { axes: [1] })
      y.backward(device.ones(y.shape))
      return y
    }
    const before = await work().data()
    const timings = await tune(device, work)
    const keys = [...new Set(timings.map((t) => t.key))]
    expect(keys.filter((k) => k.startsWith('matmul 70x36 by 36x52'))).toHaveLength(1)
    // Both gradients are products of their own.
    expect(keys.filter((k) => k.startsWith('matmul'))).toHaveLength(3)
    expect(keys.filter((k) => k.startsWith('sum of float32 70x52'))).toHaveLength(1)
    for (const key of keys) {
      const of = timings.filter((t) => t.key === key)
      expect(of.length).toBeGreaterThan(1)
      expect(of.filter((t) => t.chosen)).toHaveLength(1)
      expect(of.every((t) => Number.isFinite(t.ms))).toBe(true)
    }
    expectClose(await work().data(), before, 1e-5, 1e-5, 'tuned')
    // What is known is not measured again.
    expect(await tune(device, work)).toEqual([])
    tunerOf(device).clear()
  })

  test('a variant that does not compile is passed over', async () => {
    const device = await testDevice()
    const [fine, broken] = [
      kernel(
        'fine',
        '@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn fine() { y[0] = 1.0; }',
      ),
      kernel(
        'broken',
        '@group(0) @binding(0) var<storage, read_write> y: array<f32>;\n@compute @workgroup_size(1) fn broken() { y[0] = 1u; }',
      ),
    ]
    const run = new Run(device, 'rehearsal')
    const y = run.empty([1])
    const candidates = [broken!, fine!].map((k) => ({ name: k.name, kernel: k }))
    const timings = await tune(device, () =>
      tunerOf(device).choose({
        key: 'one broken',
        candidates,
        kernelsOf: (c) => [c.kernel],
        rehearse: () => ({
          run: (c) =>
            device.launch('rehearsal', {
              kernel: c.kernel,
              entry: c.name,
              bindings: { y: y.storage },
              threads: 1,
            }),
          dispose: () => undefined,
        }),
      }),
    )
    expect(timings.map((t) => [t.variant, Number.isFinite(t.ms), t.chosen])).toEqual([
      ['broken', false, false],
      ['fine', true, true],
    ])
    run.finish([])
    tunerOf(device).clear()
    await device.idle()
  })

  test('preparing a step measures where the device was opened for it, and the step takes the answer', async () => {
    const device = await testDevice()
    const tuner = tunerOf(device)
    const store = new MemoryChoices()
    const a = device.tensor(randomValues([40, 24], 1), [40, 24])
    await tuner.attach('measure', () => store)
    try {
      let captured = 0
      const product = device.compile((x: typeof a, y: typeof a) => {
        captured++
        return matmul(x, y)
      })
      const b = device.tensor(randomValues([24, 40], 2), [24, 40])
      const plain = await matmul(a, b, { form: 'registers' }).data()
      await product.prepare(a, b)
      expect(captured).toBe(2)
      expect(tuner.open).toEqual([])
      expect(store.kept).toMatchObject({ fovea: VERSION, adapter: device.adapter.name })
      expectClose(await product(a, b).data(), plain, 1e-5, 1e-5, 'measured')
      await product.prepare(a, b)
      expect(captured).toBe(2)
      product.dispose()
    } finally {
      tuner.clear()
      await tuner.attach('defaults', () => store)
    }
  })
})
