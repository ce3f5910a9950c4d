/**
 * Choices that fovea ships, by a part of the adapter's name and by key: where a measurement found another
 * candidate clearly faster than the first. Written by scripts/tuner-defaults.mjs.
 *
 * Empty: on lavapipe the first candidates were the fastest for 55 of the 56 questions of the U-Net (8 features,
 * 4×64²), and all others together would have saved 1.5 % of the kernels' time.
 */
export const TUNER_DEFAULTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {}
