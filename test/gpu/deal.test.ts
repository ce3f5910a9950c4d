// Workgroups that are dealt out while a launch runs (src/gpu/deal.ts): each is run once, whatever their number, and computes what it
// computes otherwise, to the bit.
import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { Device } from '../../src/autograd/device.ts'
import { Run } from '../../src/autograd/op.ts'
import { add, diceLoss, softmax } from '../../src/autograd/ops/index.ts'
import { dealing, dealtForm } from '../../src/gpu/deal.ts'
import { type Kernel, kernel, kernelAsIs } from '../../src/gpu/kernel.ts'
import { UNet } from '../../src/nn/networks/unet.ts'
import { Adam } from '../../src/nn/optim/adam.ts'
import { openDevice, testDevice } from '../device.ts'

/** A device that deals its launches out, if its adapter has subgroups of eight lanes, as lavapipe's. */
async function dealer(): Promise<Device | undefined> {
  const device = await testDevice()
  return device.deal ? device : undefined
}

/** How often each invocation ran, by its place among all of them; its own account of where it is. */
const census = (size: string, linear: string) =>
  kernel(
    `census ${size}`,
    `enable subgroups;
struct Params {
  count: u32, // of invocations
}
@group(0) @binding(0) var<storage, read_write> ran: array<atomic<u32>>;
@group(0) @binding(1) var<uniform> params: Params;
override WX: u32 = 8;
// Zero when a workgroup begins.
var<private> before: u32;
@compute @workgroup_size(${size})
fn count(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) index: u32,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(global_invocation_id) id: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let size = vec3u(${size.split(',').concat('1', '1').slice(0, 3).join(', ')});
  let invocations = size.x * size.y * size.z;
  let at = ((group.z * groups.y + group.y) * groups.x + group.x) * invocations + index;
  let right = ${linear} && all(id == group * size + local) && lane == index % 8u && before == 0u;
  before = 1u;
  if (at < params.count) { atomicAdd(&ran[at], select(1000u, 1u, right)); }
}`,
  )

const SIZES = [
  { size: '8', threads: 8, kernel: census('8', 'local.x == index') },
  { size: '64', threads: 64, kernel: census('64', 'local.x == index') },
  { size: 'WX, 4', threads: 32, kernel: census('WX, 4', 'local.x + 8u * local.y == index') },
  {
    size: '4, 2, 2',
    threads: 16,
    kernel: census('4, 2, 2', 'local.x + 4u * local.y + 8u * local.z == index'),
  },
]

test.each(SIZES)('each workgroup of $size runs once and finds itself in its place', async (each) => {
  const device = await dealer()
  if (!device) return
  const taken = async (workgroups: [number, number, number]): Promise<void> => {
    const run = new Run(device, 'census')
    const count = workgroups.reduce((a, b) => a * b, each.threads)
    const ran = run.zeros([count], 'int32')
    // Twice: the counter is where it was.
    for (let i = 0; i < 2; i++) {
      run.launch({ kernel: each.kernel, entry: 'count', bindings: { ran }, params: { count }, workgroups })
    }
    const wrong = (await ran.data()).findIndex((n) => n !== 2)
    expect(wrong, `${workgroups.join('×')} workgroups: invocation ${wrong}`).toBe(-1)
    run.finish([])
  }
  // One, as many as may run at once, those beside; as many as are taken one by one, and more.
  for (const n of [1, 2, 31, 32, 33, 511, 512, 513, 1025, 5000]) await taken([n, 1, 1])
  const side = fc.integer({ min: 1, max: 14 })
  await fc.assert(
    fc.asyncProperty(side, side, side, (x, y, z) => taken([x, y, z])),
    { numRuns: 20 },
  )
})

test('a launch is dealt out to as many workgroups as may run at once', async () => {
  const device = await dealer()
  if (!device) return
  const { deal } = device
  const threads: number[] = []
  device.deal = (launch) => {
    const dealt = deal!(launch)
    threads.push(dealt.workgroups[0])
    return dealt
  }
  try {
    add(device.zeros([100_000]), 1)
  } finally {
    device.deal = deal
  }
  expect(Math.max(...threads)).toBeLessThanOrEqual(32)
})

/** A kernel of one entry point `main`, in pieces. */
const text = ({
  before = '',
  size = '8',
  args = '@builtin(local_invocation_index) a: u32',
  params = 'count: u32',
  body = '',
}) => `${before}
struct Params { ${params} }
@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;
fn wait() { workgroupBarrier(); }
@compute @workgroup_size(${size}) fn main(${args}) { y[0] = params.count; ${body} }`

const MANY = Array.from({ length: 59 }, (_, i) => `p${i}: u32`).join(', ')

