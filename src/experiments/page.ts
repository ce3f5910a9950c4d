import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DataError } from '../gpu/errors.ts'
import { writeFileAtomic } from '../node/atomic.ts'
import { EXPERIMENTS } from './catalogue.ts'
import type { Experiment } from './experiment.ts'
import { agreements, centres, LEVEL, learning, sentenceOf, signed, thesisOf, verdicts } from './findings.ts'
import { commandOf } from './jobs.ts'
import { foldersIn, scaleText, sourcesOf, timeText } from './report.ts'
import type { ExperimentResults } from './results.ts'
import {
  across,
  comparison,
  missingOf,
  outlines,
  pValue,
  quartiles,
  shownRows,
  type TextTable,
} from './tables.ts'

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

/** Results with the experiment that they are of, and the results whose runs they are drawn from. */
interface Part {
  readonly experiment: Experiment
  readonly results: ExperimentResults
  /** Without the rows that were not run. */
  readonly run: ExperimentResults
  readonly of?: string
}

const runsOf = ({ rows }: ExperimentResults): string[] =>
  rows.flatMap(({ runs }) => runs.map(({ key }) => key))

function partsOf(all: readonly ExperimentResults[]): Part[] {
  return all.map((results) => {
    const experiment = EXPERIMENTS.find((e) => e.id === results.experiment)!
    const run = shownRows(results)
    const source = all.find(({ experiment: id }) => id === experiment.of)
    const theirs = new Set(source && runsOf(source))
    const same = source && runsOf(results).every((key) => theirs.has(key))
    return { experiment, results, run, ...(same ? { of: source.experiment } : {}) }
  })
}

function pageOf(all: readonly ExperimentResults[]): string {
  const parts = partsOf(all)
  const ids = new Set(all.map((r) => r.experiment))
  const absent = EXPERIMENTS.filter((e) => !ids.has(e.id)).map((e) => `- ${e.id}: ${e.title}`)
  const seconds = parts.reduce((sum, { of, results }) => sum + (of ? 0 : results.seconds), 0)
  const adapters = [...new Set(all.map((r) => r.adapter))].join('; ')
  return `# Results

The thesis's experiments at small size, on images that stand in for its own where a section says so: small networks, small
inputs, minutes where it took hours. They say whether its **effects** show at this size, not whether its **values** are met.
Each section has its command; \`lesion\` and the like are names of folders, what lies in them is said there.
[Experiments](experiments.md) tells how to run them on your folders, and at full size.

- Adapter: ${adapters}. ${timeText(seconds)} of training and scoring in all.
- Scores are means over held-out images, taken in the space of the image: of the mask that a user gets. The thesis scored
  single-object polar predictions in polar space; a column of that name stands beside ours. Experiments beyond the thesis try what
  its last chapter proposes; it has no numbers of them.
- ± is the standard deviation over runs (seeds or folds). Held-out images were scored once,
  after all trainings, unless a section says otherwise.
- "Origin error": the distance of the polar origin from the truth's centre of mass, in px of the networks' input. Distances between outlines
  are in px of the images as they were scored, in chapter 4 as large as that input.
- p in a table is that of the row's test against the row that the first line about it, below the table, names.
- "Held": the difference has the thesis's sign and p < ${LEVEL} by Wilcoxon's signed-rank test, paired by image (of several seeds,
  an image's mean). "Not shown": p is larger. Slices of one patient and images of one microscope are not independent, so p is
  a guide and no more. Nothing is corrected for the number of tests.

This page is written by \`fovea reproduce --page docs/results.md\` from the JSON files in [results](results/); do not edit it.

${summary(parts)}
${parts.map(section).join('\n')}${absent.length > 0 ? `\n## Not run\n\n${absent.join('\n')}\n` : ''}`
}

const cell = (text: string): string => text.replaceAll('|', '\\|').replace(/(^| )-(?=\d)/g, '$1−')
const line = (cells: readonly string[]): string => `| ${cells.map(cell).join(' | ')} |`

