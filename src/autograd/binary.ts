import source from '../../kernels/binary.wgsl'
import { ShapeError } from '../gpu/errors.ts'
import { kernel } from '../gpu/kernel.ts'
import { MAX_RANK } from './accumulate.ts'
import { defineUnaryResult, type Run } from './op.ts'
import {
  broadcastShapes,
  broadcastStrides,
  collapse,
  gridOf,
  requireFloat,
  requireRank,
  type Walk,
  walkParams,
} from './shape.ts'
import { Tensor } from './tensor.ts'

const binary = kernel('binary', source)

/** Numbers of the functions in kernels/binary.wgsl. */
const OPS = {
  add: 0,
  sub: 1,
  mul: 2,
  div: 3,
  maximum: 4,
  minimum: 5,
  gt: 6,
  ge: 7,
  lt: 8,
  le: 9,
  eq: 10,
  ne: 11,
  negMul: 12,
  shareMax: 13,
  shareMin: 14,
  shareRest: 15,
  logicalAnd: 16,
  logicalOr: 17,
  addRelu: 18,
} as const
export type BinaryName = keyof typeof OPS

/** Rounded once, in the type of their operands; the others (quotients, comparisons, logic) see float32. */
const HALF: ReadonlySet<BinaryName> = new Set(['add', 'sub', 'mul', 'maximum', 'minimum'])

/** A tensor or a number, as operand. */
export type Operand = Tensor | number

const unwalked: Walk = { sizes: [], strides: [[], []] }
const quarter = (walk: Walk, wideA: boolean, wideB: boolean): Walk => {
  const inner = walk.sizes.length - 1
  const shrink = (strides: readonly number[]) => strides.map((s, k) => (k === inner ? s : s / 4))
  return {
    sizes: walk.sizes.map((n, k) => (k === inner ? n / 4 : n)),
    strides: [
      wideA ? shrink(walk.strides[0]!) : walk.strides[0]!,
      wideB ? shrink(walk.strides[1]!) : walk.strides[1]!,
    ],
  }
}

/** True if an array can be read in vec4s along the inner axis of the walk. */
const readsWide = (strides: readonly number[]): boolean =>
  strides.at(-1) === 1 && strides.slice(0, -1).every((s) => s % 4 === 0)

/** y = f(a, b) in the broadcast shape of a and b. For other rules, too. */
export function launchBinary(run: Run, name: BinaryName, a: Operand, b: Operand): Tensor {
  if (!(a instanceof Tensor)) return launchNumber(run, name, b as Tensor, a, 1)
  if (!(b instanceof Tensor)) return launchNumber(run, name, a, b, 0)
  const shape = broadcastShapes(run.op, a.shape, b.shape)
  const y = run.empty(shape, a.dtype)
  const walk = collapse({
    sizes: shape,
    strides: [broadcastStrides(a.shape, shape), broadcastStrides(b.shape, shape)],
  })
  requireRank(run.op, walk.sizes, MAX_RANK, shape)
  const [stridesA, stridesB] = walk.strides as [number[], number[]]
  const inner = walk.sizes.at(-1) ?? 1
  const launch = (entry: string, used: Walk, x: Tensor, z: Tensor, swap: number) => {
    const count = entry === 'general' ? y.size : Math.ceil(y.size / 4)
    const grid = gridOf(used)
    const walked: Record<string, number> = grid ? { GRID: 1 } : { AXES: Math.max(1, used.sizes.length) }
    run.launch({
      kernel: binary,
      entry,
      bindings: { a: x, wide_a: x, b: z, wide_b: z, y, wide_y: y },
      overrides: { OP: OPS[name], ...(entry === 'same' ? {} : { SWAP: swap, ...walked }) },
      params: { count, number: 0, ...walkParams(used, MAX_RANK, ['a', 'b']) },
      threads: grid ?? count,
    })
  }
  const [wideA, wideB] = [readsWide(stridesA), readsWide(stridesB)]
  const even = inner % 4 === 0
  if (walk.sizes.length <= 1 && a.size === b.size) launch('same', unwalked, a, b, 0)
  else if (even && wideA && wideB) launch('wide', quarter(walk, true, true), a, b, 0)
  else if (even && wideA && stridesB.at(-1) === 0) launch('spread', quarter(walk, true, false), a, b, 0)
  else if (even && wideB && stridesA.at(-1) === 0) {
    const swapped: Walk = { sizes: walk.sizes, strides: [stridesB, stridesA] }
    launch('spread', quarter(swapped, true, false), b, a, 1)
  } else launch('general', walk, a, b, 0)
  return y
}

