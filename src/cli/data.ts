import type { Command } from 'commander'
import { DataError } from '../gpu/errors.ts'
import { checkFolder, type FolderCheck } from '../node/known/check.ts'
import type { Io } from './io.ts'

/** Problems that are printed; the rest is counted. */
const SHOWN = 10

/** `fovea data`: what lies in a folder. */
export function dataCommand(program: Command, io: Io): void {
  const data = program.command('data').description('look at folders of images')
  data
    .command('check')
    .description(
      'tell what a folder holds: which data set or layout, counts, sizes, patients, what is missing',
    )
    .argument('<folder>')
    .option('--json', 'print it as JSON on standard output')
    .addHelpText(
      'after',
      `
Recognised as distributed: CVC-ClinicDB, ISIC 2018 task 1, LiTS, Cardiac Fat, AVT, 2018 Data Science Bowl stage 1,
Kvasir-SEG, DermIS and DermQuest. And plain folders of images and masks.
Of scans the headers are read: a segmentation whose sizes, spacing, orientation or position differ from its scan's is
told, where that moves a corner by more than a tenth of the smallest voxel side.
Code 2 where there are problems: fovea train refuses such a folder. A part of a data set is no problem.

Example:
  fovea data check downloads/Kvasir-SEG`,
    )
    .action(async (folder: string, args: { json?: boolean }) => {
      const check = await checkFolder(folder)
      io.out(args.json ? `${JSON.stringify(check, null, 2)}\n` : `${printed(check)}\n`)
      const { length } = check.problems
      if (length > 0)
        throw new DataError(
          `${folder}: ${length} ${length === 1 ? 'problem' : 'problems'}; fovea train refuses the folder until mended`,
        )
    })
}

function printed(check: FolderCheck): string {
  const { title, layout, images, groups, scans, sizes, collections, problems, leftOut, full, missing } = check
  const lines = [`${title} (layout ${layout})`]
  if (scans !== undefined) lines.push(`scans     ${scans}`)
  else lines.push(`images    ${images}`)
  if (groups !== undefined) lines.push(`patients  ${groups}`)
  for (const [name, count] of Object.entries(collections)) lines.push(`${name.padEnd(10)}${count}`)
  const shown = sizes.slice(0, 5).map((s) => `${s.width}×${s.height} (${s.count})`)
  if (shown.length > 0)
    lines.push(
      `sizes     ${shown.join(', ')}${sizes.length > 5 ? ` and ${sizes.length - 5} more` : ''} px, width×height`,
    )
  lines.push(
    `missing   ${missing > 0 ? `${missing} of the ${full!.count} ${full!.of} as published` : 'nothing'}`,
  )
  lines.push(...leftOut)
  lines.push(problems.length === 0 ? 'problems  none' : `problems  ${problems.length}:`)
  for (const problem of problems.slice(0, SHOWN)) lines.push(`  ${problem}`)
  if (problems.length > SHOWN) lines.push(`  and ${problems.length - SHOWN} more`)
  return lines.join('\n')
}
