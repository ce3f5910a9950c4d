import { DataError } from '../gpu/errors.ts'
import { METHODS, type MethodName, methodOf } from './methods/index.ts'
import { kindOf } from './network-kinds.ts'
import type { Settings } from './settings.ts'

/** As the command line gives it. */
export interface WindowArguments {
  /** Side of the tiles, px. */
  readonly slidingWindow?: number
  readonly overlap?: number
}

/**
 * Settings of a run with images in tiles, where they are asked for.
 *
 * @throws DataError for a method that transforms whole images, a side that its network cannot take, an overlap without tiles
 */
export function withWindow(
  settings: Settings,
  method: MethodName,
  { slidingWindow: size, overlap }: WindowArguments,
): Settings {
  if (size === undefined) {
    if (overlap === undefined) return settings
    throw new DataError(`--overlap ${overlap}: it is that of tiles; pass --sliding-window, too`)
  }
  if (!methodOf(method).tiled) {
    const tiled = Object.entries(METHODS).flatMap(([name, m]) => ('tiled' in m ? [name] : []))
    throw new DataError(
      `--sliding-window: method ${method} finds its objects in the whole image and transforms that, of which a tile is no ` +
        `part; it is for runs of --method ${tiled.join(' and ')}`,
    )
  }
  const { step, title } = kindOf(settings.network)
  if (size % step !== 0)
    throw new DataError(
      `--sliding-window ${size}: ${title} wants a multiple of ${step}; pass ${Math.ceil(size / step) * step}`,
    )
  if (overlap !== undefined && size * (1 - overlap) < 1)
    throw new DataError(
      `--overlap ${overlap}: tiles of ${size} px would lie less than 1 px apart; pass ${1 - 8 / size} at most`,
    )
  return { ...settings, slidingWindow: { size, overlap: overlap ?? 0.5 } }
}

/** Refuses an image that is smaller than a tile, by its name. */
export function checkWindow(
  name: string,
  { height, width }: { readonly height: number; readonly width: number },
  { slidingWindow, network }: Settings,
): void {
  const side = slidingWindow?.size ?? 0
  if (side <= height && side <= width) return
  const { step } = kindOf(network)
  const fits = Math.floor(Math.min(height, width) / step) * step
  throw new DataError(
    `${name} is ${width}×${height} px (width×height), smaller than the tiles of --sliding-window ${side}; ` +
      `${fits > 0 ? `pass ${fits} at most, or leave` : 'leave'} it out`,
  )
}
