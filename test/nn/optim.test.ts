import { describe, expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { ParameterBlock } from '../../src/autograd/parameters.ts'
import type { Tensor } from '../../src/autograd/tensor.ts'
import { Adam, AdamW } from '../../src/nn/optim/adam.ts'
import { clipGradNorm, clipGradValue } from '../../src/nn/optim/clip.ts'
import type { Optimizer } from '../../src/nn/optim/optimizer.ts'
import {
  cosineSchedule,
  LRScheduler,
  type PlateauOptions,
  polynomialSchedule,
  ReduceLROnPlateau,
  type Schedule,
  stepSchedule,
  warmUp,
} from '../../src/nn/optim/schedulers.ts'
import { SGD } from '../../src/nn/optim/sgd.ts'
import { inEveryForm, testDevice } from '../device.ts'
import { expectClose, referenceArrays, referenceTable } from '../reference.ts'

interface Case {
  readonly name: string
  readonly op: string
  readonly attrs: Readonly<Record<string, never>>
  readonly params: readonly string[]
  readonly steps: number
  readonly lrs?: readonly number[]
  readonly metrics: readonly number[]
  readonly totalNorm: number
}

const cases = referenceTable<Case[]>('optim')
const arrays = referenceArrays('optim')
const of = (op: string): Case[] => cases.filter((c) => c.op === op)

const optimizers: Record<string, (params: Tensor[], attrs: object) => Optimizer> = {
  Adam: (p, o) => new Adam(p, o),
  AdamW: (p, o) => new AdamW(p, o),
  SGD: (p, o) => new SGD(p, o),
}

function parametersOf(device: Device, c: Case, block: boolean): Tensor[] {
  const params = c.params.map((name) => {
    // Clipping has gradients only: the values do not matter.
    const { data, shape } = (arrays.get(`${c.name}/${name}`) ?? arrays.get(`${c.name}/grads/${name}`))!
    return device.parameter(data as Float32Array, shape, { name })
  })
  if (block) new ParameterBlock(device, params)
  return params
}

/** Row k of an array (10, …). */
function row(name: string, k: number): Float32Array {
  const { data, shape } = arrays.get(name)!
  const size = data.length / shape[0]!
  return (data as Float32Array).subarray(k * size, (k + 1) * size)
}

describe.each(Object.keys(optimizers))('%s follows PyTorch', (op) => {
  test.each(of(op).flatMap((c) => [[c.name, false, c] as const, [c.name, true, c] as const]))(
    '%s, in a block: %s',
    async (_, block, c) => {
      const device = await testDevice()
      const params = parametersOf(device, c, block)
      const opt = optimizers[op]!(params, c.attrs)
      for (let k = 0; k < c.steps; k++) {
        if (c.lrs) opt.lr = c.lrs[k]!
        opt.zeroGrad()
        params.forEach((p, i) => {
          device.gradOf(p).set(row(`${c.name}/grads/${c.params[i]}`, k))
        })
        opt.step()
        for (const [i, p] of params.entries()) {
          // The reference is float64; each of ten float32 steps rounds weights of size 1 by up to 6e-8.
          expectClose(
            await p.data(),
            row(`${c.name}/after/${c.params[i]}`, k),
            2e-6,
            2e-7,
            `${c.name} step ${k}`,
          )
        }
      }
    },
  )
})

test('the state of an optimiser moves to another, which then takes the same steps', async () => {
  const device = await testDevice()
  const c = of('Adam')[0]!
  const run = (opt: Optimizer, params: readonly Tensor[], k: number) => {
    params.forEach((p, i) => {
      device.gradOf(p).set(row(`${c.name}/grads/${c.params[i]}`, k))
    })
    opt.step()
  }
  const a = parametersOf(device, c, true)
  const first = new Adam(a, { lr: 0.01 })
  run(first, a, 0)
  const b = parametersOf(device, c, true)
  for (const [i, p] of b.entries()) p.set(await a[i]!.data())
  const second = new Adam(b)
  second.loadStateDict(first.stateDict())
  run(first, a, 1)
  run(second, b, 1)
  for (const [i, p] of b.entries()) expect(await p.data()).toEqual(await a[i]!.data())
  expect(() => second.loadStateDict({ step: 1, lr: 1, tensors: {} })).toThrow(
    /Adam: the state has no 'weight\.m'/,
  )
})

describe('clipping', () => {
  test.each(of('clipGradNorm').map((c) => [c.name, c] as const))('%s', async (_, c) => {
    const device = await testDevice()
    await inEveryForm(async () => {
      const params = parametersOf(device, c, true)
      for (const p of params) device.gradOf(p).set(arrays.get(`${c.name}/grads/${p.name}`)!.data)
      const norm = clipGradNorm(params, (c.attrs as unknown as { maxNorm: number }).maxNorm)
      expectClose([(await norm.data())[0]!], [c.totalNorm], 1e-6, 0, 'norm')
      for (const p of params) {
        const clipped = arrays.get(`${c.name}/clipped/${p.name}`)!.data
        expectClose(await p.grad!.data(), clipped, 2e-6, 1e-8, p.name!)
      }
    })
  })
  test.each(of('clipGradValue').map((c) => [c.name, c] as const))('%s', async (_, c) => {
    const device = await testDevice()
    const params = parametersOf(device, c, false)
    for (const p of params) device.gradOf(p).set(arrays.get(`${c.name}/grads/${p.name}`)!.data)
    clipGradValue(params, (c.attrs as unknown as { clipValue: number }).clipValue)
    for (const p of params)
      expect(await p.grad!.data()).toEqual(arrays.get(`${c.name}/clipped/${p.name}`)!.data)
  })
})

describe('schedules follow PyTorch', () => {
  type Attrs = {
    lr: number
    stepSize: number
    gamma: number
    tMax: number
    etaMin?: number
    totalIters: number
    power: number
    startFactor: number
    then?: string
  }
  const schedules: Record<string, (a: Attrs) => Schedule> = {
    StepLR: (a) => stepSchedule(a),
    CosineAnnealingLR: (a) => cosineSchedule({ epochs: a.tMax, minLr: a.etaMin ?? 0 }),
    PolynomialLR: (a) => polynomialSchedule({ epochs: a.totalIters, power: a.power }),
    LinearWarmup: (a) =>
      warmUp(
        { epochs: a.totalIters, startFactor: a.startFactor },
        a.then ? cosineSchedule({ epochs: a.tMax }) : undefined,
      ),
  }
  test.each(
    Object.keys(schedules)
      .flatMap(of)
      .map((c) => [c.name, c] as const),
  )('%s', (_, c) => {
    const attrs = c.attrs as unknown as Attrs
    const opt = { lr: attrs.lr }
    const scheduler = new LRScheduler(opt, schedules[c.op]!(attrs))
    for (const lr of c.lrs!) {
      // PyTorch runs its cosine as a recurrence past its period; ours stays at the floor.
      expect(opt.lr).toBeCloseTo(lr, 9)
      scheduler.step()
    }
  })
  test.each(of('ReduceLROnPlateau').map((c) => [c.name, c] as const))('%s', (_, c) => {
    const { lr, ...options } = c.attrs as unknown as PlateauOptions & { lr: number }
    const opt = { lr }
    const scheduler = new ReduceLROnPlateau(opt, options)
    c.metrics.forEach((m, k) => {
      expect(opt.lr).toBeCloseTo(c.lrs![k]!, 12)
      scheduler.step(m)
    })
  })
})

test('steps that are recorded before anything is submitted use their own count', async () => {
  const device = await testDevice()
  const run = async (wait: boolean) => {
    const p = device.parameter(Float32Array.of(1), [1])
    const opt = new Adam([p], { lr: 0.1 })
    device.gradOf(p).set(Float32Array.of(0.5))
    for (let k = 0; k < 4; k++) {
      opt.step()
      if (wait) await device.idle()
    }
    return p.item()
  }
  expect(await run(false)).toBe(await run(true))
})
