import { ShapeError } from '../gpu/errors.ts'

/** A value as errors show what was given; JSON would make null of NaN. */
export const shown = (value: unknown): string =>
  Array.isArray(value)
    ? `[${value.slice(0, 8).map(shown).join(', ')}]`
    : typeof value === 'string'
      ? `'${value}'`
      : String(value).slice(0, 60)

/**
 * Holds an op's options to what it knows, for callers without a type checker: a forgotten or misspelt option
 * is refused by the op's name instead of being passed over.
 */
export function checkOptions(
  op: string,
  options: unknown,
  required: readonly string[],
  optional: readonly string[],
): void {
  const known = [...required, ...optional]
  if (!options || typeof options !== 'object' || Array.isArray(options)) {
    throw new ShapeError(op, `pass its options as the last argument: { ${known.join(', ')} }`)
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name))
      throw new ShapeError(op, `there is no option '${name}'; it knows ${known.join(', ')}`)
  }
  for (const name of required) {
    if ((options as Record<string, unknown>)[name] === undefined) {
      throw new ShapeError(op, `option '${name}' is missing; it knows ${known.join(', ')}`)
    }
  }
}

/** Refuses what is no number of at least 0, also where a schedule gives it. */
export function checkRates(op: string, rates: Readonly<Record<string, number>>): void {
  for (const [name, value] of Object.entries(rates))
    if (!(value >= 0 && value < Infinity))
      throw new ShapeError(op, `${name} is a number of at least 0, got ${shown(value)}`)
}