/** Numbers to the right, words to the left. */
function markdown({ columns, rows }: TextTable): string {
  const isNumber = (text: string): boolean => /^([−+<-]? ?\d[^a-z]*$|–$)/.test(text)
  const rule = columns.map((_, i) => (i > 0 && rows.every((row) => isNumber(row[i]!)) ? '---:' : '---'))
  return [line(columns), line(rule), ...rows.map(line)].join('\n')
}

/** Every effect that the thesis gives numbers for, in one table; of tables without such numbers every one that is theirs. */
function summary(parts: readonly Part[]): string {
  const rows = parts.flatMap(({ experiment, run }) => {
    const all = verdicts(experiment, run).filter(({ arm }) => !experiment.references?.includes(arm))
    const known = all.filter(({ thesis }) => thesis !== undefined)
    const shown = known.length > 0 || experiment.id.startsWith('fig-') ? known : all
    return shown.map((verdict) => {
      const { label, against, folders, difference, score, p, outcome } = verdict
      const link = `[${experiment.id}](#${anchorOf(experiment)})`
      const ours = `${signed(difference)} ${score}`
      return [link, `${label}, against ${against}`, folders, thesisOf(verdict), ours, pValue(p), outcome]
    })
  })
  const columns = ['experiment', 'effect', 'our images', 'thesis', 'ours', 'p', 'outcome']
  return rows.length === 0 ? '' : `## In short\n\n${markdown({ title: '', columns, rows })}\n`
}

const heading = ({ id, title }: Experiment): string => `${id}: ${title}`

/** As GitHub makes it of the heading. */
const anchorOf = (experiment: Experiment): string =>
  heading(experiment)
    .toLowerCase()
    .replace(/[^\p{L}\p{N} _-]/gu, '')
    .replaceAll(' ', '-')

function section({ experiment, results, run, of }: Part): string {
  const about = of
    ? [`From the runs of ${of}.`]
    : [
        `${scaleText(results)} It took ${timeText(results.seconds)}.`,
        ...sourcesOf(results).map(([key, text]) => `- ${key}: ${text}`),
        ...(results.note ? [`- ${results.note}`] : []),
      ]
  const sentences =
    of && !experiment.figures.includes('share') ? [] : verdicts(experiment, run).map(sentenceOf)
  const missing = of ? [] : missingOf(results).map((text) => `Not run: ${text}.`)
  const notes = [...sentences, ...missing].map((text) => `- ${text}`)
  const command = of
    ? ''
    : `\n\`\`\`sh\n${commandOf(experiment, results.scale, foldersIn(results))}\n\`\`\`\n`
  return `## ${heading(experiment)}

${about.join('\n').replace('\n- ', '\n\n- ')}
${command}
${tablesOf(experiment, run, of !== undefined)
  .filter(({ rows }) => rows.length > 0)
  .map((table, i) => (i === 0 && !of ? markdown(table) : `${bare(table.title)}:\n\n${markdown(table)}`))
  .join('\n\n')}
${notes.length > 0 ? `\n${notes.join('\n')}\n` : ''}`
}

/** A title below the heading that names the experiment already. */
const bare = (title: string): string =>
  title.replace(/^[\w.-]+: /, '').replace(/^[a-z]/, (letter) => letter.toUpperCase())

/** A table in full; of a figure what it shows, as numbers. */
function tablesOf(experiment: Experiment, run: ExperimentResults, drawn: boolean): TextTable[] {
  const { figures, points } = experiment
  if (points) return [across(experiment, run, 'points')]
  if (figures.includes('share')) return [across(experiment, run, 'share')]
  if (!drawn) return [comparison(experiment, run), ...outlines(experiment, run)]
  return figures.flatMap((figure) => {
    if (figure === 'learning-curves') return [learning(run)]
    if (figure === 'centre-error') return [centres(run)]
    if (figure === 'bland-altman') return [agreements(run)]
    if (figure === 'violins') return [quartiles(experiment, run)]
    return figure === 'size' ? [across(experiment, run, 'size')] : []
  })
}
