/** One invocation a pixel of four channels: any shape, and the reference for the others. */
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
