import { Storage } from '../../gpu/storage.ts'
import type { ConvEpilogue, ConvShape, ConvVariant } from '../conv2d/variant.ts'
import type { Run } from '../op.ts'
import type { Cotangents } from '../tape.ts'
import { Tensor } from '../tensor.ts'
import { type ConvBuffers, runConv, runTogether } from './conv2d_run.ts'

type At = Pick<Cotangents<unknown>, 'inputs' | 'needs' | 'sink' | 'partial'>

/**
 * Where the gradients of weight and bias go, inputs 1 and 2 of an op: added to a leaf's, written there where a step has just
 * set it to zero, or to a tensor of their own.
 */
function weightPlaces(run: Run, biasOf: 'x' | 'dy', { inputs, needs, sink }: At) {
  const place = (i: number) => (needs[i] ? (sink(i) ?? run.empty(inputs[i]!.shape)) : undefined)
  const [dw, db] = [place(1), place(2)]
  const adds = (d: Tensor | Storage | undefined) => d instanceof Storage && !run.device.spareClear(d)
  const [accumulate, addBias] = [adds(dw), adds(db)]
  const sums = dw && db && accumulate === addBias ? biasOf : undefined
  const epilogue: ConvEpilogue = { accumulate, sums }
  const buffers: ConvBuffers = { ...(dw && { dw }), ...(sums && { db: db! }) }
  const returned = [dw, db].map((g) => (g instanceof Tensor ? g : undefined))
  return { dw, db, addBias, epilogue, buffers, returned }
}

const writesBias = (variant: ConvVariant | undefined): boolean =>
  variant?.dispatches.some(({ bindings }) => Object.values(bindings).includes('db')) ?? false

/**
 * Gradients of weight and bias, those that are wanted. Most kernels for the weight sum up `biasOf`, which they read
 * anyhow, beside it; else that is a launch of its own.
 */
export function runWeightGrads(
  run: Run,
  shape: ConvShape,
  buffers: { readonly x: Tensor; readonly dy: Tensor },
  biasOf: 'x' | 'dy',
  at: At,
  /** Where it runs both gradients it says by which variant. */
  together: (epilogue: ConvEpilogue, buffers: ConvBuffers) => ConvVariant | undefined = () => undefined,
): (Tensor | undefined)[] {
  const { dw, db, addBias, epilogue, buffers: places, returned } = weightPlaces(run, biasOf, at)
  const all = { ...buffers, ...places }
  const variant = dw && (together(epilogue, all) ?? runConv(run, 'weightGrad', shape, epilogue, all))
  if (db && !writesBias(variant)) {
    const { cin, h, w } = shape
    const summed = biasOf === 'x' ? { ...shape, cout: cin, outH: h, outW: w } : shape
    runConv(run, 'biasGrad', summed, { accumulate: addBias }, { dy: buffers[biasOf], db })
  }
  return returned
}

/** Gradients of x, weight and bias, the inputs of an op, where they are wanted: added where they lie, or returned. */
export function runGradients(run: Run, shape: ConvShape, dy: Tensor, at: At): (Tensor | undefined)[] {
  const [x, weight] = at.inputs as readonly [Tensor, Tensor]
  if (!at.needs[0]) return [undefined, ...runWeightGrads(run, shape, { x, dy }, 'dy', at)]
  const known = at.partial(0)
  const dx = known ?? run.empty(x.shape, x.dtype)
  const inputGrad = { accumulate: known !== undefined }
  let done: ConvVariant | undefined
  const others = runWeightGrads(run, shape, { x, dy }, 'dy', at, (weightGrad, buffers) => {
    done = runTogether(run, shape, { inputGrad, weightGrad }, { ...buffers, weight, dx })
    return done
  })
  if (!done) runConv(run, 'inputGrad', shape, inputGrad, { dy, weight, dx })
  return [known ? undefined : dx, ...others]
}
