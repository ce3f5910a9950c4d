import { readdir, readFile } from 'node:fs/promises'
import { isDeepStrictEqual } from 'node:util'
import { Command } from 'commander'
import { expect, test } from 'vitest'
import { addReproduceOptions, type ReproduceArguments, scaleOf } from '../../src/cli/reproduce-options.ts'
import { EXPERIMENTS, unavailable } from '../../src/experiments/catalogue.ts'
import {
  commandOf,
  jobsOfOthers,
  planExperiment,
  rowsAt,
  type Scale,
  sharing,
} from '../../src/experiments/jobs.ts'
import { scaleText } from '../../src/experiments/report.ts'
import { type ExperimentResults, resultsOf, withoutPatients } from '../../src/experiments/results.ts'
import type { JobResult } from '../../src/experiments/run.ts'
import { centreHeatmap } from '../../src/runs/methods/centre-heatmap.ts'
import { endToEnd } from '../../src/runs/methods/end-to-end.ts'
import { augmentationOf } from '../../src/runs/settings.ts'

const scale: Scale = {
  features: 8,
  epochs: 3,
  batch: 4,
  lr: 2e-3,
  schedule: 'cosine',
  augment: 'none',
  seeds: [1, 2],
  folds: 0,
  subset: 1,
}
const named = (id: string) => EXPERIMENTS.find((e) => e.id === id)!
const thesisOf = (id: string, label: string) => named(id).rows.find((r) => r.label === label)?.thesis

test('every row names a data set of its experiment, and every baseline is a row of it', () => {
  expect(new Set(EXPERIMENTS.map((e) => e.id)).size).toBe(EXPERIMENTS.length)
  for (const { id, data, rows } of EXPERIMENTS) {
    const keys = data.map((d) => d.key)
    for (const row of rows) {
      expect(keys, id).toContain(row.data)
      if (row.on) expect(keys, id).toContain(row.on)
      for (const { value } of Object.values(row.thesis)) expect(value > 0 && value < 1, row.label).toBe(true)
      const { label: _, thesis: __, baseline, baselines = [], ...rest } = row
      for (const other of [...(baseline ? [baseline] : []), ...baselines]) {
        const wanted = JSON.parse(JSON.stringify({ ...rest, ...other }))
        const found = rows.filter((r) => {
          const { label: _, thesis: __, baseline: ___, baselines: ____, ...known } = r
          return isDeepStrictEqual(JSON.parse(JSON.stringify(known)), wanted)
        })
        expect(found, `${id}: ${row.label}`).toHaveLength(1)
      }
    }
  }
})

test("the thesis's numbers stand in their rows", () => {
  expect(named('table-4.1').rows).toHaveLength(4 * 3 * 4)
  expect(thesisOf('table-4.1', 'lesion, Res-U-Net++, polar, Cartesian centres (A)')).toEqual({
    dice: { value: 0.9125 },
  })
  expect(thesisOf('table-4.1', 'eat, DeepLabV3+, polar, model centres (B)')).toEqual({
    dice: { value: 0.672 },
  })
  expect(named('table-4.3').rows.map((r) => r.thesis.dice?.value)).toEqual([
    0.8315, 0.8918, 0.9094, 0.9288, 0.9374,
  ])
  expect(named('table-4.4').rows[2]!.thesis).toEqual({
    dice: { value: 0.932, sd: 0.027 },
    recall: { value: 0.973 },
  })
  expect(named('table-5.5').rows.at(-1)).toMatchObject({
    on: 'dermquest',
    thesis: { thresholdedJaccard: { value: 0.5456 } },
  })
  expect(named('table-6.1').rows[3]!.thesis.iou?.value).toBe(0.7807)
})

test('a size stands in for the thesis’s; where rows differ by size, a value stays with its own size', () => {
  const polar = rowsAt(named('table-4.1'), { ...scale, sizes: [64], networks: ['unet'] })
  expect(polar).toHaveLength(16)
  expect(polar[0]).toMatchObject({ size: 64, thesis: { dice: { value: 0.8315 } } })
  const crops = rowsAt(named('table-5.2'), { ...scale, sizes: [32, 64] }).filter((r) => r.data === 'cells')
  expect(crops.map(({ size, arm, thesis }) => [size, arm, thesis.dice?.value])).toEqual([
    [32, 'rough', undefined],
    [32, 'crops', undefined],
    [64, 'rough', 0.757],
    [64, 'crops', 0.8428],
  ])
})

