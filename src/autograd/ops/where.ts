import source from '../../../kernels/where.wgsl'
import { kernel } from '../../gpu/kernel.ts'
import { MAX_RANK } from '../accumulate.ts'
import type { Operand } from '../binary.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import {
  broadcastShapes,
  broadcastStrides,
  collapse,
  requireFloat,
  requireRank,
  walkParams,
} from '../shape.ts'
import { sameShape, Tensor } from '../tensor.ts'

const wheres = kernel('where', source)

function launch(run: Run, condition: Tensor, a: Operand, b: Operand): Tensor {
  const shapeOf = (x: Operand) => (x instanceof Tensor ? x.shape : [])
  const shape = broadcastShapes(run.op, condition.shape, shapeOf(a), shapeOf(b))
  const y = run.empty(shape)
  // A number leaves its binding unused: the condition stands in.
  const [tensorA, tensorB] = [a, b].map((x) => (x instanceof Tensor ? x : condition)) as [Tensor, Tensor]
  const same = [condition, tensorA, tensorB].every((t) => sameShape(t.shape, shape))
  const walk = collapse({
    sizes: shape,
    strides: [condition.shape, shapeOf(a), shapeOf(b)].map((s) => broadcastStrides(s, shape)),
  })
  requireRank(run.op, walk.sizes, MAX_RANK, shape)
  const count = same ? Math.ceil(y.size / 4) : y.size
  run.launch({
    kernel: wheres,
    entry: same ? 'same' : 'general',
    bindings: {
      c: condition,
      wide_c: condition,
      a: tensorA,
      wide_a: tensorA,
      b: tensorB,
      wide_b: tensorB,
      y,
      wide_y: y,
    },
    overrides: { NUMBER_A: a instanceof Tensor ? 0 : 1, NUMBER_B: b instanceof Tensor ? 0 : 1 },
    params: {
      count,
      a: a instanceof Tensor ? 0 : a,
      b: b instanceof Tensor ? 0 : b,
      ...walkParams(walk, MAX_RANK, ['c', 'a', 'b']),
    },
    threads: count,
  })
  return y
}

interface Attrs {
  readonly a: number | undefined
  readonly b: number | undefined
}

const apply = defineUnaryResult<Attrs>({
  name: 'where',
  forward(run, [condition, ...values], { a, b }) {
    requireFloat('where', { condition: condition!, ...Object.fromEntries(values.entries()) })
    return launch(run, condition!, a ?? values[0]!, b ?? values.at(-1)!)
  },
  backward(run, { inputs, grads: [dy], needs, attrs: { a, b } }) {
    const gradients: (Tensor | undefined)[] = [undefined]
    if (a === undefined) gradients.push(needs[1] ? launch(run, inputs[0]!, dy!, 0) : undefined)
    if (b === undefined) gradients.push(needs.at(-1) ? launch(run, inputs[0]!, 0, dy!) : undefined)
    return gradients
  },
})

/**
 * a where `condition` is other than 0, else b; the three broadcast, a and b may be numbers. No gradient flows
 * to the condition.
 */
export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  const inputs = [condition, a, b].filter((x): x is Tensor => x instanceof Tensor)
  return apply(inputs, {
    a: a instanceof Tensor ? undefined : a,
    b: b instanceof Tensor ? undefined : b,
  })
}