function launchNumber(run: Run, name: BinaryName, a: Tensor, number: number, swap: number): Tensor {
  const y = run.empty(a.shape, a.dtype)
  const count = Math.ceil(a.size / 4)
  run.launch({
    kernel: binary,
    entry: 'number',
    bindings: { wide_a: a, wide_y: y },
    overrides: { OP: OPS[name], SWAP: swap },
    params: { count, number, ...walkParams(unwalked, MAX_RANK, ['a', 'b']) },
    threads: count,
  })
  return y
}

/** Gradients of both operands, in the broadcast shape: the tape sums them back. */
export type Gradients = (
  run: Run,
  at: { a: Operand; b: Operand; y: Tensor; dy: Tensor; needs: readonly [boolean, boolean] },
) => readonly [Tensor | undefined, Tensor | undefined]

interface Attrs {
  readonly a: number | undefined
  readonly b: number | undefined
  readonly computes: BinaryName
}

/**
 * A broadcasting op of two operands, by its function's name. Shapes broadcast as in NumPy, either operand may be a
 * number, tensors are of float32. `computes`: the kernel's function, where it has another name.
 */
export function defineBinary(
  name: BinaryName,
  gradients: Gradients | { readonly because: string },
  computes: BinaryName = name,
): (a: Operand, b: Operand) => Tensor {
  const operands = (inputs: readonly Tensor[], { a, b }: Attrs): [Operand, Operand] => [
    a ?? inputs[0]!,
    b ?? inputs.at(-1)!,
  ]
  const apply = defineUnaryResult<Attrs>({
    name,
    ...(HALF.has(name) ? { half: { inputs: 'all' } as const } : {}),
    forward(run, inputs, attrs) {
      requireFloat(name, inputs.length === 2 ? { a: inputs[0]!, b: inputs[1]! } : { x: inputs[0]! })
      return launchBinary(run, computes, ...operands(inputs, attrs))
    },
    ...(typeof gradients === 'function'
      ? {
          backward(run, { inputs, outputs: [y], grads: [dy], needs, attrs }) {
            const [a, b] = operands(inputs, attrs)
            const wanted = [a instanceof Tensor && needs[0]!, b instanceof Tensor && needs.at(-1)!] as const
            const [da, db] = gradients(run, { a, b, y: y!, dy: dy!, needs: wanted })
            if (attrs.a !== undefined) return [db]
            return attrs.b !== undefined ? [da] : [da, db]
          },
        }
      : { nonDifferentiable: gradients.because }),
  })
  return (a, b) => {
    if (a instanceof Tensor && b instanceof Tensor)
      return apply([a, b], { a: undefined, b: undefined, computes })
    if (a instanceof Tensor && typeof b === 'number') return apply([a], { a: undefined, b, computes })
    if (b instanceof Tensor && typeof a === 'number') return apply([b], { a, b: undefined, computes })
    throw new ShapeError(name, 'needs two operands, at least one of them a tensor, the other may be a number')
  }
}

/** The gradient handed on as it is. */
export const passOn = (run: Run, dy: Tensor): Tensor => run.view(dy, dy.shape)

/** Gradients of maximum and minimum: `share` gives 1 to the operand that was taken, a half each where they are equal. */
export const extremum = (share: 'shareMax' | 'shareMin'): Gradients => {
  return (run, { a, b, dy, needs: [na, nb] }) => {
    const da = launchBinary(run, 'mul', dy, launchBinary(run, share, a, b))
    return [na ? da : undefined, nb ? launchBinary(run, 'shareRest', dy, da) : undefined]
  }
}
