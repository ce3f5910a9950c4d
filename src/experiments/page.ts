import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError } from '../gpu/errors.ts'
import { writeFileAtomic } from '../node/atomic.ts'
import { ELSEWHERE, EXPERIMENTS } from './catalogue.ts'
import { type Experiment, SCORE_TITLES } from './experiment.ts'
import { scaleText, timeText } from './report.ts'
import type { ExperimentResults, RowResult } from './results.ts'
import { blandAltman, pearson } from './statistics.ts'
import { comparison, labelsOf, missingOf, pValue } from './tables.ts'

/** Differences at this level are called differences. */
const LEVEL = 0.05

/**
 * Writes one page of Markdown from the JSON files of experiments.
 *
 * @returns how many experiments there were
 * @throws DataError when the folder cannot be read, holds none, or a file is no results of an experiment
 */
export async function writeResultsPage(path: string, folder: string): Promise<number> {
  const names = await readdir(folder).catch((cause: Error) => {
    throw new DataError(`${folder}: cannot be read (${cause.message}); --results wants a folder of results`, {
      cause,
    })
  })
  const files = names.filter((name) => name.endsWith('.json')).sort()
  if (files.length === 0)
    throw new DataError(`${folder}: holds no results; copy the JSON files of fovea reproduce there`)
  const all = await Promise.all(files.map((name) => readResults(join(folder, name))))
  const place = ({ experiment }: ExperimentResults): number =>
    EXPERIMENTS.findIndex((e) => e.id === experiment)
  all.sort((a, b) => place(a) - place(b))
  await writeFileAtomic(path, pageOf(all))
  return all.length
}

async function readResults(file: string): Promise<ExperimentResults> {
  const text = await readFile(file, 'utf8')
  let results: Partial<ExperimentResults>
  try {
    results = JSON.parse(text) as typeof results
  } catch (cause) {
    throw new DataError(`${file}: is no JSON; restore it, or run the experiment again`, { cause })
  }
  if (results.fovea !== 1 || !EXPERIMENTS.some((e) => e.id === results.experiment))
    throw new DataError(`${file}: holds no results of an experiment of this version of fovea`)
  return results as ExperimentResults
}

function pageOf(all: readonly ExperimentResults[]): string {
  const ids = new Set(all.map((r) => r.experiment))
  const absent = EXPERIMENTS.filter((e) => !ids.has(e.id)).map((e) => `${e.id}: ${e.title}`)
  const minutes = Math.round(all.reduce((sum, r) => sum + r.seconds, 0) / 60)
  const adapters = [...new Set(all.map((r) => r.adapter))].join('; ')
  return `# Results

Written by \`fovea reproduce --page docs/results.md\` from the JSON files in [results](results/), which \`fovea reproduce ID\`
wrote. Do not edit it.

Every experiment here ran at small size, on stand-ins for the thesis's data, for minutes where the thesis took hours: the
numbers say whether its *effects* show at this size, not whether its *values* are met. Adapter: ${adapters}; experiments
that share runs count them each, ${minutes} min in all. Scores are of held-out images in the space of the image, what a user gets;
the thesis scored single-object polar predictions in polar space, and a column of that name stands beside them.
Images of held-out parts were scored once, after all trainings. "Held" below means: the difference has the thesis's sign and
p < ${LEVEL} by Wilcoxon's signed-rank test, paired by image; of several seeds an image's mean is tested. Slices of one patient and
images of one microscope are not independent, so p is a guide and no more.

${all.map(section).join('\n')}
## Not run

${absent.map((text) => `- ${text}`).join('\n')}
${Object.entries(ELSEWHERE)
  .map(([id, sentence]) => `- ${id}: ${sentence}`)
  .join('\n')}
`
}

const cell = (text: string): string => text.replaceAll('|', '\\|')
const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`

function section(results: ExperimentResults): string {
  const experiment = EXPERIMENTS.find((e) => e.id === results.experiment)!
  const run: ExperimentResults = { ...results, rows: results.rows.filter((row) => !row.missing) }
  const { columns, rows } = comparison(experiment, run)
  const sets = results.data.flatMap(({ key, title, images }) =>
    images
      ? [
          `${key} (for ${title}): ${images.train} training, ${images.validation} validation, ${images.test} held-out images a run`,
        ]
      : [],
  )
  const notes = [
    ...verdicts(experiment, run),
    ...agreements(experiment, run),
    ...centres(experiment, run),
    ...missingOf(results).map((text) => `Not run: ${text}.`),
  ]
  return `## ${results.experiment}: ${results.title}

${scaleText(results)} ${timeText(results.seconds)}.${sets.length > 0 ? ` ${sets.join('; ')}.` : ''}

${line(columns)}
${line(columns.map((_, i) => (i === 0 ? '---' : '---:')))}
${rows.map(line).join('\n')}
${notes.length > 0 ? `\n${notes.map((t) => `- ${t}`).join('\n')}\n` : ''}`
}

/** What held and what did not, a sentence a tested row. */
function verdicts({ scores, polarSpace }: Experiment, { rows }: ExperimentResults): string[] {
  const labels = labelsOf(rows)
  const name = scores[0]!
  return rows.flatMap((row, i) => {
    const { test } = row
    if (!test) return []
    const base = baselineOf(rows, row)
    const [ours, theirs] = [row.scores![name].mean, base?.scores?.[name].mean]
    if (theirs === undefined) return []
    const [a, b] = [row.thesis[name]?.value, base?.thesis[name]?.value]
    const difference = ours - theirs
    const text = `${labels[i]}: ${signed(difference)} ${SCORE_TITLES[name]} against ${test.against} (p ${pValue(test.p).replace(/^(?!<)/, '= ')}, ${test.images} images)`
    if (a === undefined || b === undefined)
      return [`${text}; ${test.p < LEVEL ? (difference > 0 ? 'better' : 'worse') : 'no difference shown'}`]
    const held =
      test.p < LEVEL
        ? difference > 0 === a > b
          ? 'held'
          : 'the opposite of the thesis'
        : 'not shown at this size'
    return [`${text}; the thesis has ${signed(a - b)}${polarSpace ? ' in polar space' : ''}: ${held}`]
  })
}

/** The row that a test names, of the same data, network, size and share. */
const baselineOf = (rows: readonly RowResult[], { test, data, on, network, size, share }: RowResult) =>
  rows.find(
    (r) =>
      r.label === test!.against &&
      r.data === data &&
      r.on === on &&
      r.network === network &&
      r.size === size &&
      r.share === share,
  )

const signed = (v: number): string => `${v < 0 ? '−' : '+'}${Math.abs(v).toFixed(3)}`

function agreements({ figures }: Experiment, { rows }: ExperimentResults): string[] {
  if (!figures.includes('bland-altman')) return []
  return rows.flatMap(({ label, images }) => {
    if (!images || images.ids.length < 2) return []
    const { bias, limits } = blandAltman(images.measured, images.truth)
    return [
      `${label}: pixels an image against truth, Pearson's r ${pearson(images.measured, images.truth).toFixed(3)}, bias ${bias.toFixed(1)}, limits of agreement ${limits[0].toFixed(1)} to ${limits[1].toFixed(1)}`,
    ]
  })
}

function centres({ figures }: Experiment, { rows }: ExperimentResults): string[] {
  if (!figures.includes('centre-error')) return []
  return rows.flatMap(({ label, arm, images }) => {
    const errors = images?.originError
    if (!errors || errors.length < 2 || arm.endsWith('truth')) return []
    return [
      `${label}: error of the centre against DSC, Pearson's r ${pearson(errors, images.dice).toFixed(3)}`,
    ]
  })
}
