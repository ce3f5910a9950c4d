import source from '../../../kernels/matmul.wgsl'
import { FoveaError, ShapeError } from '../../gpu/errors.ts'
import type { Kernel } from '../../gpu/kernel.ts'
import { tunerOf } from '../../gpu/tuner.ts'
import { lanesProduct, tilesProduct } from '../conv2d/product.ts'
import { lanes } from '../conv2d/variant.ts'
import type { Device } from '../device.ts'
import { defineUnaryResult, Run } from '../op.ts'
import {
  broadcastShapes,
  broadcastStrides,
  collapse,
  requireFloat,
  requireRank,
  walkParams,
} from '../shape.ts'
import { elements, formatShape, type Shape, type Tensor } from '../tensor.ts'
import { addConvKernels, convKernels } from './conv2d_kernels.ts'
import { convAdapter } from './conv2d_run.ts'

addConvKernels({ matmul: source })
const products = convKernels.get('matmul')!

/** Batch axes that the kernel unravels. */
const BATCH_AXES = 4

export type MatmulForm = 'registers' | 'tiles' | 'lanes' | 'matrices'

/** The forms that run on a device, that of its adapter first. */
function formsFor(device: Device, half: boolean): { name: MatmulForm }[] {
  const names: MatmulForm[] = device.adapter.cpu ? ['registers', 'tiles'] : ['tiles', 'registers']
  if (lanes(convAdapter(device))) names.unshift('lanes')
  if (convAdapter(device, half).matrices) names.unshift('matrices')
  return names.map((name) => ({ name }))
}

/** Their kernels. */
function kernelsFor(device: Device, half: boolean, m: number): Kernel[] {
  const { matrices } = convAdapter(device, half)
  const files = [
    ...(lanes(convAdapter(device)) ? ['matmul_lanes'] : []),
    ...(matrices ? [matrices.product(m).file] : []),
  ]
  return [products, ...files.map((file) => convKernels.get(file)!)]
}

/** An operand of a product: rows and columns as the product sees them, and whether it is stored transposed. */
interface Matrix {
  readonly tensor: Tensor
  /** Leading axes. */
  readonly batch: Shape
  readonly transposed: boolean
}

/** Shape of the product. Throws a ShapeError if the matrices or their batch axes do not fit. */
export function checkMatmul(a: Shape, b: Shape): Shape {
  if (a.length < 2 || b.length < 2) {
    throw new ShapeError(
      'matmul',
      `a ${formatShape(a)} and b ${formatShape(b)} must have two axes or more; unsqueeze a vector to (1, n) or (n, 1)`,
    )
  }
  if (a.at(-1) !== b.at(-2)) {
    throw new ShapeError(
      'matmul',
      `a ${formatShape(a)} has ${a.at(-1)} columns, b ${formatShape(b)} has ${b.at(-2)} rows; they must be equal`,
    )
  }
  return [...broadcastShapes('matmul', a.slice(0, -2), b.slice(0, -2)), a.at(-2)!, b.at(-1)!]
}

/** (…, m, k) · (…, k, n). */
interface Product {
  readonly a: Matrix
  readonly b: Matrix
  readonly m: number
  readonly n: number
  readonly k: number
}

/** The product, in the form that was asked for or that the tuner chooses. */
function multiply(run: Run, product: Product, asked: MatmulForm | undefined): Tensor {
  const { a, b, m, n, k } = product
  const batch = broadcastShapes(run.op, a.batch, b.batch)
  const { dtype } = a.tensor
  if (k === 0) return run.zeros([...batch, m, n], dtype)
  const y = run.empty([...batch, m, n], dtype)
  launch(run, product, y, asked ?? chosenForm(run.device, product, y.shape))
  return y
}

function chosenForm(device: Device, { a, b, m, n, k }: Product, shape: Shape): MatmulForm {
  const { dtype } = a.tensor
  // The question may be measured long after its tensors: it holds their shapes.
  const like = ({ tensor: { shape, dtype }, batch, transposed }: Matrix) => ({
    key: `${dtype === 'float32' ? '' : `${dtype} `}${formatShape(batch)}${transposed ? ' turned' : ''}`,
    zeros: (run: Run): Matrix => ({ tensor: run.zeros(shape, dtype), batch, transposed }),
  })
  const [likeA, likeB] = [like(a), like(b)]
  const question = {
    key: `matmul ${m}x${k} by ${k}x${n}, batches ${likeA.key} and ${likeB.key}`,
    candidates: formsFor(device, dtype === 'float16'),
    kernelsOf: () => kernelsFor(device, dtype === 'float16', m),
    rehearse: () => {
      const run = new Run(device, 'tune matmul')
      const product = { a: likeA.zeros(run), b: likeB.zeros(run), m, n, k }
      const y = run.empty(shape, dtype)
      return {
        run: ({ name }: { readonly name: MatmulForm }) => launch(run, product, y, name),
        dispose: () => void run.finish([]),
      }
    },
  }
  return tunerOf(device).choose(question).name
}

