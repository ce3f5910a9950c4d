/** Half-precision floats (IEEE 754 binary16) on the host, which has no typed array for them everywhere. */

const word = new DataView(new ArrayBuffer(4))

/** The 16 bits of the half nearest to `value`, ties to even; from 65520 on ±∞, below 2⁻²⁵ ±0. */
export function halfBits(value: number): number {
  word.setFloat32(0, value)
  const bits = word.getUint32(0)
  const sign = (bits >>> 16) & 0x8000
  const rest = bits & 0x7fffffff
  if (rest > 0x7f800000) return sign | 0x7e00
  if (rest >= 0x477ff000) return sign | 0x7c00
  if (rest < 0x38800000) {
    // Subnormal: adding ½ · 2²⁴ · 2⁻²⁴ shifts the digits into place and rounds them.
    word.setFloat32(0, Math.abs(Math.fround(value)) + 0.5)
    return sign | (word.getUint32(0) - 0x3f000000)
  }
  return sign | ((rest - 0x38000000 + 0xfff + ((rest >>> 13) & 1)) >>> 13)
}

/** The value of a half's 16 bits. Exact. */
export function halfValue(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 0x1f
  const fraction = bits & 0x3ff
  if (exponent === 0) return sign * 2 ** -14 * (fraction / 1024)
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * 2 ** (exponent - 15) * (1 + fraction / 1024)
}

/** Halves as they lie in a buffer, behind an odd count a zero: WebGPU writes whole words. */
export function toHalves(values: ArrayLike<number>): Uint16Array {
  const halves = new Uint16Array(2 * Math.ceil(values.length / 2))
  for (let i = 0; i < values.length; i++) halves[i] = halfBits(values[i]!)
  return halves
}

/** What halves in a buffer are worth. */
export const fromHalves = (halves: Uint16Array): Float32Array => Float32Array.from(halves, halfValue)
