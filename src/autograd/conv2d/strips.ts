/** What the kernels whose lanes are strips of four columns share. */
import {
  biasBinding,
  type ConvBuffer,
  type ConvEpilogue,
  type ConvVariant,
  flag,
  placeParams,
  sourceParams,
  spread,
} from './variant.ts'

/** Lanes that `tiles` fill, a subgroup of eight on the same channels: whether few are left over. */
export const fillsLanes = (tiles: number): boolean => 8 * Math.ceil(tiles / 8) <= 1.5 * tiles

/** Subgroups for so many tiles of each of so many channels or blocks of them. */
export const subgroups = (channels: number, tiles: number): number =>
  channels * (fillsLanes(tiles) ? Math.ceil(tiles / 8) : tiles / 8)

/**
 * y from x, or with `turn` dx from dy, by `kernels/<file>.wgsl`, whose entry point `…_wide` stores whole vec4s where all rows
 * hold them.
 */
export function strips(
  name: string,
  file: string,
  turn: boolean,
  epilogue: ConvEpilogue,
  {
    params,
    overrides,
    count,
  }: { params: Record<string, number>; overrides: Record<string, number>; count: number },
): ConvVariant {
  const [from, to]: readonly ConvBuffer[] = turn ? ['dy', 'dx'] : ['x', 'y']
  const place = placeParams(epilogue)
  const ends = { relu: flag(epilogue.relu), accumulate: flag(epilogue.accumulate) }
  const wide = [params.outW!, place.offset, place.gap].every((v) => v % 4 === 0)
  return {
    name,
    scratch: {},
    dispatches: [
      {
        file,
        entry: wide ? `${file}_wide` : file,
        bindings: {
          ...{ x: from!, x4: from!, weight: 'weight', bias: biasBinding(epilogue) },
          [wide ? 'y4' : 'y']: to!,
        },
        params: { ...params, ...ends, ...place, ...sourceParams(epilogue) },
        overrides: { ...overrides, TURN: flag(turn), BIAS: flag(epilogue.bias) },
        workgroups: spread(Math.ceil(count)),
      },
    ],
  }
}
