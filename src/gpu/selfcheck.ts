import source from '../../kernels/selfcheck.wgsl'
import { AdapterError } from './errors.ts'
import { BufferUsage, MAP_MODE_READ } from './flags.ts'

/** The kernel's `x`, exact in binary but for 0.7; 3e38 overflows when multiplied by 3, 100 in exp. */
const INPUTS = [1.5, 2.25, 0.125, 1, 2 ** -23, 3, -2.5, 10, 2, 0.7, 3e38, 100]
const PARAMS = {
  terms: 100,
  minusEight: -8,
  seven: 7,
  topBit: 0x8000_0000,
  infinity: 0x7f80_0000,
  nan: 0x7fc0_0000,
  lanes: 64,
}

/** [what is computed, its value, the tolerance relative to it]; WGSL's accuracy with room to spare. */
type FloatCheck = readonly [name: string, expected: number, tolerance: number]
const FLOAT_CHECKS: readonly FloatCheck[] = [
  ['1.5 + 2.25', 3.75, 0],
  ['1.5 * 2.25', 3.375, 0],
  ['fma(1.5, 2.25, 0.125)', 3.5, 0],
  ['(1 + 2^-23) - 1, the precision of f32', 2 ** -23, 0],
  ['1 / 3', 1 / 3, 1e-6],
  ['exp(-2.5)', Math.exp(-2.5), 1e-5],
  ['log(10)', Math.log(10), 1e-5],
  ['sqrt(2)', Math.SQRT2, 1e-5],
  ['tanh(0.7)', Math.tanh(0.7), 1e-4],
  ['dot of two vec4', 1.5 * 2 ** -23 + 2.25 * 3 - 0.125 * 2.5 + 10, 1e-6],
  ['floor(-2.5)', -3, 0],
  ['max(-2.5, 1.5) + 2 * min(-2.5, 1.5)', -3.5, 0],
  ['sum of i * i for i in 1..100, a loop with a uniform bound', 338_350, 0],
  ['workgroup reduction of lane * (63 - lane)', 41_664, 0],
]

/** [what is computed, its value as u32 bits]. */
type WordCheck = readonly [name: string, expected: number]
const INTEGER_CHECKS: readonly WordCheck[] = [
  ['(1 << 31) >> 3', 0x1000_0000],
  ['100 << 4', 1600],
  ['-8 >> 1', -4 >>> 0],
  ['-7 / 2', -3 >>> 0],
  ['-8 % 7', -1 >>> 0],
  ['2^31 + 2^31 + 100 in u32', 100],
  ['-8 * 7', -56 >>> 0],
  ['i32(-2.5)', -2 >>> 0],
  ['u32 xor, and, not', 0xff80_0000 & ~100],
  ['infinity from memory', 0x7f80_0000],
  ['NaN from memory, by its bits', 1],
  ['3e38 * 3 is infinity', 1],
  ['exp(100) is infinity', 1],
  ['infinity - 3e38 * 3 is NaN', 1],
  ['NaN + 1 is NaN', 1],
  ['numbers taken for NaN or infinity', 0],
].map(([name, expected]) => [name as string, (expected as number) >>> 0])

const LANES = 64
const GROUPS = 4
const INVOCATIONS = LANES * GROUPS
/** Lanes of float results; the integer results stand behind them, up to LANES. */
const FLOATS = 16
const COUNTER_CHECKS: readonly WordCheck[] = [
  ['atomicAdd of 0..255', (INVOCATIONS * (INVOCATIONS - 1)) / 2],
  ['atomicMin over 256 invocations', 5],
]
/** What the counters start from. */
const COUNTERS = [0, 0xffff_ffff, 0, 0]

function refuse(adapter: string, check: string, expected: string, got: string): never {
  throw new AdapterError(
    `adapter '${adapter}' computes wrongly: ${check} should be ${expected}, it gives ${got}. ` +
      "fovea does not use it. Update its driver, or choose adapter 'software'",
  )
}

/**
 * Compares what the kernel left, results and then counters, with the known answers.
 * Throws an `AdapterError` that names the adapter, the first check that failed, and both values.
 */
