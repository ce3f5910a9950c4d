import type { ConvShape } from '../../src/autograd/conv2d/variant.ts'
import { conv2dShape } from '../../src/autograd/ops/conv2d.ts'

/** n, cin, h, w, cout, window, stride, padding, dilation, groups. */
export type ConvRow = readonly [
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
  number,
]

/** For each family of kernels shapes that its tiles do not divide, and some that they do. */
export const CONV_SHAPES: readonly ConvRow[] = [
  // Depthwise and small groups; dilation as in DeepLab's atrous convolutions; a channel multiplier.
  [1, 5, 11, 13, 5, 3, 1, 1, 1, 5],
  [2, 8, 12, 16, 8, 3, 1, 1, 1, 8],
  [1, 4, 17, 19, 8, 3, 1, 3, 3, 4],
  [2, 6, 9, 12, 10, 3, 1, 2, 2, 2],
  [1, 3, 13, 40, 3, 3, 1, 12, 12, 3],
  [2, 8, 5, 4, 8, 3, 1, 18, 18, 8],
  [1, 4, 9, 3, 4, 3, 1, 4, 5, 4],
  [2, 5, 4, 4, 5, 3, 1, 2, 2, 5],
  [2, 6, 9, 10, 4, 3, 1, 2, 1, 2],
  [2, 12, 8, 8, 8, 3, 1, 0, 1, 4],
  [1, 5, 11, 13, 5, 3, 2, 1, 1, 5],
  [1, 4, 14, 15, 8, 3, 3, 2, 2, 2],
  [2, 6, 12, 16, 4, 5, 1, 2, 1, 2],
  [1, 3, 19, 17, 3, 7, 1, 3, 1, 3],
  // What the gradient of the weight holds of a row: in vec4s or not, even and odd columns, columns that it cannot hold.
  [1, 3, 9, 20, 3, 7, 1, 3, 1, 3],
  [2, 4, 11, 16, 8, 7, 1, 1, 1, 4],
  [1, 4, 13, 16, 4, 7, 2, 3, 1, 4],
  [2, 3, 9, 12, 3, 5, 2, 2, 1, 3],
  [1, 3, 15, 14, 3, 6, 2, 1, 1, 3],
  [1, 4, 9, 24, 4, 3, 2, 1, 1, 4],
  [2, 3, 14, 17, 3, 5, 1, 4, 2, 3],
  [1, 3, 17, 16, 3, 7, 3, 3, 1, 3],
  [1, 3, 20, 21, 3, 9, 1, 4, 1, 3],
  // Groups whose channels go in blocks of four or three, the last not full; strips that end within a subgroup or with it, tiles
  // that leave lanes over or are too few to share weights.
  [2, 10, 12, 24, 16, 3, 1, 1, 1, 2],
  [3, 18, 5, 12, 14, 3, 1, 1, 1, 2],
  [1, 8, 3, 20, 8, 3, 1, 1, 1, 2],
  [1, 12, 17, 33, 12, 3, 1, 2, 1, 3],
  // Depthwise, walking down strips: columns that begin before, at and behind a vec4's, several bands and residues, strips that
  // end within a subgroup, wider than one; a window of even size; multipliers.
  [1, 3, 37, 24, 6, 5, 1, 3, 1, 3],
  [3, 5, 18, 16, 5, 3, 1, 2, 2, 5],
  [2, 2, 6, 12, 2, 3, 1, 4, 4, 2],
  [1, 2, 19, 36, 2, 5, 1, 4, 2, 2],
  [2, 3, 10, 8, 3, 2, 1, 1, 1, 3],
  [1, 1, 23, 40, 3, 7, 1, 3, 1, 1],
  // No padding: rows of x that reach further than the strips do.
  [1, 2, 9, 12, 2, 5, 1, 0, 1, 2],
  [2, 2, 9, 20, 2, 5, 2, 0, 1, 2],
  // The same with a stride: two bands of strips that end within a subgroup, multipliers, even windows, paddings as wide as the
  // window, rows and columns before the first tap.
  [1, 3, 37, 40, 6, 5, 2, 2, 1, 3],
  [2, 5, 36, 16, 5, 3, 2, 1, 1, 5],
  [3, 4, 10, 24, 4, 2, 2, 0, 1, 4],
  [1, 3, 14, 20, 3, 7, 2, 6, 1, 3],
  [2, 3, 9, 23, 3, 4, 2, 3, 1, 3],
  [2, 8, 8, 8, 8, 3, 2, 0, 1, 8],
  // Groups that walk down strips: blocks of channels, the last not full; groups as products, with pixels that fill no vec4 and
  // with patches.
  [2, 10, 17, 24, 16, 3, 2, 1, 1, 2],
  [3, 6, 9, 12, 10, 5, 2, 2, 1, 2],
  [2, 8, 10, 20, 6, 5, 1, 0, 1, 2],
  [2, 24, 5, 5, 26, 1, 1, 0, 1, 2],
  [2, 26, 6, 8, 72, 1, 1, 0, 1, 2],
  [3, 36, 6, 8, 39, 3, 2, 1, 1, 3],
  // First and last layers.
  [2, 1, 16, 20, 16, 3, 1, 1, 1, 1],
  [2, 16, 16, 12, 1, 3, 1, 1, 1, 1],
  [1, 2, 9, 9, 5, 3, 1, 2, 2, 1],
  [1, 3, 19, 17, 6, 7, 2, 3, 1, 1],
  // Winograd.
  [2, 17, 9, 13, 19, 3, 1, 1, 1, 1],
  [1, 40, 8, 12, 66, 3, 1, 2, 1, 1],
  [3, 16, 6, 5, 20, 3, 1, 0, 1, 1],
  // The same by lanes: eight tiles that end with a row, within one, in a row of sixteen; a last row of tiles that is not full, more
  // channels in than out, invocations past the end.
  [2, 16, 10, 8, 18, 3, 1, 1, 1, 1],
  [1, 20, 7, 20, 16, 3, 1, 1, 1, 1],
  [1, 18, 5, 64, 16, 3, 1, 1, 1, 1],
  // Dilated, by lanes: four images of each, whose tiles end within eight lanes or with them; nine, with padding.
  [2, 16, 10, 24, 18, 3, 1, 2, 2, 1],
  [1, 20, 12, 16, 17, 3, 1, 2, 2, 1],
  [1, 16, 9, 12, 20, 3, 1, 3, 3, 1],
  // Four images of 4×4 a tile, the last tile not full; pairs of flat images, eight columns a tile.
  [5, 9, 4, 4, 11, 3, 1, 1, 1, 1],
  [3, 6, 3, 13, 9, 3, 1, 1, 1, 1],
  // Half tiles alone, of one image and of two; pairs of flat images in whole vec4s; no padding beside whole vec4s, one column of half tiles.
  [1, 5, 9, 4, 9, 3, 1, 1, 1, 1],
  [1, 5, 4, 4, 9, 3, 1, 1, 1, 1],
  [3, 5, 3, 12, 9, 3, 1, 1, 1, 1],
  [2, 5, 6, 10, 9, 3, 1, 0, 1, 1],
  [5, 5, 3, 3, 9, 3, 1, 1, 1, 1],
  [2, 5, 3, 3, 9, 3, 1, 1, 1, 1],
  [2, 5, 4, 2, 9, 3, 1, 2, 1, 1],
  // Taller than a column of the gradient of the weight: three bands, the last not full; bands and no padding.
  [1, 3, 71, 6, 5, 3, 1, 1, 1, 1],
  [2, 9, 68, 5, 4, 3, 1, 0, 1, 1],
  // Transposed 2×2 as a product.
  [2, 5, 6, 8, 13, 2, 2, 0, 1, 1],
  [1, 9, 8, 24, 16, 2, 2, 0, 1, 1],
  [3, 20, 8, 8, 40, 2, 2, 0, 1, 1],
  // Windows side by side that leave a last column without one.
  [2, 5, 10, 9, 7, 2, 2, 0, 1, 1],
  // Patches: images whose pixels fill no vec4f, an even window, a stride that leaves pixels without a tap.
  [3, 40, 5, 7, 33, 3, 1, 3, 3, 1],
  [2, 17, 9, 6, 35, 4, 3, 1, 1, 1],
  [2, 33, 5, 5, 20, 1, 2, 0, 1, 1],
  // Patches that are summed a row at a time: odd and even columns, strips that end within a subgroup; windows apart.
  [2, 3, 18, 40, 5, 7, 2, 3, 1, 1],
  [1, 3, 9, 20, 4, 5, 1, 4, 2, 1],
  // Rows of four that are held for all taps: moved by up to three columns, and with padding that is no multiple.
  [3, 18, 4, 4, 20, 3, 1, 2, 2, 1],
  [2, 3, 5, 4, 6, 3, 1, 3, 3, 1],
  [1, 4, 6, 4, 7, 5, 1, 2, 1, 1],
  // Few channels to few, in planes of whole vec4s and not.
  [2, 6, 7, 9, 3, 1, 1, 0, 1, 1],
  [1, 7, 6, 10, 1, 1, 1, 0, 1, 1],
  // Matrix products.
  [2, 13, 7, 9, 14, 1, 1, 0, 1, 1],
  [3, 20, 8, 8, 17, 1, 1, 0, 1, 1],
  [1, 64, 6, 6, 40, 1, 1, 0, 1, 1],
  // Three taps a fetch, in every tile: images that end within one, groups.
  [2, 36, 6, 8, 70, 3, 1, 1, 1, 1],
  [1, 24, 5, 20, 20, 3, 1, 1, 1, 2],
  // Few pixels of many channels: the sum over k is split. Two groups; a stride whose phases have four taps to one, and one
  // that leaves three phases of four without any.
  [1, 130, 4, 5, 70, 3, 1, 1, 1, 1],
  [2, 300, 3, 3, 20, 1, 1, 0, 1, 1],
  [2, 96, 5, 4, 70, 3, 1, 1, 1, 2],
  [1, 60, 7, 8, 130, 3, 2, 1, 1, 1],
  [1, 40, 8, 8, 130, 3, 2, 2, 2, 1],
]

/** A row's convolution. */
export const convShapeOf = ([
  n,
  cin,
  h,
  w,
  cout,
  window,
  stride,
  padding,
  dilation,
  groups,
]: ConvRow): ConvShape =>
  conv2dShape([n, cin, h, w], [cout, cin / groups, window, window], { stride, padding, dilation, groups })