test('--full trains each data set as the thesis says (table 5.1; 5.2.2; 6.4.2), unless an option says otherwise', () => {
  const args = { full: true, out: '', adapter: '', subset: 1, skip: 0, seeds: [42] } as ReproduceArguments
  const trained = (id: string, data: string, size: number, more: Partial<ReproduceArguments> = {}) => {
    const experiment = named(id)
    const scale = scaleOf({ ...args, ...more }, experiment)
    const { jobs } = planExperiment(experiment, scale, new Set([data]))
    const { settings } = jobs.find((job) => job.settings.size === size)!
    const { features, epochs, batch, lr, schedule, plateau } = settings
    return { settings, values: [features, epochs, batch, lr, schedule, plateau] }
  }
  expect(trained('table-5.2', 'cells', 64).values).toEqual([32, 100, 16, 5e-4, 'constant', null])
  expect(trained('table-5.2', 'kvasir', 64).values).toEqual([32, 175, 8, 1e-3, 'constant', null])
  expect(trained('table-5.2', 'aorta', 128).values).toEqual([32, 100, 8, 1e-3, 'constant', null])
  expect(trained('table-4.4', 'aorta', 256).values).toEqual([32, 60, 8, 1e-3, 'constant', null])
  expect(trained('table-6.1', 'pericardium', 128).values).toEqual([32, 200, 8, 1e-3, 'constant', null])
  // Scans and patients as it split them: 101/15/15, 10/5/5, 12/3/3.
  const splits = (id: string, data: string, size: number, of: number) => {
    const { validation, test } = trained(id, data, size).settings
    return [validation * of, test * of]
  }
  expect(splits('table-4.1', 'liver', 256, 131)).toEqual([15, 15])
  expect(splits('table-4.1', 'eat', 256, 20)).toEqual([5, 5])
  expect(splits('table-5.2', 'aorta', 128, 18)).toEqual([3, 3])
  expect(splits('table-4.1', 'polyp', 256, 612)).toEqual([61.2, 61.2])
  // The report says it of the sets that were given.
  const told = scaleText({
    scale: scaleOf(args, named('table-4.1')),
    rows: [{ size: 256 }],
    data: [{ key: 'lesion' }, { key: 'liver', folder: 'LiTS' }],
  } as unknown as ExperimentResults)
  expect(told).toContain(
    '(constant), of liver batch 6 of heatmaps and a split of 77/11/11, augmentation thesis',
  )
  // 4.3.3; 4.4.1; 5.1.2; 6.4.1; 5.2.2 names none.
  const augmented = (id: string, data: string, size: number) => {
    const { flip, affine, rotate, grid } = augmentationOf(trained(id, data, size).settings)
    return [flip, affine, rotate, grid]
  }
  expect(augmented('table-4.1', 'polyp', 256)).toEqual([0.5, 0.5, 15, 0.3])
  expect(augmented('table-4.4', 'aorta', 256)).toEqual([0.3, 0.5, 15, 0])
  expect(augmented('table-5.2', 'cells', 64)).toEqual([0.3, 0.5, 14, 0])
  expect(augmented('table-6.1', 'pericardium', 128)).toEqual([0.5, 0.3, 45, 0.2])
  expect(augmented('table-5.5', 'dermis', 64)).toEqual([0, 0, 15, 0])
  // Heatmaps of lesions and livers by six, of polyps and fat by eight (4.3.3).
  const heatmaps = (data: string, more: Partial<ReproduceArguments> = {}) => {
    const { jobs } = planExperiment(
      named('table-4.1'),
      scaleOf({ ...args, ...more }, named('table-4.1')),
      new Set([data]),
    )
    const { settings } = jobs.find((job) => job.settings.method === 'centre-heatmap')!
    return centreHeatmap.networks(settings).map(({ batch = settings.batch }) => batch)
  }
  expect(['lesion', 'liver', 'polyp', 'eat'].map((data) => heatmaps(data))).toEqual([
    [8, 8, 6],
    [8, 8, 6],
    [8, 8, 8],
    [8, 8, 8],
  ])
  expect(heatmaps('lesion', { batch: 4 })).toEqual([4, 4, 4])
  const dermis = trained('table-5.5', 'dermis', 64)
  expect(dermis.values).toEqual([32, 100, 16, 1e-4, 'constant', 10])
  // The same rate for pretraining, for the baseline that goes on, and for both networks together.
  expect(endToEnd.networks(dermis.settings).map((n) => n.learningRate ?? 1)).toEqual([1, 1, 1])
  expect(trained('table-5.5', 'dermis', 512).values[2]).toBe(4)
  expect(trained('table-5.5', 'dermis', 512, { batch: 2 }).values[2]).toBe(2)
  const other = trained('table-5.2', 'cells', 64, { epochs: 3, lr: 1e-2 })
  expect(other.values).toEqual([32, 3, 16, 1e-2, 'constant', null])
})