function launch(run: Run, { a, b, m, n, k }: Product, y: Tensor, form: MatmulForm): void {
  const batch = y.shape.slice(0, -2)
  const walk = collapse({
    sizes: batch,
    strides: [broadcastStrides(a.batch, batch), broadcastStrides(b.batch, batch)],
  })
  requireRank(run.op, walk.sizes, BATCH_AXES, batch)
  const axes = walkParams(walk, BATCH_AXES, ['a', 'b'])
  const flops = 2 * m * n * k * elements(batch)
  const product = {
    ...{ m, n, k, axes, batch: elements(batch) },
    ...{ transposeA: a.transposed, transposeB: b.transposed },
  }
  const read = { a: a.tensor, wide_a: a.tensor, b: b.tensor, wide_b: b.tensor }
  if (form === 'lanes') {
    if (!lanes(convAdapter(run.device))) {
      throw new FoveaError(
        `matmul: the form 'lanes' is for CPU drivers whose subgroups have eight lanes or more, which ` +
          `${run.device.adapter.name} has not; leave the form out, or take 'registers' or 'tiles'`,
      )
    }
    const { entry, result, params, overrides, workgroups } = lanesProduct(product)
    run.launch({
      kernel: convKernels.get('matmul_lanes')!,
      entry,
      bindings: { ...read, bias: a.tensor, [result]: y },
      params,
      overrides,
      workgroups,
      flops,
    })
    return
  }
  if (form === 'tiles') {
    const { result, ...tiles } = tilesProduct(product)
    run.launch({ kernel: products, bindings: { ...read, [result]: y }, ...tiles, flops })
    return
  }
  const bindings = { ...read, y }
  const turns = { TRANSPOSE_A: a.transposed ? 1 : 0, TRANSPOSE_B: b.transposed ? 1 : 0 }
  const params = { m, n, k, ...axes }
  if (form === 'matrices') {
    const tile = convAdapter(run.device, y.dtype === 'float16').matrices?.product(m)
    if (!tile) {
      throw new FoveaError(
        `matmul: the form 'matrices' wants a device opened with subgroupMatrices on an adapter that has them for ` +
          `${y.dtype}, which ${run.device.adapter.name} has not; leave the form out`,
      )
    }
    run.launch({
      kernel: convKernels.get(tile.file)!,
      entry: tile.entry,
      bindings,
      params,
      overrides: { ...tile.overrides, ...turns },
      workgroups: [Math.ceil(n / tile.columns), Math.ceil(m / tile.rows), elements(batch)],
      flops,
    })
    return
  }
  const wide = (size: number) => (size % 4 === 0 ? 1 : 0)
  run.launch({
    kernel: products,
    entry: form,
    bindings,
    overrides: {
      ...turns,
      WIDE_A: wide(a.transposed ? m : k),
      WIDE_B: wide(b.transposed ? k : n),
      EVEN_K: wide(k),
    },
    params,
    // An invocation computes 8 columns of 4 rows, a workgroup has 8×8.
    workgroups: [Math.ceil(n / 64), Math.ceil(m / 32), elements(batch)],
    flops,
  })
}

const batchOf = (t: Tensor): Shape => t.shape.slice(0, -2)

/** A batch of a against one matrix b is one product of (batch · m) rows. */
const folds = (a: Tensor, b: Tensor): boolean => elements(batchOf(b)) === 1 && elements(batchOf(a)) > 1

const plain = (tensor: Tensor, batch: Shape): Matrix => ({ tensor, batch, transposed: false })
const turned = (tensor: Tensor, batch: Shape): Matrix => ({ tensor, batch, transposed: true })

const apply = defineUnaryResult<{ form: MatmulForm | undefined }>({
  name: 'matmul',
  half: { inputs: 'all', lower: true },
  forward(run, [a, b], attrs) {
    requireFloat('matmul', { a: a!, b: b! })
    const shape = checkMatmul(a!.shape, b!.shape)
    const [m, k, n] = [a!.shape.at(-2)!, a!.shape.at(-1)!, b!.shape.at(-1)!]
    const { form } = attrs
    if (!folds(a!, b!))
      return multiply(run, { a: plain(a!, batchOf(a!)), b: plain(b!, batchOf(b!)), m, n, k }, form)
    const rows = elements(batchOf(a!)) * m
    return run.view(multiply(run, { a: plain(a!, []), b: plain(b!, []), m: rows, n, k }, form), shape)
  },
  backward(run, { inputs: [a, b], outputs: [y], grads: [dy], needs: [na, nb], attrs }) {
    const [m, k, n] = [a!.shape.at(-2)!, a!.shape.at(-1)!, b!.shape.at(-1)!]
    const { form } = attrs
    if (folds(a!, b!)) {
      const rows = elements(batchOf(a!)) * m
      const da = na
        ? multiply(run, { a: plain(dy!, []), b: turned(b!, []), m: rows, n: k, k: n }, form)
        : undefined
      const db = nb
        ? multiply(run, { a: turned(a!, []), b: plain(dy!, []), m: k, n, k: rows }, form)
        : undefined
      return [da && run.view(da, [...batchOf(y!), m, k]), db && run.view(db, b!.shape)]
    }
    const batch = batchOf(y!)
    return [
      na
        ? multiply(run, { a: plain(dy!, batch), b: turned(b!, batchOf(b!)), m, n: k, k: n }, form)
        : undefined,
      nb
        ? multiply(run, { a: turned(a!, batchOf(a!)), b: plain(dy!, batch), m: k, n, k: m }, form)
        : undefined,
    ]
  },
})

/**
 * Matrix product over the last two axes: (…, m, k) · (…, k, n) gives (…, m, n); leading axes broadcast.
 * da = dy·bᵀ, db = aᵀ·dy, without transposing anything in memory. `form` overrides the tuner's choice of kernel; where
 * nothing was measured that is 'lanes' on CPU drivers with subgroups of eight, 'registers' on others, 'tiles' on GPUs.
 * In float16 (inside `autocast`, too) 'tiles' multiplies halves and sums runs of eight products in them, the others
 * compute in float32.
 */
export const matmul = (a: Tensor, b: Tensor, { form }: { form?: MatmulForm } = {}): Tensor =>
  apply([a, b], { form })
