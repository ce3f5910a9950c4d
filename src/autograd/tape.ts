import { GradientError, ShapeError } from '../gpu/errors.ts'
import type { Storage } from '../gpu/storage.ts'
import { addInto, sumTo } from './accumulate.ts'
import { launchCast } from './cast.ts'
import type { OpRule } from './op.ts'
import { Run } from './op.ts'
import { formatShape, sameShape, type Tensor } from './tensor.ts'

/** One applied op on the tape. Ids grow, so that descending ids are a topological order. */
export interface Node {
  readonly id: number
  // biome-ignore lint/suspicious/noExplicitAny: attributes differ by op
  readonly rule: OpRule<any>
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  /** Tensors made in the forward pass for the backward rule alone. */
  readonly saved: readonly Tensor[]
  readonly attrs: unknown
}

let nextNode = 1
export const newNodeId = (): number => nextNode++

/** What a backward rule is given. */
export interface Cotangents<A> {
  readonly inputs: readonly Tensor[]
  readonly outputs: readonly Tensor[]
  readonly saved: readonly Tensor[]
  readonly attrs: A
  /** Gradient of each output; undefined where no gradient arrived. */
  readonly grads: readonly (Tensor | undefined)[]
  /** Whether input i wants a gradient. */
  readonly needs: readonly boolean[]
  /**
   * Where the gradient of leaf input i lies, for rules that add into it themselves (`+=`) and then return
   * undefined for that input. Undefined if input i is no leaf.
   */
  sink(i: number): Storage | undefined
  /**
   * The gradient of input i so far, if it may be overwritten: that of a leaf, or what another consumer of the input
   * left. A rule may add to it instead of returning a gradient for that input, which saves the tape a pass.
   */
  partial(i: number): Tensor | undefined
}

/** The nodes behind `roots`, latest first; none older than `from`. */
function reachable(roots: readonly Node[], from: number): Node[] {
  const seen = new Set<Node>(roots)
  const stack = [...seen]
  for (let node = stack.pop(); node; node = stack.pop()) {
    for (const input of node.inputs) {
      if (!input.node || input.node.id < from || seen.has(input.node)) continue
      seen.add(input.node)
      stack.push(input.node)
    }
  }
  return [...seen].sort((a, b) => b.id - a.id)
}

/** Frees what a node made, except what the user holds on to. */
function release(node: Node, roots: ReadonlySet<Tensor>, why: string): void {
  for (const t of node.saved) t.dispose(why)
  for (const t of node.outputs) {
    t.node = undefined
    if (!roots.has(t) && !t.kept) t.dispose(why)
  }
}

const USED_UP =
  'the graph was used up by an earlier backward; run the forward pass again, or detach() the tensor to use it as a constant'

/** The reverse pass: each node's rule once, in descending order; each cotangent freed when consumed. */
export function backward(root: Tensor, upstream: Tensor | undefined): void {
  root.assertAlive('backward')
  const { device } = root
  if (!root.node) {
    if (!root.isLeaf) throw new GradientError(`backward: ${USED_UP}`)
    if (root.requiresGrad)
      throw new GradientError(
        'backward: the tensor is a leaf, no op made it: there is nothing to differentiate',
      )
    throw new GradientError(
      `backward: no gradient flows to this tensor: ${root.noGradientBecause ?? 'none of its inputs has requiresGrad, or it was made under noGrad'}`,
    )
  }
  if (upstream && !sameShape(upstream.shape, root.shape)) {
    throw new ShapeError(
      'backward',
      `upstream is ${formatShape(upstream.shape)}, the tensor is ${formatShape(root.shape)}`,
    )
  }
  if (!upstream && root.size !== 1) {
    throw new ShapeError(
      'backward',
      `the tensor is ${formatShape(root.shape)}; pass an upstream gradient of that shape, or reduce to one element`,
    )
  }
  device.noGrad(() => {
    const first = upstream
      ? launchCast(new Run(device, 'backward'), upstream, root.dtype)
      : device.full(root.shape, 1, { dtype: root.dtype })
    reverse([root], new Map([[root, first]]))
  })
}

