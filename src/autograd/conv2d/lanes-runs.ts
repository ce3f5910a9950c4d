/** Into how many runs the lane kernels split their sums. */

/** Multiply-adds that take a core of lavapipe 0.08 ms, as long as the launch that adds up runs: a run has no fewer. */
const LEAST_RUN = 2 ** 20

/** At most so many runs for a sum of so many multiply-adds. */
const mostRuns = (work: number): number => Math.max(1, Math.floor(work / LEAST_RUN))

/** Beyond so many multiply-adds the launch that adds up no longer counts, and shorter sums are more accurate. */
const LONG_RUN = 2 ** 24

/**
 * Runs of the lane kernels' sums, of so many multiply-adds each, where so many subgroups have one to compute: eight cores have
 * work, with long sums 48.
 */
export function lanesRuns(work: number, subgroups: number): number {
  const [few, many] = [Math.ceil(8 / subgroups), Math.ceil(48 / subgroups)]
  return Math.min(mostRuns(work), Math.max(few, Math.min(many, Math.ceil(work / LONG_RUN))))
}
