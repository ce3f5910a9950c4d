/**
 * Choices that fovea ships, by a part of the adapter's name and by key: where a measurement found another
 * candidate clearly faster than the first. Written by scripts/tuner-defaults.mjs.
 */
export const TUNER_DEFAULTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {}
