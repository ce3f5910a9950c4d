/** The names of the images in data/lesion; scripts/page.mjs fills them in. */
declare const LESION_IDS: readonly string[]

export interface Sample {
  /** (3, size, size), 0 to 1. */
  readonly image: Float32Array
  /** (1, size, size), 0 or 1. */
  readonly mask: Float32Array
}

/** The pixels of an image file, RGBA, in the size wanted. */
async function pixels(url: string, size: number): Promise<Uint8ClampedArray> {
  const response = await fetch(url)
  if (!response.ok) throw new Error(`${url}: the server says ${response.status}; run npm run page`)
  const options = { resizeWidth: size, resizeHeight: size, resizeQuality: 'high' } as const
  const bitmap = await createImageBitmap(await response.blob(), options)
  const context = new OffscreenCanvas(size, size).getContext('2d')!
  context.drawImage(bitmap, 0, 0)
  bitmap.close()
  return context.getImageData(0, 0, size, size).data
}

async function load(id: string, size: number): Promise<Sample> {
  const [rgba, grey] = await Promise.all([
    pixels(`/data/lesion/${id}.jpg`, size),
    pixels(`/data/lesion/${id}_mask.png`, size),
  ])
  const area = size * size
  return {
    image: Float32Array.from(
      { length: 3 * area },
      (_, i) => rgba[4 * (i % area) + Math.floor(i / area)]! / 255,
    ),
    mask: Float32Array.from({ length: area }, (_, i) => (grey[4 * i]! > 127 ? 1 : 0)),
  }
}

/** 128 images to learn from and six to look at. */
export async function loadSamples(size: number): Promise<{ train: Sample[]; held: Sample[] }> {
  const all = await Promise.all(LESION_IDS.slice(0, 134).map((id) => load(id, size)))
  return { train: all.slice(6), held: all.slice(0, 6) }
}
