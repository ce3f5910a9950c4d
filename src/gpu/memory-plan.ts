/** Bytes that are needed from one command of a step to another, both included. */
export interface Lifetime {
  readonly bytes: number
  readonly first: number
  readonly last: number
}

/** Which buffer each lifetime goes into. */
export interface Sharing {
  /** Index into `sizes`, for each lifetime. */
  readonly places: readonly number[]
  /** Bytes of each buffer: those that were there, then new ones. */
  readonly sizes: readonly number[]
}

/** The most bytes that are alive at one command: no plan can take fewer. */
export function liveBytes(lifetimes: readonly Lifetime[]): number {
  const changes = new Map<number, number>()
  const change = (at: number, by: number) => changes.set(at, (changes.get(at) ?? 0) + by)
  for (const { bytes, first, last } of lifetimes) {
    change(first, bytes)
    change(last + 1, -bytes)
  }
  let live = 0
  let most = 0
  for (const at of [...changes.keys()].sort((a, b) => a - b)) {
    live += changes.get(at)!
    most = Math.max(most, live)
  }
  return most
}

const apart = (a: Lifetime, b: Lifetime): boolean => a.last < b.first || b.last < a.first

/**
 * Shares whole buffers among lifetimes that do not overlap: the largest first, each into the smallest buffer
 * that is large enough and free.
 */
export function shareBuffers(lifetimes: readonly Lifetime[], existing: readonly number[] = []): Sharing {
  const sizes = [...existing]
  const taken: Lifetime[][] = sizes.map(() => [])
  const places = new Array<number>(lifetimes.length)
  const order = lifetimes
    .map((_, i) => i)
    .sort((a, b) => lifetimes[b]!.bytes - lifetimes[a]!.bytes || lifetimes[a]!.first - lifetimes[b]!.first)
  for (const i of order) {
    const lifetime = lifetimes[i]!
    let best = -1
    sizes.forEach((size, b) => {
      if (size < lifetime.bytes || (best >= 0 && sizes[best]! <= size)) return
      if (taken[b]!.every((other) => apart(other, lifetime))) best = b
    })
    if (best < 0) {
      best = sizes.push(lifetime.bytes) - 1
      taken.push([])
    }
    taken[best]!.push(lifetime)
    places[i] = best
  }
  return { places, sizes }
}
