import type { ConvDispatch, ConvVariant } from '../../src/autograd/conv2d/variant.ts'

/** Whether a run of the tests compiles every pipeline of the convolutions, or enough of them (scripts/test.mjs, `--all`; in Node). */
const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } }
const all = process?.env?.FOVEA_TESTS === 'all'

/** A variant that a test may run, and the part of the test that it belongs to. */
interface PlannedVariant {
  readonly part: string
  readonly variant: Pick<ConvVariant, 'name' | 'dispatches'>
}

/** What running a variant would show, and what has to be compiled for it. */
interface Candidate {
  readonly values: readonly string[]
  readonly pipelines: readonly string[]
}

const pipelineOf = ({ file, entry, overrides }: ConvDispatch): string =>
  JSON.stringify([file, entry, overrides])

/** Overrides that say how large a window is and where it lies, or how many invocations a workgroup has. */
const SIZES = new Set(['KH', 'KW', 'PAD', 'STRIDE', 'DILATION', 'WG'])

/**
 * Which variants a test is to run. A software driver takes seconds to compile a pipeline of a convolution, and one entry point
 * has a dozen to a hundred of them by its overrides. So, unless all are asked for, only some are compiled, chosen such that in each
 * part each variant is run, and each entry point with each value of each override, by whichever variants. `formsAlone`: in any part, and
 * whatever the sizes; for what is held in full with another type. What is compiled runs for every shape.
 *
 * Finding the fewest is the set-cover problem. Greedily: what shows most that is new for each new pipeline comes next.
 */
export function choosePipelines(
  planned: readonly PlannedVariant[],
  { formsAlone = false } = {},
): (variant: Pick<ConvVariant, 'dispatches'>) => boolean {
  if (all) return () => true
  const candidates = new Map<string, Candidate>()
  for (const { part, variant } of planned) {
    const values = variant.dispatches.flatMap(({ file, entry, overrides }) =>
      [[], ...Object.entries(overrides).filter(([name]) => !formsAlone || !SIZES.has(name))].map((value) =>
        JSON.stringify([formsAlone ? '' : part, file, entry, ...value]),
      ),
    )
    values.push(JSON.stringify([part, variant.name]))
    const pipelines = [...new Set(variant.dispatches.map(pipelineOf))]
    candidates.set([...values, ...pipelines].join(), { values: [...new Set(values)], pipelines })
  }
  const [shown, chosen] = [new Set<string>(), new Set<string>()]
  const missing = (list: readonly string[], set: ReadonlySet<string>) =>
    list.filter((v) => !set.has(v)).length
  for (;;) {
    let most = 0
    let next: Candidate | undefined
    for (const candidate of candidates.values()) {
      // 0 of 0 is not a number.
      const gain = missing(candidate.values, shown) / missing(candidate.pipelines, chosen) || 0
      if (gain > most) [most, next] = [gain, candidate]
    }
    if (!next) return ({ dispatches }) => dispatches.every((d) => chosen.has(pipelineOf(d)))
    for (const v of next.values) shown.add(v)
    for (const p of next.pipelines) chosen.add(p)
  }
}
