import type { ConvDispatch, ConvVariant } from '../../src/autograd/conv2d/variant.ts'

/** Whether a run of the tests compiles every pipeline of the convolutions, or enough of them (scripts/test.mjs, `--all`; in Node). */
const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } }
const all = process?.env?.FOVEA_TESTS === 'all'

/** A variant that a test may run, as part of what. */
export interface PlannedVariant {
  readonly part: string
  readonly variant: Pick<ConvVariant, 'name' | 'dispatches'>
}

const pipelineOf = ({ file, entry, overrides }: ConvDispatch): string =>
  JSON.stringify([file, entry, overrides])

/**
 * Which variants a test is to run. A software driver takes seconds to compile a pipeline of a convolution, and one entry point
 * has a dozen to a hundred of them by its overrides. So, unless all are asked for, only some are compiled, chosen such that in each
 * part each variant is run, and each entry point with each value of each override. `switches`: with both values of those that switch
 * something on, in any part; for what is held in full with another type. What is compiled runs for every shape.
 *
 * The fewest are a set cover. It is approached as usual: what meets most new values for a new pipeline comes next.
 */
export function choosePipelines(
  planned: readonly PlannedVariant[],
  { switches = false } = {},
): (variant: Pick<ConvVariant, 'dispatches'>) => boolean {
  if (all) return () => true
  const items = new Map<
    string,
    { readonly values: readonly string[]; readonly pipelines: readonly string[] }
  >()
  for (const { part, variant } of planned) {
    const values = variant.dispatches.flatMap(({ file, entry, overrides }) =>
      [[], ...Object.entries(overrides).filter(([, value]) => !switches || value < 2)].map((value) =>
        JSON.stringify([switches ? '' : part, file, entry, ...value]),
      ),
    )
    values.push(JSON.stringify([part, variant.name]))
    const pipelines = [...new Set(variant.dispatches.map(pipelineOf))]
    items.set([...values, ...pipelines].join(), { values: [...new Set(values)], pipelines })
  }
  const [met, chosen] = [new Set<string>(), new Set<string>()]
  const missing = (list: readonly string[], set: ReadonlySet<string>) =>
    list.filter((v) => !set.has(v)).length
  for (;;) {
    let most = 0
    let next: { readonly values: readonly string[]; readonly pipelines: readonly string[] } | undefined
    for (const item of items.values()) {
      const gain = missing(item.values, met) / missing(item.pipelines, chosen) || 0
      if (gain > most) [most, next] = [gain, item]
    }
    if (!next) return ({ dispatches }) => dispatches.every((d) => chosen.has(pipelineOf(d)))
    for (const v of next.values) met.add(v)
    for (const p of next.pipelines) chosen.add(p)
  }
}