test.each([
  ['waits at a barrier', { body: 'wait();' }],
  [
    'has something that a workgroup shares',
    { before: 'var<workgroup> n: atomic<u32>;', body: 'atomicAdd(&n, 1u);' },
  ],
  ['asks for what a loop does not know', { args: '@builtin(subgroup_size) a: u32' }],
  ['asks for it in a struct', { args: 'a: Params' }],
  ['asks for it with spaces', { args: '@builtin( local_invocation_index ) a: u32' }],
  ['begins with a private value', { before: 'var<private> n: u32 = 5u;' }],
  ['has one without a type', { before: 'var<private> n = 5u;' }],
  ['has one in other words', { before: 'var <private> n: u32;' }],
  ['uses a name of the form', { before: 'const deal = 1u;' }],
  ['uses the binding of the counter', { before: '@group(0) @binding(31) var<storage> z: array<u32>;' }],
  ['rules over uniformity itself', { before: 'diagnostic(error, subgroup_uniformity);' }],
  ['fills its uniforms', { params: `${MANY}, count: u32` }],
])('a kernel that %s has no dealt form', (_, pieces) => {
  expect(dealtForm(kernel('mine', text(pieces)))).toBeUndefined()
})

test('comments among arguments, a comma behind the size and an entry that waits beside it do no harm', async () => {
  const source = text({
    size: '16,',
    args: `@builtin(local_invocation_index) a: u32, // ) {
      // @builtin(num_workgroups) groups: vec3u,
    `,
    body: 'y[a] = 7u;',
  })
  const other = '@compute @workgroup_size(8) fn other() { wait(); y[0] = params.count; }'
  const form = dealtForm(kernel('mine', `${source} ${other}`))!
  expect([...form.entries]).toEqual(['main'])
  expect(form.kernel.source.split('\n').length).toBe(source.split('\n').length)
  const device = await dealer()
  if (!device) return
  const run = new Run(device, 'mine')
  const y = run.zeros([16], 'int32')
  const mine = kernel('mine', source)
  run.launch({ kernel: mine, entry: 'main', bindings: { y }, params: { count: 7 }, workgroups: [9] })
  expect([...(await y.data())]).toEqual(Array.from({ length: 16 }, () => 7))
  run.finish([])
})

test('what has no room for the counter, and a kernel of somebody else, are launched as they are', async () => {
  const device = await dealer()
  if (!device) return
  const launched = (mine: Kernel, most: number): readonly number[] => {
    const { deal } = device
    const seen: number[] = []
    const run = new Run(device, 'mine')
    const [y, counter] = [run.zeros([1], 'int32'), run.zeros([1], 'int32')]
    device.deal = (d) => {
      seen.push(...dealing(counter.storage, most)(d).workgroups)
      return d
    }
    try {
      run.launch({ kernel: mine, entry: 'main', bindings: { y }, params: { count: 1 }, workgroups: [50] })
    } finally {
      device.deal = deal
    }
    run.finish([])
    return seen
  }
  expect(launched(kernel('mine', text({})), 2)).toEqual([32, 1, 1])
  expect(launched(kernel('mine', text({})), 1)).toEqual([50, 1, 1])
  const mine = kernelAsIs('mine', `alias elem = f32; ${text({})}`)
  expect(launched(mine, 2)).toEqual([50, 1, 1])
  expect(dealtForm(kernel('mine', `alias elem = f32; ${text({})}`).half)).toBeDefined()
  expect(dealtForm(mine.half)).toBeUndefined()
})

/** Losses of some training steps, and the weights behind them. */
async function trained(device: Device, compiled: boolean): Promise<number[]> {
  const net = new UNet(device, { inChannels: 1, features: 8, seed: 4 })
  const opt = new Adam(net.parameters(), { lr: 1e-2 })
  const x = device.tensor(
    Float32Array.from({ length: 3 * 48 * 32 }, (_, i) => Math.sin(i / 7)),
    [3, 1, 48, 32],
  )
  const y = device.tensor(
    Float32Array.from({ length: x.size }, (_, i) => (i % 32 > 12 ? 1 : 0)),
    x.shape,
  )
  const step = () => {
    opt.zeroGrad()
    const loss = diceLoss(net.forward(x), y)
    loss.backward()
    opt.step()
    return loss
  }
  const call = compiled ? device.compile(step) : step
  const losses: number[] = []
  for (let i = 0; i < 3; i++) losses.push(await call().item())
  const weights = await Promise.all(net.parameters().map((p) => p.data()))
  return [...losses, ...weights.flatMap((w) => [...w])]
}

test('training takes the same steps to the bit, dealt out or not', async () => {
  const device = await openDevice({ debug: { guard: true } })
  const { deal } = device
  if (deal) {
    const results: number[][] = []
    for (const [form, compiled] of [
      [undefined, false],
      [deal, false],
      [deal, true],
    ] as const) {
      device.deal = form
      results.push(await trained(device, compiled))
    }
    // A picture of how half a million numbers differ would take minutes.
    for (const other of results.slice(1)) expect(other.findIndex((v, i) => v !== results[0]![i])).toBe(-1)
    expect(results[0]!.every(Number.isFinite)).toBe(true)
    const t = device.tensor(
      Float32Array.from({ length: 5000 }, (_, i) => Math.cos(i)),
      [50, 100],
    )
    const dealt = await softmax(t, { axis: 1 }).data()
    device.deal = undefined
    const plain = await softmax(t, { axis: 1 }).data()
    expect(dealt.findIndex((v, i) => v !== plain[i])).toBe(-1)
    await device.checkGuards()
  }
  device.destroy()
})
