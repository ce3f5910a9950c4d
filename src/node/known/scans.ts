import { join } from 'node:path'
import { listFolder } from '../pairs.ts'
import type { Found, KnownDataset, Scan } from './known.ts'

/** Files in `folder` and one level of subfolders, as paths. */
async function filesBelow(folder: string, depth = 2): Promise<string[]> {
  const { others, folders } = await listFolder(folder)
  const paths = others.map((file) => join(folder, file))
  if (depth > 0) for (const sub of folders) paths.push(...(await filesBelow(join(folder, sub), depth - 1)))
  return paths
}

/** Pairs scans by their id; a scan or a segmentation that stands alone is told as an entry without its partner. */
function pairScans(paths: readonly string[], image: RegExp, mask: RegExp): Found | undefined {
  const scans = new Map<string, { image?: string; mask?: string }>()
  for (const path of paths) {
    for (const [role, name] of [
      ['mask', mask],
      ['image', image],
    ] as const) {
      const id = name.exec(path)?.[1]
      if (!id) continue
      scans.set(id, { ...scans.get(id), [role]: path })
      break
    }
  }
  const order = new Intl.Collator('en', { numeric: true })
  const found = [...scans].sort(([a], [b]) => order.compare(a, b))
  const whole = found.filter(([, s]) => s.image && s.mask)
  if (whole.length === 0) return undefined
  return {
    scans: whole.map(([id, s]): Scan => ({ id, image: s.image!, mask: s.mask! })),
    entries: found
      .filter(([, s]) => !s.image || !s.mask)
      .map(([id, s]) => ({ key: id, id, group: id, ...s })),
  }
}

/** LiTS: `volume-N.nii` with `segmentation-N.nii`, in one folder or in training batches. Liver and tumour are the liver. */
const lits: KnownDataset = {
  name: 'lits',
  title: 'LiTS (liver)',
  full: 131,
  counts: 'scans',
  find: async (folder) =>
    pairScans(
      await filesBelow(folder),
      /[\\/]volume-(\d+)\.nii(?:\.gz)?$/i,
      /[\\/]segmentation-(\d+)\.nii(?:\.gz)?$/i,
    ),
}

/** AVT: `D1.nrrd` with `D1.seg.nrrd` (D: Dongyang, K: KiTS, R: RIDER), in one folder or one a scan. */
const avt: KnownDataset = {
  name: 'avt',
  title: 'AVT (aorta)',
  full: 18,
  counts: 'scans',
  find: async (folder) =>
    pairScans(await filesBelow(folder), /[\\/]([DKR]\d+)\.nrrd$/i, /[\\/]([DKR]\d+)\.seg\.nrrd$/i),
}

export const knownScans: readonly KnownDataset[] = [lits, avt]
