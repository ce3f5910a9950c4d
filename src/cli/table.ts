import { type DataResult, scoreTables } from '../runs/results.ts'

/** A table of plain text: columns as wide as their longest cell, numbers to the right. */
export function formatTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)))
  const right = columns.map((_, i) => rows.length > 0 && rows.every((row) => /^[\d–-]/.test(row[i]!)))
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, i) => (right[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join('  ')
      .trimEnd()
  return [line(columns), widths.map((n) => '─'.repeat(n)).join('  '), ...rows.map(line), ''].join('\n')
}

/** The tables of one data set of a run. */
export const printedTables = (result: DataResult): string =>
  scoreTables(result)
    .map((t) => `${t.title}\n${formatTable(t.columns, t.rows)}`)
    .join('\n')
