/** One invocation a pixel of four channels, or a weight: any shape, and the reference for the others. */
import { reduce, split } from './split.ts'
import {
  biasBinding,
  type ConvAdapter,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  epilogueParams,
  geometry,
  invocations,
  WORKGROUP,
} from './variant.ts'

export function directForward(shape: ConvShape, _: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const { n, cout, groups, outH, outW } = shape
  const blocks = groups * Math.ceil(cout / groups / 4)
  return {
    name: 'direct',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_direct',
        entry: 'conv2d_direct',
        bindings: { x: 'x', weight: 'weight', bias: biasBinding(epilogue), y: 'y' },
        params: { ...geometry(shape), ...epilogueParams(epilogue) },
        overrides: { WG: WORKGROUP },
        workgroups: invocations(n * blocks * outH * outW),
      },
    ],
  }
}

export function directInputGrad(shape: ConvShape, _: ConvAdapter, epilogue: ConvEpilogue): ConvVariant {
  const { n, cin, groups, h, w } = shape
  const blocks = groups * Math.ceil(cin / groups / 4)
  return {
    name: 'direct',
    scratch: {},
    dispatches: [
      {
        file: 'conv2d_input_grad_direct',
        entry: 'conv2d_input_grad_direct',
        bindings: { dy: 'dy', weight: 'weight', bias: biasBinding(epilogue), dx: 'dx' },
        params: { ...geometry(shape), ...epilogueParams(epilogue) },
        overrides: { WG: WORKGROUP },
        workgroups: invocations(n * blocks * h * w),
      },
    ],
  }
}

export function directWeightGrad(
  shape: ConvShape,
  adapter: ConvAdapter,
  epilogue: ConvEpilogue,
): ConvVariant {
  const weights = (shape.cout * shape.cin * shape.kh * shape.kw) / shape.groups
  const runs = split(shape.n * shape.outH, weights, adapter.cpu ? 8192 : 65536)
  return {
    name: 'direct',
    scratch: { partial: runs.splits * weights },
    dispatches: [
      {
        file: 'conv2d_weight_grad_direct',
        entry: 'conv2d_weight_grad_direct',
        bindings: { x: 'x', dy: 'dy', partial: 'scratch:partial' },
        params: { ...geometry(shape), ...runs },
        overrides: { WG: WORKGROUP },
        workgroups: invocations(runs.splits * weights),
      },
      reduce('scratch:partial', 'dw', weights, runs.splits, epilogue),
    ],
  }
}
