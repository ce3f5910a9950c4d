import type { WorkRow } from './networks.ts'

/** What bench/peers/run.mjs reports of one peer. */
export interface PeerReport {
  readonly peer: string
  readonly version?: string
  readonly adapter?: string
  readonly error?: string
  readonly results: readonly {
    readonly name: string
    readonly ms?: number
    readonly min?: number
    readonly error?: string
  }[]
}

/** One piece of work in fovea and in its peers, milliseconds (median), and how often faster fovea is. */
export interface Comparison {
  readonly name: string
  readonly fovea: number
  readonly peers: readonly { readonly peer: string; readonly ms: number; readonly ratio: number }[]
}

/** Sets fovea's times beside those of its peers, which were measured in the same run on the same adapter. */
export function compare(rows: readonly WorkRow[], reports: readonly PeerReport[]): Comparison[] {
  return rows.map(({ name, ms }) => ({
    name,
    fovea: ms,
    peers: reports.flatMap((r) => {
      const theirs = r.results.find((x) => x.name === name)?.ms
      return theirs === undefined ? [] : [{ peer: r.peer, ms: theirs, ratio: theirs / ms }]
    }),
  }))
}
