import { FoveaError, GradientError } from '../gpu/errors.ts'
import { type OpRule, record } from './op.ts'
import { generatorOf, type RandomGenerator } from './random.ts'
import { backwardThrough, newNodeId } from './tape.ts'
import { deviceOf, formatShape, sameShape, type Tensor } from './tensor.ts'

interface Attrs {
  readonly forward: () => readonly Tensor[]
  /** Where the random numbers of the forward pass began: set by each run of it, replays included. */
  readonly random: { start: ReturnType<RandomGenerator['state']> }
}

/**
 *     forward:    y = fn(x), nothing kept but x
 *     backward:   y = fn(x) again, recorded; its own reverse pass; the gradients of x handed to the outer one
 *
 * Nodes of the second run have ids past all others, so that its reverse pass stops at what was there before:
 * that is how tensors which `fn` reaches without being given them get their gradients, too.
 */
const rule: OpRule<Attrs> = {
  name: 'recompute',
  forward: () => {
    throw new FoveaError('recompute records itself')
  },
  backward({ device }, { inputs, outputs, grads, attrs: { forward, random } }) {
    const from = newNodeId()
    const generator = generatorOf(device)
    let now = generator.state()
    return device.scope(() => {
      device.perform(() => {
        now = generator.state()
        generator.restore(random.start)
      })
      const results = device.recomputation.repeat(() => device.withGrad(forward))
      device.perform(() => generator.restore(now))
      checkSame(outputs, results)
      const arrived = backwardThrough(results, grads, from)
      return inputs.map((x) => arrived.get(x))
    })
  },
}

function checkSame(first: readonly Tensor[], second: readonly Tensor[]): void {
  const shapes = (ts: readonly Tensor[]) => ts.map((t) => `${t.dtype} ${formatShape(t.shape)}`).join(', ')
  if (first.length === second.length && first.every((t, i) => sameShape(t.shape, second[i]!.shape))) return
  throw new GradientError(
    `recompute: the function gave ${shapes(first)} in the forward pass and ${shapes(second)} when it ran again; it must do the same both times`,
  )
}

/**
 * Runs `fn` on `inputs` without keeping its intermediates; `backward` runs it again to have them (activation
 * checkpointing, PyTorch's `torch.utils.checkpoint`). Trades one more forward pass of the part for the memory
 * of everything inside it but its results. Values and gradients are those without it, bit for bit.
 *
 * `fn` gives a tensor or an array of them and must do the same at both runs: random ops draw the same numbers,
 * running statistics move once, but work given to `device.perform` is done twice. Parameters and other tensors
 * that it uses need not be among `inputs`. A tensor made inside and not returned is gone at its end. May be
 * nested. Where no gradient is wanted it is `fn(...inputs)`. Throws a FoveaError without inputs.
 */
export function recompute<A extends readonly Tensor[], R extends Tensor | readonly Tensor[]>(
  fn: (...inputs: A) => R,
  ...inputs: A
): R {
  const device = deviceOf('recompute', inputs)
  for (const x of inputs) x.assertAlive('recompute')
  if (!device.gradEnabled) return fn(...inputs)
  let single = false
  const forward = (): readonly Tensor[] => {
    const result: Tensor | readonly Tensor[] = fn(...inputs)
    single = !Array.isArray(result)
    return Array.isArray(result) ? result : [result as Tensor]
  }
  const generator = generatorOf(device)
  const enabled = device.autocasting
  const again = () => device.autocast(forward, { enabled })
  const attrs: Attrs = { forward: again, random: { start: generator.state() } }
  device.perform(() => {
    attrs.random.start = generator.state()
  })
  const { result, used } = device.recomputation.watch(() =>
    // Aliases leave the scope, so that a result which is an input stays what it was.
    device.scope(() => device.noGrad(() => forward().map((t) => t.detach()))),
  )
  const wants = [...new Set([...inputs, ...used])].some((x) => x.requiresGrad)
  const graph = [...new Set([...inputs, ...[...used].filter((x) => !x.isLeaf)])]
  const outputs = wants ? record(rule, graph, result, [], attrs) : result
  if (!wants) for (const y of outputs) device.enterScope(y)
  return (single ? outputs[0] : outputs) as unknown as R
}
