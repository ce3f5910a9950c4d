import type { Prng } from '../autograd/random.ts'

/** (left, top, width, height) in pixels. */
export type Box = readonly [left: number, top: number, width: number, height: number]

const clamp = (v: number, low: number, high: number): number => Math.min(Math.max(v, low), high)

/** Moves a span inside [0, limit]; a longer one is clipped to it. */
function shiftInside(start: number, length: number, limit: number): [number, number] {
  const inside = Math.min(length, limit)
  return [clamp(start, 0, limit - inside), inside]
}

/**
 * The box of segment-then-segment (5.1): squared to its larger side about its centre, padded on every side,
 * shifted inside the image; a box larger than the image is clipped to it.
 */
export function squareBox(
  [left, top, width, height]: Box,
  { padding, height: h, width: w }: { padding: number; height: number; width: number },
): Box {
  const side = Math.max(width, height)
  const [x, y] = [left + (width - side) / 2 - padding, top + (height - side) / 2 - padding]
  const [l, bw] = shiftInside(Math.floor(x), side + 2 * padding, w)
  const [t, bh] = shiftInside(Math.floor(y), side + 2 * padding, h)
  return [l, t, bw, bh]
}

/** Moves each of left, top, width, height by a whole number up to ±`limit`; the box stays inside and keeps 5 pixels. */
export function jitterBox(
  [left, top, width, height]: Box,
  limit: number,
  { height: h, width: w }: { height: number; width: number },
  prng: Prng,
): Box {
  const move = () => Math.floor(prng.uniform() * (2 * limit + 1)) - limit
  const [dl, dt, dw, dh] = [move(), move(), move(), move()]
  const [l, bw] = shiftInside(left + dl, Math.max(5, width + dw), w)
  const [t, bh] = shiftInside(top + dt, Math.max(5, height + dh), h)
  return [l, t, bw, bh]
}

/** Boxes of the objects of a label image (H, W), 1…n; those under `minSize` pixels a side are left out. */
export function boxesOfLabels(labels: ArrayLike<number>, height: number, width: number, minSize = 5): Box[] {
  const spans = new Map<number, [number, number, number, number]>()
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const label = labels[y * width + x]!
      if (label <= 0) continue
      const s = spans.get(label)
      if (!s) spans.set(label, [x, y, x, y])
      else {
        s[0] = Math.min(s[0], x)
        s[2] = Math.max(s[2], x)
        s[3] = y
      }
    }
  }
  return [...spans.values()]
    .map(([x0, y0, x1, y1]): Box => [x0, y0, x1 - x0 + 1, y1 - y0 + 1])
    .filter(([, , w, h]) => w >= minSize && h >= minSize)
}
