import { readFile } from 'node:fs/promises'
import { type Entry, isWhole } from './layouts.ts'
import { decodeDicom, NoDicomImage } from './volume/dicom.ts'

/** The modality of a DICOM file that holds no image; undefined of all others. */
async function recordIn(path: string): Promise<string | undefined> {
  try {
    await decodeDicom(await readFile(path), path)
  } catch (cause) {
    if (cause instanceof NoDicomImage) return cause.modality
  }
  return undefined
}

/** A sentence for DICOM files that were passed over since they hold no image. */
export function recordsLeftOut(
  files: readonly { readonly path: string; readonly modality: string }[],
): string {
  const kinds = [...new Set(files.map(({ modality }) => modality || 'no modality'))].join(', ')
  const [one, hold] = files.length === 1 ? ['file', 'holds'] : ['files', 'hold']
  return `left out: ${files.length} DICOM ${one} that ${hold} no image (${kinds}), first ${files[0]!.path}`
}

/**
 * Entries without what lies beside DICOM images and is none: structured reports, contours, presentation states. Only files
 * that have no mask are looked into.
 */
export async function withoutRecords(
  entries: readonly Entry[],
): Promise<{ entries: readonly Entry[]; leftOut: readonly string[] }> {
  const records = new Map<Entry, { path: string; modality: string }>()
  for (const entry of entries) {
    if (!entry.image || isWhole(entry) || !/\.dcm$/i.test(entry.image)) continue
    const modality = await recordIn(entry.image)
    if (modality !== undefined) records.set(entry, { path: entry.image, modality })
  }
  if (records.size === 0) return { entries, leftOut: [] }
  const kept = entries.filter((entry) => !records.has(entry))
  const groups = new Map<string, Entry[]>()
  for (const entry of kept) groups.set(entry.group, [...(groups.get(entry.group) ?? []), entry])
  return {
    // They counted as slices.
    entries: kept.map((entry) => {
      if (entry.depth === undefined) return entry
      const slices = groups.get(entry.group)!
      return { ...entry, depth: slices.indexOf(entry) / slices.length }
    }),
    leftOut: [recordsLeftOut([...records.values()])],
  }
}
