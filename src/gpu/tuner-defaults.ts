/**
 * Choices that fovea ships, by a part of the adapter's name and by key: where a measurement (`fovea tune
 * --defaults`) found another candidate faster than the first.
 */
export const TUNER_DEFAULTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {}
