import { FoveaError } from '../gpu/errors.ts'
import type { Gpu } from '../gpu/gpu.ts'

const U32 = 2 ** 32

/** Seeds are whole numbers from 0 to 2⁵³ − 1. */
function checkSeed(seed: number): void {
  if (Number.isSafeInteger(seed) && seed >= 0) return
  throw new FoveaError(`seed ${seed}: a seed is a whole number from 0 to 2^53 - 1`)
}

/** One scrambling step of splitmix32: spreads a seed over the state of a generator. */
function splitmix(seed: number): () => number {
  let state = ((seed % U32) ^ Math.floor(seed / U32)) >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
}

const rotate = (x: number, by: number): number => (x << by) | (x >>> (32 - by))

/**
 * Seeded numbers on the host: xoshiro128** (Blackman and Vigna). For weights, splits and augmentation;
 * the same on every machine.
 */
export class Prng {
  readonly #s: Uint32Array
  #spare: number | undefined

  constructor(seed: number) {
    checkSeed(seed)
    this.#s = Uint32Array.from({ length: 4 }, splitmix(seed))
  }

  /** Uniform over 0 … 2³² − 1. */
  bits(): number {
    const s = this.#s
    const result = Math.imul(rotate(Math.imul(s[1]!, 5), 7), 9) >>> 0
    const t = s[1]! << 9
    s[2]! ^= s[0]!
    s[3]! ^= s[1]!
    s[1]! ^= s[2]!
    s[0]! ^= s[3]!
    s[2]! ^= t
    s[3] = rotate(s[3]!, 11)
    return result
  }

  /** Uniform in [0, 1), of 53 bits. */
  uniform(): number {
    return ((this.bits() >>> 5) * 2 ** 26 + (this.bits() >>> 6)) / 2 ** 53
  }

  /** Normal with mean 0 and deviation 1 (Box and Muller). */
  normal(): number {
    if (this.#spare !== undefined) {
      const spare = this.#spare
      this.#spare = undefined
      return spare
    }
    const radius = Math.sqrt(-2 * Math.log(1 - this.uniform()))
    const angle = 2 * Math.PI * this.uniform()
    this.#spare = radius * Math.sin(angle)
    return radius * Math.cos(angle)
  }

  /** A whole number from 0 to n − 1. */
  below(n: number): number {
    return Math.floor(this.uniform() * n)
  }

  /** A permutation of 0 … n − 1 (Fisher and Yates). */
  permutation(n: number): number[] {
    const order = Array.from({ length: n }, (_, i) => i)
    for (let i = n - 1; i > 0; i--) {
      const j = this.below(i + 1)
      ;[order[i], order[j]] = [order[j]!, order[i]!]
    }
    return order
  }

  /** What a checkpoint keeps. */
  state(): { s: number[]; spare: number | undefined } {
    return { s: [...this.#s], spare: this.#spare }
  }

  /** Goes on from a state. */
  restore({ s, spare }: { s: readonly number[]; spare?: number | undefined }): void {
    if (s.length !== 4 || s.every((v) => v === 0))
      throw new FoveaError('Prng: a state holds four numbers, not all 0')
    this.#s.set(s)
    this.#spare = spare
  }
}

/** Where a random kernel begins: the key and the 64-bit counter of Philox, in halves. */
export interface Draw {
  readonly key_low: number
  readonly key_high: number
  readonly counter_low: number
  readonly counter_high: number
}

/**
 * The counter of a device's random ops. The numbers themselves are made on the GPU (Philox 4×32-10) from
 * seed and counter, so the same seed gives the same numbers on every adapter.
 */
export class RandomGenerator {
  #seed: number
  #counter = 0

  constructor(seed = 0) {
    checkSeed(seed)
    this.#seed = seed
  }

  get seed(): number {
    return this.#seed
  }

  /** Reserves `blocks` blocks of four numbers. */
  take(blocks: number): Draw {
    const at = this.#counter
    this.#counter += blocks
    return drawAt(this.#seed, at)
  }

  /** What a checkpoint keeps. */
  state(): { seed: number; counter: number } {
    return { seed: this.#seed, counter: this.#counter }
  }

  /** Goes on from a state. */
  restore({ seed, counter }: { seed: number; counter: number }): void {
    checkSeed(seed)
    checkSeed(counter)
    this.#seed = seed
    this.#counter = counter
  }
}

/** The draw of a seed that begins at block `counter`. */
export function drawAt(seed: number, counter: number): Draw {
  checkSeed(seed)
  return {
    key_low: seed % U32,
    key_high: Math.floor(seed / U32),
    counter_low: counter % U32,
    counter_high: Math.floor(counter / U32),
  }
}

const generators = new WeakMap<Gpu, RandomGenerator>()

/** The generator that random ops on `device` draw from; seed 0 at first. */
export function generatorOf(device: Gpu): RandomGenerator {
  const known = generators.get(device)
  if (known) return known
  const made = new RandomGenerator()
  generators.set(device, made)
  return made
}

/** Starts the device's generator anew from `seed`. */
export function manualSeed(device: Gpu, seed: number): void {
  generatorOf(device).restore({ seed, counter: 0 })
}
