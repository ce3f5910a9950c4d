import { expect } from 'vitest'
import type { Device } from '../src/autograd/device.ts'
import type { Tensor } from '../src/autograd/tensor.ts'
import { parseSafetensors, type SafeArray } from '../src/nn/safetensors.ts'

/** A case of test/reference/README.md: inputs, options, and what other people's code made of them. */
export interface ReferenceCase {
  readonly name: string
  readonly op: string
  readonly inputs: readonly string[]
  readonly attrs: Readonly<Record<string, unknown>>
  readonly outputs: readonly string[]
  readonly grads?: readonly string[]
  readonly moreGrads?: readonly string[]
  readonly upstream?: string
}

/** The bytes of a reference file: from the disk, in a browser from the server, without waiting in both. */
const read: (name: string) => Uint8Array = 'XMLHttpRequest' in globalThis ? fromServer : await fromDisk()

async function fromDisk(): Promise<typeof read> {
  const { readFileSync } = await import('node:fs')
  return (name) => new Uint8Array(readFileSync(new URL(`./reference/${name}`, import.meta.url)))
}

function fromServer(name: string): Uint8Array {
  const request = new XMLHttpRequest()
  request.open('GET', `/test/reference/${name}`, false)
  // One character a byte: a synchronous request has no binary answer.
  request.overrideMimeType('text/plain; charset=x-user-defined')
  request.send()
  if (request.status !== 200) throw new Error(`test/reference/${name}: the server says ${request.status}`)
  return Uint8Array.from(request.responseText, (c) => c.charCodeAt(0) & 0xff)
}

/** The arrays of a reference file by name. */
export const referenceArrays = (file: string): Map<string, SafeArray> =>
  parseSafetensors(read(`${file}.safetensors`), file).tensors

/** The JSON of a reference file. */
export const referenceTable = <T>(file: string): T =>
  JSON.parse(new TextDecoder().decode(read(`${file}.json`))) as T

/** A reference file: its cases and its arrays by `case/array`. */
export function reference(file: string): {
  cases: ReferenceCase[]
  array(c: ReferenceCase, name: string): SafeArray
} {
  const cases = referenceTable<ReferenceCase[]>(file)
  const tensors = referenceArrays(file)
  return {
    cases,
    array(c, name) {
      const found = tensors.get(`${c.name}/${name}`)
      if (!found) throw new Error(`${file}: no array ${c.name}/${name}`)
      return found
    },
  }
}

/** Largest |a − b| / (atol + rtol·|b|) must be ≤ 1; NaN equals NaN only, infinity its own sign only. */
export function expectClose(
  actual: ArrayLike<number>,
  expected: ArrayLike<number>,
  rtol: number,
  atol: number,
  what: string,
): void {
  expect(actual.length, `${what}: length`).toBe(expected.length)
  let worst = 0
  let at = -1
  for (let i = 0; i < expected.length; i++) {
    const [a, b] = [actual[i]!, expected[i]!]
    if (Object.is(a, b) || a === b) continue
    const error = Math.abs(a - b) / (atol + rtol * Math.abs(b))
    if (!(error <= worst)) {
      worst = Number.isNaN(error) ? Number.POSITIVE_INFINITY : error
      at = i
    }
  }
  if (worst > 1) {
    throw new Error(
      `${what}: element ${at} is ${actual[at]}, expected ${expected[at]} (${worst.toPrecision(3)} × the tolerance)`,
    )
  }
}

/** Runs one case: values, then gradients of ⟨first output, upstream⟩. */
export async function runCase(
  device: Device,
  file: ReturnType<typeof reference>,
  c: ReferenceCase,
  call: (inputs: Tensor[], attrs: Readonly<Record<string, unknown>>) => Tensor | readonly Tensor[],
  tolerance: { rtol?: number; atol?: number; gradRtol?: number; gradAtol?: number; more?: boolean } = {},
): Promise<void> {
  const { rtol = 1e-5, atol = 1e-6, more = true } = tolerance
  const { gradRtol = rtol, gradAtol = atol } = tolerance
  const wanted = new Set([...(c.grads ?? []), ...(more ? (c.moreGrads ?? []) : [])])
  const byName = new Map<string, Tensor>()
  for (const name of c.inputs) {
    const { data, shape } = file.array(c, name)
    if (!byName.has(name)) byName.set(name, device.tensor(data, shape, { requiresGrad: wanted.has(name) }))
  }
  const result = call(
    c.inputs.map((n) => byName.get(n)!),
    c.attrs,
  )
  const outputs = Array.isArray(result) ? (result as Tensor[]) : [result as Tensor]
  for (let i = 0; i < outputs.length && i < c.outputs.length; i++) {
    const expected = file.array(c, c.outputs[i]!)
    expect(outputs[i]!.shape, `${c.name}: shape`).toEqual(expected.shape)
    expectClose(await outputs[i]!.data(), expected.data, rtol, atol, `${c.name} ${c.outputs[i]}`)
  }
  if (c.upstream && wanted.size > 0) {
    const up = file.array(c, c.upstream)
    outputs[0]!.backward(device.tensor(up.data, up.shape))
    for (const name of wanted) {
      const expected = file.array(c, `d${name}`)
      expectClose(
        await byName.get(name)!.grad!.data(),
        expected.data,
        gradRtol,
        gradAtol,
        `${c.name} d${name}`,
      )
    }
  }
  for (const t of [...outputs, ...byName.values()]) t.dispose()
}
