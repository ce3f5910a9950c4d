import { basename, dirname, join } from 'node:path'
import type { Entry } from '../layouts.ts'
import { listFolder, pairByFolder } from '../pairs.ts'
import { foldersNamed, type KnownDataset } from './known.ts'

const side = async (folder: string) => ({ folder, files: (await listFolder(folder)).files })

/** Pairs by name of an image folder and its mask folder; `ownSuffix` is taken off the names of masks. */
async function pairsOf(images: string, masks: string): Promise<Entry[]> {
  return pairByFolder(await side(images), await side(masks)).map((p) => ({ ...p, id: p.key, group: p.key }))
}

/** CVC-ClinicDB: `Original/N.tif` with `Ground Truth/N.tif`; the PNG edition alike. One of the two is taken. */
const cvcClinicDb: KnownDataset = {
  name: 'cvc-clinicdb',
  title: 'CVC-ClinicDB (polyps)',
  full: 612,
  counts: 'images',
  async find(folder) {
    const [images] = await foldersNamed(folder, /^original$/i, 2)
    if (!images) return undefined
    const [masks] = await foldersNamed(dirname(images), /^ground[ _-]?truth$/i, 0)
    return masks ? { entries: await pairsOf(images, masks) } : undefined
  },
}

/** ISIC 2017 and 2018, task 1: `…_Input/ISIC_N.jpg` (2017: `…_Data`) with `…_GroundTruth/ISIC_N_segmentation.png`. */
const isic: KnownDataset = {
  name: 'isic',
  title: 'ISIC 2018 task 1 (lesions)',
  full: 2694,
  counts: 'images',
  async find(folder) {
    const inputs = await foldersNamed(folder, /^ISIC-?20\d\d_(Task1(-2)?_\w+_Input|\w+_Data)$/i, 1)
    const entries: Entry[] = []
    const leftOut: string[] = []
    for (const input of inputs) {
      const part = /_(Training|Validation|Test(_v2)?)_/i.exec(basename(input))?.[1] ?? ''
      const truths = await foldersNamed(dirname(input), new RegExp(`_${part}_.*GroundTruth$`, 'i'), 0)
      const [truth] = truths.filter((t) => !/Task[23]|Part[23]/i.test(basename(t)))
      const images = await side(input)
      // 2017 lies its superpixels beside the images.
      images.files = images.files.filter((f) => !/superpixels/i.test(f))
      const [first] = images.files
      if (!truth && first)
        leftOut.push(
          `left out: ${images.files.length} images without a folder of ground truth beside theirs, first ${join(input, first)}`,
        )
      if (!truth) continue
      entries.push(...pairByFolder(images, await side(truth)).map((p) => ({ ...p, id: p.key, group: p.key })))
    }
    return entries.length > 0 ? { entries, leftOut } : undefined
  },
}

/** Kvasir-SEG: `images/ID.jpg` with `masks/ID.jpg` and, spelt so, `kavsir_bboxes.json`. */
const kvasirSeg: KnownDataset = {
  name: 'kvasir-seg',
  title: 'Kvasir-SEG (polyps)',
  full: 1000,
  counts: 'images',
  async find(folder) {
    const [inner] = await foldersNamed(folder, /^kvasir[-_ ]?seg$/i, 0)
    const root = inner ?? folder
    const { folders } = await listFolder(root)
    const named = /kvasir/i.test(basename(root)) || (await hasFile(root, /^ka[vs]{2}ir_bboxes\.json$/i))
    if (!named || !folders.includes('images') || !folders.includes('masks')) return undefined
    return { entries: await pairsOf(join(root, 'images'), join(root, 'masks')) }
  },
}

