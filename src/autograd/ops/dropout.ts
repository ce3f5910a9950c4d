import source from '../../../kernels/dropout.wgsl'
import { ShapeError } from '../../gpu/errors.ts'
import { kernel } from '../../gpu/kernel.ts'
import { defineUnaryResult, type Run } from '../op.ts'
import { checkOptions } from '../options.ts'
import { type Draw, drawAt, generatorOf } from '../random.ts'
import { requireFloat } from '../shape.ts'
import type { Tensor } from '../tensor.ts'
import { reshape } from './reshape.ts'

const dropouts = kernel('dropout', source)

export interface DropoutOptions {
  /** Share of elements that are set to 0. Default 0.5. */
  readonly p?: number
  /** Default true. False: x as it is. */
  readonly training?: boolean
  /** Draws from this seed instead of the device's generator: the same mask at every call. */
  readonly seed?: number
}

interface Attrs {
  readonly p: number
  readonly seed: number | undefined
  /** Where the mask's numbers begin: set by each run of the forward pass, replays included. */
  readonly latest: { draw: Draw }
}

function launch(run: Run, x: Tensor, { p, latest }: Attrs): Tensor {
  if (p === 1) return run.zeros(x.shape, x.dtype)
  const y = run.empty(x.shape, x.dtype)
  const count = Math.ceil(x.size / 4)
  run.launch({
    kernel: dropouts,
    entry: 'dropout',
    bindings: { x, y },
    params: () => ({
      count,
      threshold: Math.min(2 ** 32 - 1, Math.round(p * 2 ** 32)),
      scale: 1 / (1 - p),
      ...latest.draw,
    }),
    threads: count,
  })
  return y
}

const apply = defineUnaryResult<Attrs>({
  name: 'dropout',
  half: { inputs: 'all' },
  forward(run, [x], attrs) {
    requireFloat('dropout', { x: x! })
    const { device } = run
    if (attrs.seed === undefined) {
      const blocks = Math.ceil(x!.size / 4)
      device.perform(() => {
        attrs.latest.draw = generatorOf(device).take(blocks)
      })
    }
    return launch(run, x!, attrs)
  },
  backward: (run, { grads: [dy], attrs }) => [launch(run, dy!, attrs)],
})

/**
 * Inverted dropout: each element is 0 with probability p, else x / (1 − p). The mask comes from the device's
 * seeded generator (`manualSeed`), anew at each call and at each replay of a compiled step.
 */
export function dropout(x: Tensor, options: DropoutOptions = {}): Tensor {
  checkOptions('dropout', options, [], ['p', 'training', 'seed'])
  const { p = 0.5, training = true, seed } = options
  if (!(p >= 0 && p <= 1)) throw new ShapeError('dropout', `p is ${p}; give a probability from 0 to 1`)
  if (!training || p === 0) return reshape(x, { shape: x.shape })
  return apply([x], { p, seed, latest: { draw: drawAt(seed ?? 0, 0) } })
}
