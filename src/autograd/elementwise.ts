import source from '../../kernels/elementwise.wgsl'
import { kernel } from '../gpu/kernel.ts'
import { defineUnaryResult, type Run } from './op.ts'
import { requireFloat } from './shape.ts'
import type { Tensor } from './tensor.ts'

const elementwise = kernel('elementwise', source)

/** Numbers of the functions in kernels/elementwise.wgsl. */
const OPS = {
  neg: 0,
  abs: 1,
  relu: 2,
  sigmoid: 3,
  exp: 4,
  log: 5,
  sqrt: 6,
  tanh: 7,
  pow: 8,
  clamp: 9,
} as const
type Name = keyof typeof OPS

/** Exact on halves, or as good as: the others want float32's digits, as in PyTorch's autocast. */
const HALF: ReadonlySet<Name> = new Set(['neg', 'abs', 'relu', 'clamp'])

export interface Constants {
  readonly a: number
  readonly b: number
}

/** Launches one function over `x` alone (`apply`), or its gradient over `x` and `dy`. */
function launch(run: Run, name: Name, x: Tensor, { a, b }: Constants, dy?: Tensor): Tensor {
  const y = run.empty(x.shape, x.dtype)
  const count = Math.ceil(x.size / 4)
  run.launch({
    kernel: elementwise,
    entry: dy ? 'grad' : 'apply',
    bindings: dy ? { x, dy, y } : { x, y },
    overrides: { OP: OPS[name] },
    params: { count, a, b },
    threads: count,
  })
  return y
}

/** −x for other rules. */
export const launchNeg = (run: Run, x: Tensor): Tensor => launch(run, 'neg', x, { a: 0, b: 0 })

/** An elementwise op by its function's name; `from` says which of input and output its gradient is computed from. */
export function defineElementwise(
  name: Name,
  from: 'input' | 'output',
): (x: Tensor, constants?: Constants) => Tensor {
  const apply = defineUnaryResult<Constants>({
    name,
    ...(HALF.has(name) ? { half: { inputs: 'all' } as const } : {}),
    forward(run, [x], constants) {
      requireFloat(name, { x: x! })
      return launch(run, name, x!, constants)
    },
    backward(run, { inputs: [x], outputs: [y], grads: [dy], attrs }) {
      if (name === 'pow' && attrs.a === 0) return [run.zeros(x!.shape, x!.dtype)]
      return [launch(run, name, from === 'input' ? x! : y!, attrs, dy!)]
    },
  })
  return (x, constants = { a: 0, b: 0 }) => apply([x], constants)
}