/** 2018 Data Science Bowl, stage 1: `ID/images/ID.png` with `ID/masks/*.png`, one mask a nucleus. */
const dataScienceBowl: KnownDataset = {
  name: 'dsb-2018',
  title: '2018 Data Science Bowl, stage 1 (cells)',
  full: 670,
  counts: 'images',
  async find(folder) {
    const [stage] = await foldersNamed(folder, /^stage1_train$/i, 1)
    const root = stage ?? folder
    const named = /^stage1_train$/i.test(basename(root))
    const { folders } = await listFolder(root)
    const entries: Entry[] = []
    for (const id of folders) {
      const inside = new Set((await listFolder(join(root, id))).folders)
      const filesOf = async (name: string) =>
        inside.has(name) ? (await listFolder(join(root, id, name))).files : []
      // Known by its name, the folder may lack some; another one is taken for it only if all look so.
      if (!inside.has('images') && !named) return undefined
      const [image, ...others] = await filesOf('images')
      // A plain data set of many images lies there.
      if (others.length > 0) return undefined
      const masks = await filesOf('masks')
      if (!image && masks.length === 0) continue
      entries.push({
        key: id,
        id,
        group: id,
        ...(image ? { image: join(root, id, 'images', image) } : {}),
        ...(masks.length > 0 ? { objects: masks.map((m) => join(root, id, 'masks', m)) } : {}),
      })
    }
    return entries.length > 0 ? { entries } : undefined
  },
}

/** University of Waterloo's skin cancer set: `…/dermis/N_orig.jpg` and `…/dermquest/N_orig.jpg` with `N_contour.png`. */
const waterloo: KnownDataset = {
  name: 'waterloo',
  title: 'DermIS and DermQuest (lesions, University of Waterloo)',
  full: 206,
  counts: 'images',
  async find(folder) {
    const places = await foldersNamed(folder, /^derm(is|quest)$/i, 4)
    if (/^derm(is|quest)$/i.test(basename(folder))) places.push(folder)
    const entries: Entry[] = []
    for (const place of places) {
      const collection = basename(place).toLowerCase()
      const kind = basename(dirname(place))
      const { files } = await listFolder(place)
      const found = new Map<string, Entry>()
      for (const file of files) {
        const match = /^(.+)_(orig|contour)\.\w+$/i.exec(file)
        if (!match) continue
        const key = match[1]!
        const id = [collection, kind, key].join('/')
        const entry = found.get(key) ?? { key, id, group: id, collection }
        entry[match[2]!.toLowerCase() === 'orig' ? 'image' : 'mask'] = join(place, file)
        found.set(key, entry)
      }
      entries.push(...found.values())
    }
    return entries.length > 0 ? { entries } : undefined
  },
}

/**
 * Cardiac Fat Database (Rodrigues et al.): a folder of images and one of labels, each with a subfolder a patient whose
 * slices bear the same names. Labels in colour have the epicardial fat in red.
 */
const cardiacFat: KnownDataset = {
  name: 'cardiac-fat',
  title: 'Cardiac Fat (epicardial fat)',
  full: 20,
  counts: 'patients',
  async find(folder) {
    const [images] = await foldersNamed(folder, /^(inputs?|images?|originals?|dicom)$/i, 1)
    const [labels] = await foldersNamed(folder, /^(labels?|ground[ _-]?truth|gt|masks?)$/i, 1)
    if (!images || !labels) return undefined
    const [own, painted] = [(await listFolder(images)).folders, (await listFolder(labels)).folders]
    const entries: Entry[] = []
    for (const patient of new Set([...own, ...painted])) {
      const sideOf = (root: string, there: readonly string[]) =>
        there.includes(patient) ? side(join(root, patient)) : { folder: join(root, patient), files: [] }
      const pairs = pairByFolder(await sideOf(images, own), await sideOf(labels, painted))
      const slices = pairs.map((p) => ({ ...p, id: p.key, group: p.key }))
      slices.forEach((slice, i) => {
        entries.push({
          ...slice,
          id: `${patient}/${slice.key}`,
          group: patient,
          depth: i / slices.length,
          redMask: true,
        })
      })
    }
    return entries.length > 0 ? { entries } : undefined
  },
}

/** Image sets by how surely their layout tells them, surest first. */
export const knownImages: readonly KnownDataset[] = [
  isic,
  waterloo,
  kvasirSeg,
  cvcClinicDb,
  dataScienceBowl,
  cardiacFat,
]

async function hasFile(folder: string, name: RegExp): Promise<boolean> {
  const { others } = await listFolder(folder)
  return others.some((file) => name.test(file))
}