test('rows without a folder or a method say so; the others share their runs', () => {
  const own = planExperiment(named('fig-4.12'), { ...scale, sizes: [64], folds: 3 }, new Set(['lesion']))
  const { rows, jobs } = sharing(own)
  expect(rows[0]!.missing).toBe('no folder for polyp was given')
  const lesion = rows.filter((r) => r.row.data === 'lesion')
  expect(lesion[2]!.missing).toBeUndefined()
  // Approach B trains what A needs.
  expect(lesion[0]!.jobs).toEqual(lesion[2]!.jobs)
  expect(lesion[0]!.jobs).toEqual(lesion[3]!.jobs)
  expect(own.jobs).toHaveLength(2 * 2 * 3)
  expect(jobs).toHaveLength(2 * 3)
  expect(jobs.map((j) => [j.seed, j.fold, j.settings.fold?.index])).toEqual([
    [1, 1, 0],
    [1, 2, 1],
    [1, 3, 2],
    [2, 1, 0],
    [2, 2, 1],
    [2, 3, 2],
  ])
  // Also where the thesis's eight stacks make the heatmaps.
  const full = { ...scale, full: true, folds: 3, sets: named('fig-4.12').full.sets! } as const
  expect(sharing(planExperiment(named('fig-4.12'), full, new Set(['lesion']))).jobs).toHaveLength(2 * 3)
  // A figure without approach B takes the runs that a table with it left; without any, its own.
  const polar = planExperiment(named('fig-4.11'), { ...scale, sizes: [64], folds: 3 }, new Set(['lesion']))
  const others = jobsOfOthers(polar, { ...scale, sizes: [64], folds: 3 }, new Set(['lesion']))
  const taken = sharing({ ...polar, jobs: [...polar.jobs, ...others] })
  expect(taken.jobs).toEqual(jobs)
  expect(sharing(polar)).toEqual(polar)
  expect(new Set(jobs.map((j) => j.settings.splitSeed))).toEqual(new Set([42]))
  for (const { rows } of EXPERIMENTS) for (const row of rows) expect(unavailable(row)).toBeUndefined()
  expect(unavailable({ method: 'astrology', arm: 'stars' })).toBe('method astrology is not available')
  expect(unavailable({ method: 'polar', arm: 'stars' })).toBe('method polar gives no stars')
})

test('a size that no network takes is refused with the next one', () => {
  const at = { ...scale, sizes: [40] }
  expect(() => planExperiment(named('table-4.1'), at, new Set(['lesion']))).toThrow(
    '--sizes 40: U-Net wants multiples of 16; pass --sizes 48',
  )
})