export function checkResults(adapter: string, words: Uint32Array): void {
  const floats = new Float32Array(words.buffer, words.byteOffset, FLOATS)
  FLOAT_CHECKS.forEach(([check, expected, tolerance], i) => {
    const got = floats[i]!
    const right = Math.abs(got - expected) <= tolerance * Math.abs(expected)
    if (!right) refuse(adapter, check, String(expected), String(got))
  })
  const compare = (checks: readonly WordCheck[], from: number) =>
    checks.forEach(([check, expected], i) => {
      const got = words[from + i]!
      if (got !== expected) refuse(adapter, check, `0x${expected.toString(16)}`, `0x${got.toString(16)}`)
    })
  compare(INTEGER_CHECKS, FLOATS)
  for (let i = LANES; i < INVOCATIONS; i++) {
    const got = words[i]!
    if (got !== 3 * i + 1) refuse(adapter, `3 * i + 1 in invocation ${i}`, String(3 * i + 1), String(got))
  }
  compare(COUNTER_CHECKS, INVOCATIONS)
}

function filled(device: GPUDevice, usage: number, values: Float32Array | Uint32Array): GPUBuffer {
  const buffer = device.createBuffer({ size: values.byteLength, usage, mappedAtCreation: true })
  new Uint8Array(buffer.getMappedRange()).set(new Uint8Array(values.buffer))
  buffer.unmap()
  return buffer
}

async function run(device: GPUDevice): Promise<Uint32Array> {
  const { UNIFORM, STORAGE, COPY_SRC, COPY_DST, MAP_READ } = BufferUsage
  const bytes = 4 * INVOCATIONS
  const size = bytes + 4 * COUNTERS.length
  const module = device.createShaderModule({ code: source, label: 'selfcheck' })
  const pipeline = device.createComputePipelineAsync({
    layout: 'auto',
    compute: { module, entryPoint: 'selfcheck' },
  })
  const params = new Uint32Array(8)
  params.set(Object.values(PARAMS).map((v) => v >>> 0))
  const buffers = [
    filled(device, UNIFORM, params),
    filled(device, STORAGE, new Float32Array(INPUTS)),
    device.createBuffer({ size: bytes, usage: STORAGE | COPY_SRC }),
    filled(device, STORAGE | COPY_SRC, new Uint32Array(COUNTERS)),
  ]
  const staging = device.createBuffer({ size, usage: MAP_READ | COPY_DST })
  try {
    const compute = await pipeline
    const entries = buffers.map((buffer, binding) => ({ binding, resource: { buffer } }))
    const encoder = device.createCommandEncoder()
    const pass = encoder.beginComputePass()
    pass.setPipeline(compute)
    pass.setBindGroup(0, device.createBindGroup({ layout: compute.getBindGroupLayout(0), entries }))
    pass.dispatchWorkgroups(GROUPS)
    pass.end()
    encoder.copyBufferToBuffer(buffers[2]!, 0, staging, 0, bytes)
    encoder.copyBufferToBuffer(buffers[3]!, 0, staging, bytes, size - bytes)
    device.queue.submit([encoder.finish()])
    await staging.mapAsync(MAP_MODE_READ)
    return new Uint32Array(staging.getMappedRange().slice(0))
  } finally {
    for (const buffer of [...buffers, staging]) buffer.destroy()
  }
}

/**
 * Computes a few known results on `device` and refuses it where one is wrong: arithmetic, functions,
 * integers, atomics, barriers, infinity and NaN by their bits. One dispatch and one read-back:
 * milliseconds, or some 0.2 s where a CPU driver first has to compile it.
 * Throws an `AdapterError` that names the adapter (`name`), the check, what it should give and what it gave.
 */
export async function selfCheck(device: GPUDevice, name: string): Promise<void> {
  device.pushErrorScope('validation')
  let words: Uint32Array | undefined
  let failure: unknown
  try {
    words = await run(device)
  } catch (error) {
    failure = error
  }
  const complaint = (await device.popErrorScope().catch((error: unknown) => error)) as Error | null
  if (words === undefined || complaint) {
    const message = complaint?.message ?? (failure as Error | undefined)?.message ?? 'no reason given'
    throw new AdapterError(`adapter '${name}' cannot run fovea's self-check: ${message}`, { cause: failure })
  }
  checkResults(name, words)
}
