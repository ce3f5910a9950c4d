import { createHash } from 'node:crypto'
import { open, readFile, stat } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { resizeImage, resizeLabels } from '../../data/resize.ts'
import { assertSameGrid } from '../../data/volume.ts'
import { DataError } from '../../gpu/errors.ts'
import { formatSafetensors, parseSafetensors } from '../../nn/safetensors.ts'
import { writeFileAtomic } from '../atomic.ts'
import { cacheFolder } from '../cache.ts'
import { readVolume } from '../volume/read.ts'
import type { Scan } from './known.ts'

/** The slices of a scan in which the object is seen. */
export interface ScanSlices {
  /** Places along z in the whole scan, 0 at its lowest slice. */
  readonly indices: readonly number[]
  readonly depth: number
  readonly height: number
  readonly width: number
  /** Size of the scan's own slices, px. */
  readonly originalSize: readonly [number, number]
  /** Distance between the pixel centres of these slices, mm. */
  readonly spacing: readonly [y: number, x: number]
  /** HU (height, width), and 0 or 1, of the k-th of them. */
  slice(k: number): Promise<{ image: Float32Array; mask: Float32Array }>
}

/** Raise it when the content of the files changes. */
const VERSION = 2

/**
 * Cuts a scan into the slices that hold the object, at the size that is wanted, once: they are kept in fovea's cache
 * folder under a name made of the files' paths, sizes and times, so that a changed scan is cut anew. Later runs read
 * only that file. Where it cannot be written the slices stay in memory.
 *
 * @throws DataError as `readVolume`; when the segmentation lies on another grid; when it is empty
 */
export async function cutScan(scan: Scan, size: readonly [number, number] | undefined): Promise<ScanSlices> {
  const path = join(cacheFolder(), 'slices', `${await keyOf(scan, size)}.safetensors`)
  const kept = await load(path)
  if (kept) return kept
  const image = await readVolume(scan.image)
  const mask = await readVolume(scan.mask)
  assertSameGrid(image, mask)
  const [depth, h, w] = image.shape
  const [height, width] = size ?? [h, w]
  const plane = h * w
  const indices = Array.from({ length: depth }, (_, z) => z).filter((z) =>
    mask.data.subarray(z * plane, (z + 1) * plane).some((v) => v > 0),
  )
  if (indices.length === 0)
    throw new DataError(`${scan.mask}: no voxel is over 0; the scan has no object to learn from`)
  const images = new Float32Array(indices.length * height * width)
  const masks = new Float32Array(images.length)
  for (const [k, z] of indices.entries()) {
    const values = image.data.subarray(z * plane, (z + 1) * plane)
    const truth = Float32Array.from(mask.data.subarray(z * plane, (z + 1) * plane), (v) => (v > 0 ? 1 : 0))
    images.set(resizeImage(values, [1, h, w], [height, width]), k * height * width)
    masks.set(resizeLabels(truth, [h, w], [height, width]), k * height * width)
  }
  const shape = [indices.length, height, width]
  const float32 = 'float32' as const
  const [, dy, dx] = image.spacing
  const [spacingY, spacingX] = [(dy * h) / height, (dx * w) / width].map(String) as [string, string]
  const written = await writeFileAtomic(
    path,
    formatSafetensors(
      new Map([
        ['image', { dtype: float32, shape, data: images }],
        ['mask', { dtype: float32, shape, data: masks }],
        ['index', { dtype: 'int32' as const, shape: [indices.length], data: Int32Array.from(indices) }],
      ]),
      { depth: String(depth), originalHeight: String(h), originalWidth: String(w), spacingY, spacingX },
    ),
  ).then(
    () => load(path),
    () => undefined,
  )
  // A full disk: the slices stay in memory.
  const part = (values: Float32Array, k: number) =>
    values.subarray(k * height * width, (k + 1) * height * width)
  return (
    written ?? {
      ...{ indices, depth, height, width, originalSize: [h, w], spacing: [+spacingY, +spacingX] },
      slice: async (k) => ({ image: part(images, k), mask: part(masks, k) }),
    }
  )
}

async function keyOf(scan: Scan, size: readonly [number, number] | undefined): Promise<string> {
  const files = await Promise.all([scan.image, scan.mask].map((f) => stat(f)))
  const about = files.map((f) => [f.size, Math.round(f.mtimeMs)])
  const text = JSON.stringify([VERSION, resolve(scan.image), resolve(scan.mask), about, size ?? null])
  return createHash('sha256').update(text).digest('hex').slice(0, 24)
}

async function load(path: string): Promise<ScanSlices | undefined> {
  // Absent, or written by a process that was killed: it is made again.
  const file = await readFile(path)
    .then((bytes) => parseSafetensors(bytes, path))
    .catch(() => undefined)
  const [image, index] = [file?.tensors.get('image'), file?.tensors.get('index')]
  if (!file || !image || !index) return undefined
  const [, height, width] = image.shape as [number, number, number]
  const number = (key: string) => Number(file.metadata[key])
  const plane = height * width
  return {
    indices: [...index.data],
    depth: number('depth'),
    height,
    width,
    originalSize: [number('originalHeight'), number('originalWidth')],
    spacing: [number('spacingY'), number('spacingX')],
    async slice(k) {
      const file = await open(path)
      try {
        // The two arrays lie one behind the other, after the header; see `cutScan`.
        const { buffer: length } = await file.read(Buffer.alloc(8), 0, 8, 0)
        const start = 8 + Number(length.readBigUInt64LE(0))
        const part = async (array: number) => {
          const values = new Float32Array(plane)
          const at = start + 4 * plane * (array * index.data.length + k)
          await file.read(new Uint8Array(values.buffer), 0, 4 * plane, at)
          return values
        }
        return { image: await part(0), mask: await part(1) }
      } finally {
        await file.close()
      }
    },
  }
}
