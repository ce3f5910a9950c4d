import { concat } from '../autograd/ops/concat.ts'
import { reshape } from '../autograd/ops/reshape.ts'
import { slice } from '../autograd/ops/slice.ts'
import type { Tensor } from '../autograd/tensor.ts'

/** Pixels of one forward pass over objects: the first level of a U-Net with 32 features is then 64 MB at most. */
const PASS = 2 ** 18

/** Objects of `height × width` pixels in one forward pass, unless a number is given. */
export const objectsAPass = (height: number, width: number): number =>
  Math.max(1, Math.floor(PASS / (height * width)))

/** Spans [from, to) that divide 0…count into as few parts of at most `most` as can be, all about as large. */
export function evenSpans(count: number, most: number): [from: number, to: number][] {
  const parts = Math.ceil(count / most)
  const at = (k: number) => Math.round((k * count) / parts)
  return Array.from({ length: parts }, (_, k) => [at(k), at(k + 1)])
}

/** The first `counts[i]` rows of each image's table (N, rows, values), one under the other; undefined for none. */
export function firstRows(table: Tensor, counts: readonly number[]): Tensor | undefined {
  const values = table.shape[2]!
  const rows = counts.flatMap((count, i) =>
    count > 0
      ? [
          reshape(slice(table, { starts: [i, 0, 0], ends: [i + 1, count, values] }), {
            shape: [count, values],
          }),
        ]
      : [],
  )
  return rows.length > 1 ? concat(rows, { axis: 0 }) : rows[0]
}

/** The image of each of those rows. */
export const ownersOf = (counts: readonly number[]): Int32Array =>
  Int32Array.from(counts.flatMap((count, i) => Array.from({ length: count }, () => i)))

/** Tensors one under the other; one alone is not copied. */
export const joined = (parts: readonly Tensor[]): Tensor =>
  parts.length > 1 ? concat(parts, { axis: 0 }) : parts[0]!
