import type { ConvVariant } from '../../src/autograd/conv2d/variant.ts'

/** Whether a run of the tests compiles every pipeline of the convolutions, or enough of them (scripts/test.mjs, `--all`; in Node). */
const { process } = globalThis as { process?: { env?: Record<string, string | undefined> } }
const all = process?.env?.FOVEA_TESTS === 'all'

/**
 * Variants that a test is to run. A software driver takes seconds to compile a pipeline of a convolution, and one entry point
 * has a dozen to a hundred of them by its overrides. So, unless all are asked for, a variant is left out that would be compiled anew
 * while its name, each of its entry points and each value of each override has been compiled with others. What is compiled runs for every
 * shape.
 */
export class ConvPipelines {
  private readonly compiled = new Set<string>()
  private readonly met = new Set<string>()

  /** Whether a variant is to run, which is then taken as compiled; each `part` of a test is to meet all values by itself. */
  take({ name, dispatches }: ConvVariant, part: string): boolean {
    const pipelines = dispatches.map((d) => JSON.stringify([d.file, d.entry, d.overrides]))
    const values = dispatches.flatMap(({ file, entry, overrides }) =>
      [[], ...Object.entries(overrides ?? {})].map((value) =>
        JSON.stringify([part, name, file, entry, ...value]),
      ),
    )
    const wanted = all || values.some((v) => !this.met.has(v)) || pipelines.every((p) => this.compiled.has(p))
    if (wanted) {
      for (const p of pipelines) this.compiled.add(p)
      for (const v of values) this.met.add(v)
    }
    return wanted
  }
}
