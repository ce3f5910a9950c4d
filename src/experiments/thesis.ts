import type { DataSlot, FullSettings } from './experiment.ts'

/** The data sets of the thesis. */
export const DATA = {
  polyp: { key: 'polyp', title: 'CVC-ClinicDB' },
  lesion: { key: 'lesion', title: 'ISIC 2018 task 1' },
  liver: { key: 'liver', title: 'LiTS' },
  eat: { key: 'eat', title: 'Cardiac Fat' },
  aorta: { key: 'aorta', title: 'AVT, Dongyang' },
  cells: { key: 'cells', title: 'DSB 2018 stage 1' },
  kvasir: { key: 'kvasir', title: 'Kvasir-SEG' },
  dermis: { key: 'dermis', title: 'DermIS', collection: 'dermis' },
  dermquest: { key: 'dermquest', title: 'DermQuest', collection: 'dermquest' },
  pericardium: { key: 'pericardium', title: 'Cardiac Fat with pericardium masks' },
} as const satisfies Record<string, DataSlot>

/** Validation and test of so many scans or patients. */
const held = (validation: number, test: number, all: number) => ({
  validation: validation / all,
  test: test / all,
})

/** How the thesis trained, by chapter: what `--full` takes. Polar networks (4.3.3). */
export const POLAR: FullSettings = {
  ...{ features: 32, epochs: 200, batch: 8, lr: 1e-3, augment: 'thesis' },
  sets: {
    lesion: { heatmapBatch: 6 },
    liver: { heatmapBatch: 6, ...held(15, 15, 131) },
    eat: held(5, 5, 20),
  },
}
export const AORTA: FullSettings = { ...POLAR, epochs: 60, augment: 'thesis-aorta' }
/** Table 5.1. */
export const CROPS: FullSettings = {
  ...{ ...POLAR, epochs: 100, augment: 'thesis-crops' },
  sets: { cells: { batch: 16, lr: 5e-4 }, kvasir: { epochs: 175 }, aorta: held(3, 3, 18) },
}
export const SHARES: FullSettings = { ...POLAR, epochs: 50 }
/** 5.2.2; it says neither the epochs nor the patience: PyTorch's ten. It names no augmentation. */
export const END_TO_END: FullSettings = {
  ...POLAR,
  ...{ epochs: 100, batch: 16, lr: 1e-4, plateau: 10, batchAt: { 512: 4 }, augment: 'none' },
}
/** Slices with their depth (6.4). */
export const DEPTH: FullSettings = { ...POLAR, augment: 'thesis-depth' }
