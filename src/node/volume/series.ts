import { type Affine, orientVolume, type Volume } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'
import type { DicomImage } from './dicom.ts'

type Vector = readonly number[]
const dot = (a: Vector, b: Vector): number => a[0]! * b[0]! + a[1]! * b[1]! + a[2]! * b[2]!
const cross = (a: Vector, b: Vector): number[] => [
  a[1]! * b[2]! - a[2]! * b[1]!,
  a[2]! * b[0]! - a[0]! * b[2]!,
  a[0]! * b[1]! - a[1]! * b[0]!,
]

/** A frame with its place along the normal of the slices. */
interface Slice {
  readonly values: Float32Array
  readonly position: Vector | undefined
  readonly along: number
  readonly file: string
}

/** Gaps between slices may differ by this share of their median, as tables that move by motor do. */
const UNEVEN = 0.02

/**
 * Builds the volume of one series: slices sorted along their normal by ImagePositionPatient, or where files give
 * none, by InstanceNumber. The distance between slices is measured from positions, else SpacingBetweenSlices, else
 * SliceThickness, else 1 mm.
 *
 * @param images the files of the series; several frames a file are slices, too
 * @param name for messages
 * @throws DataError for mixed sizes, orientations or pixel spacings, colour, two slices at one place, or uneven
 *   gaps (a missing slice), naming the files
 */
export function assembleSeries(images: readonly DicomImage[], name: string): Volume {
  const [first] = images
  if (!first) throw new DataError(`${name}: a series of no files`)
  for (const image of images) refuseMixed(first, image, name)
  const o = first.orientation ?? [1, 0, 0, 0, 1, 0]
  const across = o.slice(0, 3)
  const down = o.slice(3, 6)
  const normal = cross(across, down)
  const slices = images.flatMap((image) =>
    image.frames.map((values, f): Slice => {
      const position = image.positions[f]
      return {
        values,
        position,
        along: position ? dot(position, normal) : (image.instance ?? 0) + f / 65536,
        file: image.frames.length > 1 ? `${image.name} frame ${f + 1}` : image.name,
      }
    }),
  )
  const placed = slices.every((s) => s.position)
  slices.sort((a, b) => a.along - b.along || (a.file < b.file ? -1 : 1))
  const gap = placed && slices.length > 1 ? evenGap(slices, name) : (first.sliceSpacing ?? 1) || 1
  const [dy, dx] = first.pixelSpacing ?? [1, 1]
  const origin = placed ? slices[0]!.position! : [0, 0, 0]
  const end = slices.at(-1)!
  const step =
    placed && slices.length > 1
      ? [0, 1, 2].map((i) => (end.position![i]! - origin[i]!) / (slices.length - 1))
      : normal.map((n) => n * gap)
  // DICOM's patient axes are left, posterior, superior; RAS+ turns the first two.
  const sign = [-1, -1, 1]
  const affine: Affine = [
    ...[0, 1, 2].map((r) => [across[r]! * dx, down[r]! * dy, step[r]!, origin[r]!].map((v) => v * sign[r]!)),
    [0, 0, 0, 1],
  ]
  const plane = first.rows * first.columns
  const values = new Float32Array(plane * slices.length)
  slices.forEach((s, z) => {
    values.set(s.values, z * plane)
  })
  return orientVolume(values, [first.columns, first.rows, slices.length], affine, name)
}

function refuseMixed(first: DicomImage, image: DicomImage, name: string): void {
  if (image.channels !== 1)
    throw new DataError(
      `${image.name}: colour; a volume is made of grey slices. Read it as an image, or leave it out`,
    )
  const differ = (what: string, a: string, b: string): never => {
    throw new DataError(
      `${name}: mixed ${what} in one series: ${first.name} has ${a}, ${image.name} has ${b}; ` +
        'a volume needs one grid: take the odd files out (localisers, resampled copies)',
    )
  }
  if (image.rows !== first.rows || image.columns !== first.columns)
    differ('sizes', `${first.columns}×${first.rows}`, `${image.columns}×${image.rows} (width×height)`)
  const far = (a: Vector | undefined, b: Vector | undefined, by: number) =>
    (a === undefined) !== (b === undefined) || (a ?? []).some((v, i) => Math.abs(v - b![i]!) > by)
  if (far(first.orientation, image.orientation, 1e-3))
    differ('orientations', String(first.orientation), String(image.orientation))
  if (far(first.pixelSpacing, image.pixelSpacing, 1e-3))
    differ('pixel spacings', `${first.pixelSpacing} mm`, `${image.pixelSpacing} mm`)
}

/** The distance between neighbours, if they all keep it. */
function evenGap(slices: readonly Slice[], name: string): number {
  const gaps = slices.slice(1).map((s, i) => s.along - slices[i]!.along)
  const median = [...gaps].sort((a, b) => a - b)[gaps.length >> 1]!
  gaps.forEach((gap, i) => {
    const [a, b] = [slices[i]!, slices[i + 1]!]
    if (gap < 1e-3) {
      throw new DataError(
        `${name}: ${a.file} and ${b.file} lie at the same place; the folder holds slices twice or several phases: keep one`,
      )
    }
    if (Math.abs(gap - median) > UNEVEN * median) {
      throw new DataError(
        `${name}: ${a.file} and ${b.file} lie ${gap.toFixed(2)} mm apart, the others ${median.toFixed(2)} mm; ` +
          'a slice is missing or doubled: complete the series',
      )
    }
  })
  return median
}
