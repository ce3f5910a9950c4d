/**
 * Turns stored samples into what a network sees.
 *
 * @param data samples in (C, H, W) order, left as they are
 * @param max largest value of the file's sample type (255, 65535)
 */
export type Normalization = (data: Float32Array, max: number) => Float32Array

/** Names that options take for the functions of this file. */
export type NormalizationName = 'rgb' | 'windowed' | 'unit' | 'none' | 'liver' | 'fat' | 'aorta'

/** v / max − shift. A loop: TypedArray.map takes four times as long, and this is most of what a cold image costs. */
function scaled(data: Float32Array, max: number, shift: number): Float32Array {
  const out = new Float32Array(data.length)
  for (let i = 0; i < out.length; i++) out[i] = data[i]! / max - shift
  return out
}

/** 0…max to [−0.5, 0.5]: polyps, lesions, cells (sections 4.3.3 and 5.1.2 of the thesis). */
export const rgbToSigned: Normalization = (data, max) => scaled(data, max, 0.5)

/** 0…max to [0, 1]. */
export const toUnit: Normalization = (data, max) => scaled(data, max, 0)

/**
 * 0…max to [0, 1] less 0.1, the mean of the thesis's training slices: for CT slices that were windowed
 * before they were saved as 8-bit images (the Cardiac Fat slices of section 6).
 */
export const windowedToCentred: Normalization = (data, max) => scaled(data, max, 0.1)

/**
 * Intensity window: `low` and below to 0, `high` and above to 1, linear between.
 *
 * @param data samples in HU
 * @param low lower edge, HU
 * @param high upper edge, HU, over `low`
 */
export function windowHu(data: Float32Array, low: number, high: number): Float32Array {
  return data.map((v) => Math.min(1, Math.max(0, (v - low) / (high - low))))
}

/** Samples in HU; window 0…200 HU to [0, 1], less 0.1 (LiTS). */
export const liverWindow: Normalization = (data) => windowHu(data, 0, 200).map((v) => v - 0.1)

/** Samples in HU; window −200…−30 HU, the fat range, to [0, 1], less 0.1 (Cardiac Fat). */
export const fatWindow: Normalization = (data) => windowHu(data, -200, -30).map((v) => v - 0.1)

/** Samples in HU; window 200…500 HU to [−0.5, 0.5], less 0.1, the mean that section 5.1.2 gives (AVT). */
export const aortaWindow: Normalization = (data) => windowHu(data, 200, 500).map((v) => v - 0.6)

const BY_NAME: Record<NormalizationName, Normalization> = {
  rgb: rgbToSigned,
  windowed: windowedToCentred,
  unit: toUnit,
  none: (data) => data,
  liver: liverWindow,
  fat: fatWindow,
  aorta: aortaWindow,
}

/** The function for a name; a function passes through. */
export function normalization(choice: NormalizationName | Normalization): Normalization {
  return typeof choice === 'function' ? choice : BY_NAME[choice]
}
