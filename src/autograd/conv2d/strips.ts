/** What the kernels whose lanes are strips of four columns share. */
import {
  biasBinding,
  type ConvBuffer,
  type ConvEpilogue,
  type ConvShape,
  type ConvVariant,
  flag,
  placeParams,
  sourceParams,
  spread,
} from './variant.ts'

/** The kernel that stores y or dx: `<name>_wide`, which stores whole vec4s, where all rows hold them; and what it binds. */
export function storing(name: string, row: number, to: ConvBuffer, epilogue: ConvEpilogue) {
  const wide = [row, ...Object.values(placeParams(epilogue))].every((v) => v % 4 === 0)
  const binding: Record<string, ConvBuffer> = { [wide ? 'y4' : 'y']: to }
  return { kernel: wide ? `${name}_wide` : name, binding }
}

/** Sizes of what is read and written: of x and y, or with `turn` of dy and dx. */
export const sourceAndResult = ({ cin, h, w, cout, outH, outW }: ConvShape, turn: boolean) =>
  turn ? { cin: cout, h: outH, w: outW, cout: cin, outH: h, outW: w } : { cin, h, w, cout, outH, outW }

/** Whether few lanes are left over where each subgroup of eight takes tiles of the same channels. */
export const fillsLanes = (tiles: number): boolean => 8 * Math.ceil(tiles / 8) <= 1.5 * tiles

/**
 * y from x, or with `turn` dx from dy, by `kernels/<file>.wgsl`: so many tiles of each of so many channels, or blocks of them.
 */
export function strips(
  name: string,
  file: string,
  turn: boolean,
  epilogue: ConvEpilogue,
  work: Record<'channels' | 'tiles', number> & Record<'params' | 'overrides', Record<string, number>>,
): ConvVariant {
  const { channels, tiles, params, overrides } = work
  const [from, to]: readonly [ConvBuffer, ConvBuffer] = turn ? ['dy', 'dx'] : ['x', 'y']
  const shared = fillsLanes(tiles)
  const ends = { relu: flag(epilogue.relu), accumulate: flag(epilogue.accumulate) }
  const { kernel, binding } = storing(file, params.outW!, to, epilogue)
  return {
    name,
    scratch: {},
    dispatches: [
      {
        file,
        entry: kernel,
        bindings: { x: from, x4: from, weight: 'weight', bias: biasBinding(epilogue), ...binding },
        params: { ...params, ...ends, ...placeParams(epilogue), ...sourceParams(epilogue) },
        overrides: { SHARED: flag(shared), TURN: flag(turn), BIAS: flag(epilogue.bias), ...overrides },
        workgroups: spread(Math.ceil(channels * (shared ? Math.ceil(tiles / 8) : tiles / 8))),
      },
    ],
  }
}