test('results: means over runs, images averaged over seeds, tests paired by image', () => {
  const experiment = named('table-5.2')
  const at = { ...scale, sizes: [64] }
  const plan = planExperiment(experiment, at, new Set(['cells']))
  const column = (values: number[]) => ({
    dice: values,
    iou: values,
    precision: values,
    recall: values,
    thresholdedJaccard: values,
  })
  const arm = (key: string, values: number[]) => ({
    ...{ key, label: key, ids: values.map((_, i) => `i${i}`), scores: column(values) },
    pixels: { measured: values, truth: values },
    precisionRecall: [{ threshold: 0.5, precision: values[0]!, recall: 1 }],
  })
  const rough = [0.5, 0.6, 0.7, 0.4, 0.3, 0.55]
  const jobs = plan.jobs.map(({ key, seed }, k): JobResult => {
    const better = rough.map((v, i) => v + 0.01 * (i + 1) + 0.1 * k)
    return {
      ...{
        key,
        adapter: 'test',
        seed,
        images: { train: 8, validation: 1, test: 6 },
        layout: 'instances',
        networks: [],
      },
      scored: { cells: [arm('rough', rough), arm('crops', better)] },
      scoringSeconds: 1,
    }
  })
  const { rows, seconds } = resultsOf(experiment, at, plan, jobs)
  expect(seconds).toBe(2)
  const [a, b] = rows.filter((r) => r.data === 'cells')
  expect(a!.scores!.dice).toEqual({ mean: 0.50833, sd: 0 })
  expect(b!.scores!.dice.mean).toBeCloseTo(0.50833 + 0.035 + 0.05, 4)
  expect(b!.scores!.dice.sd).toBeCloseTo(0.1 / Math.SQRT2, 4)
  expect(b!.images!.dice[0]).toBeCloseTo(0.5 + 0.01 + 0.05, 4)
  // Six of six better: 2 / 2⁶.
  expect(b!.test).toMatchObject({ against: a!.label, images: 6, sign: 1, p: 2 / 64 })
  expect(a!.test).toBeUndefined()
  // Images stand alone here; of patients the results keep numbers.
  const whole = resultsOf(experiment, at, plan, jobs)
  expect(withoutPatients(whole)).toEqual(whole)
  const byPatient = whole.rows.map((row) =>
    row.images ? { ...row, images: { ...row.images, ids: ['Ann/1', 'Ann/2', 'Bob/1', 'Ann/3'] } } : row,
  )
  const data = whole.data.map((used) => ({ ...used, layout: 'patients' }))
  const hidden = withoutPatients({ ...whole, rows: byPatient, data }).rows.filter((r) => r.images)
  for (const { images } of hidden)
    expect(images!.ids).toEqual(['patient 1/1', 'patient 1/2', 'patient 2/1', 'patient 1/3'])
})

test('approach B with both networks of heatmaps: one run gives A, a U-Net’s row is tested against three', () => {
  const experiment = named('beyond-heatmap')
  const at = { ...scale, sizes: [64], seeds: [1], sigma: 32 }
  const plan = sharing(planExperiment(experiment, at, new Set(['lesion'])))
  expect(plan.jobs.map(({ settings }) => [settings.heatmapNetwork, settings.sigma])).toEqual([
    [undefined, 32],
    ['unet', 32],
  ])
  const errors = [1, 2, 3, 4, 5, 6]
  const arm = (key: string, by: number) => {
    const values = errors.map((e) => 1 - (by * e) / 10)
    const scores = {
      dice: values,
      iou: values,
      precision: values,
      recall: values,
      thresholdedJaccard: values,
    }
    return {
      ...{ key, label: key, ids: errors.map(String), scores, pixels: { measured: values, truth: values } },
      ...{ precisionRecall: [], originError: errors.map((e) => by * e) },
    }
  }
  const jobs = plan.jobs.map(({ key, seed, settings }): JobResult => {
    const own = arm('polar-b', settings.heatmapNetwork ? 0.5 : 0.8)
    return {
      ...{ key, adapter: 'test', seed, images: { train: 8, validation: 1, test: 6 }, layout: 'flat' },
      ...{ networks: [], scoringSeconds: 1 },
      scored: { lesion: [arm('cartesian', 1.2), arm('polar-truth', 0), arm('polar-a', 1), own] },
    }
  })
  const row = resultsOf(experiment, at, plan, jobs).rows.at(-1)!
  const labels = experiment.rows.map(({ label }) => label)
  expect(row.test).toMatchObject({ against: labels[2], images: 6, sign: 1, p: 2 / 64 })
  expect(row.furtherTests!.map(({ against, medianDifference }) => [against, medianDifference])).toEqual([
    [labels[3], 0.105],
    [labels[0], 0.245],
  ])
})

test('the command that the page names is the one that was run: it parses to the same scale, of all published results', async () => {
  const parse = (line: string): Scale => {
    const [, , id, ...rest] = line.split(' ')
    const command = addReproduceOptions(new Command()).exitOverride()
    command.parse([id!, ...rest], { from: 'user' })
    return scaleOf(command.opts<ReproduceArguments>(), named(id!))
  }
  const folder = new URL('../../docs/results/', import.meta.url)
  for (const name of await readdir(folder)) {
    const results = JSON.parse(await readFile(new URL(name, folder), 'utf8'))
    const line = commandOf(named(results.experiment), results.scale, [])
    expect(parse(line), line).toEqual(results.scale)
  }
  const full = 'fovea reproduce table-5.5 --data dermis=a --full --lr 0.01 --seeds 1 2'
  expect(commandOf(named('table-5.5'), parse(full), [['dermis', 'a']])).toBe(full)
})