/** Walks back from `roots`, whose gradients lie in `grads`, as far as nodes of id `from`. */
function reverse(roots: readonly Tensor[], grads: Map<Tensor, Tensor>, from = 0): void {
  const results = new Set(roots)
  for (const node of reachable(
    roots.flatMap((y) => y.node ?? []),
    from,
  )) {
    step(node, grads)
    release(node, results, 'by backward()')
  }
}

/**
 * The reverse pass through a part of a graph: what was recorded since node id `from`. Gradients of leaves are
 * added to their `grad`; returned are those of tensors that were there before the part and are no leaves.
 */
export function backwardThrough(
  results: readonly Tensor[],
  upstreams: readonly (Tensor | undefined)[],
  from: number,
): Map<Tensor, Tensor> {
  const grads = new Map<Tensor, Tensor>()
  results.forEach((y, i) => {
    const dy = upstreams[i]
    if (dy && y.requiresGrad) accumulate(y, dy.detach(), grads)
  })
  reverse(
    results.filter((y) => y.node && y.node.id >= from),
    grads,
    from,
  )
  return grads
}

function step(node: Node, grads: Map<Tensor, Tensor>): void {
  const { rule, inputs, outputs, saved, attrs } = node
  const dys = outputs.map((y) => grads.get(y))
  for (const y of outputs) grads.delete(y)
  if (dys.every((g) => g === undefined)) return
  if (!rule.backward) {
    throw new GradientError(`${rule.name} has no backward rule: no gradient can flow through it`, {
      op: rule.name,
    })
  }
  const needs = inputs.map((x) => x.requiresGrad)
  const run = new Run(inputs[0]!.device, `${rule.name} backward`)
  const sink = (i: number): Storage | undefined => {
    const x = inputs[i]!
    return x.isLeaf && x.requiresGrad ? x.device.gradOf(x).storage : undefined
  }
  const partial = (i: number): Tensor | undefined => {
    const x = inputs[i]!
    if (x.isLeaf) return x.requiresGrad ? x.device.gradOf(x) : undefined
    const known = grads.get(x)
    return known?.exclusive ? known : undefined
  }
  const dxs = rule.backward(run, { inputs, outputs, saved, attrs, grads: dys, needs, sink, partial })
  run.finish(dxs.filter((g): g is Tensor => g !== undefined))
  inputs.forEach((x, i) => {
    let dx = dxs[i]
    if (!dx) return
    if (!needs[i]) {
      dx.dispose('its input wants no gradient')
      return
    }
    if (!sameShape(dx.shape, x.shape)) dx = unbroadcast(rule.name, i, dx, x)
    if (dx.dtype !== x.dtype) throw wrongGradient(rule.name, i, dx, x)
    accumulate(x, dx, grads)
  })
  for (const g of dys) g?.dispose('by backward()')
}

/** Sums a gradient back to the shape of an input that was broadcast: in one place for all ops. */
function unbroadcast(op: string, i: number, dx: Tensor, x: Tensor): Tensor {
  if (dx.rank < x.rank) throw wrongGradient(op, i, dx, x)
  const lead = dx.rank - x.rank
  const ok = x.shape.every((d, k) => d === 1 || d === dx.shape[lead + k])
  if (!ok) throw wrongGradient(op, i, dx, x)
  const y = sumTo(dx, x.shape)
  dx.dispose('by backward()')
  return y
}

const wrongGradient = (op: string, i: number, dx: Tensor, x: Tensor): GradientError =>
  new GradientError(
    `${op}: the gradient of input ${i} is ${dx.dtype} ${formatShape(dx.shape)}, the input is ${x.dtype} ${formatShape(x.shape)}`,
    { op },
  )

function accumulate(x: Tensor, dx: Tensor, grads: Map<Tensor, Tensor>): void {
  const { device } = x
  if (x.isLeaf) {
    addInto(device.gradOf(x), dx)
    dx.dispose('by backward()')
    return
  }
  if (!x.node) throw new GradientError(`backward: ${USED_UP}`)
  const known = grads.get(x)
  if (!known) {
    grads.set(x, dx)
    return
  }
  // A cotangent may be shared (add passes the same one to both inputs): then it must not be written.
  if (known.exclusive) {
    addInto(known, dx)
  } else {
    const sum = new Run(device, 'backward').copyOf(known)
    known.dispose('by backward()')
    addInto(sum, dx)
    grads.set(x, sum)
  }
  dx.dispose('by backward()')
}
