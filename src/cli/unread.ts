import { DataError } from '../gpu/errors.ts'

/** Reasons that are printed; the rest is counted. */
const SHOWN = 5

/** Files of many that cannot be read: the others are worked through all the same, and these are told at the end. */
export class Unread {
  readonly #reasons: string[] = []

  /** What `read` gives; undefined where the file is to blame. Other errors pass. */
  async read<R>(read: () => Promise<R>): Promise<R | undefined> {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof DataError)) throw error
      this.#reasons.push(error.message)
      return undefined
    }
  }

  /** Throws a DataError where there were some: the reason itself if nothing could be read. */
  refuse(files: number, out: string): void {
    const { length } = this.#reasons
    if (length === 0) return
    if (files === 1) throw new DataError(this.#reasons[0]!)
    // A batch is read side by side, in no order.
    this.#reasons.sort(new Intl.Collator('en', { numeric: true }).compare)
    const shown = this.#reasons.slice(0, SHOWN).join('\n  ')
    const more = length > SHOWN ? `\n  and ${length - SHOWN} more` : ''
    const others = length === files ? '' : `; those of the others are in ${out}`
    throw new DataError(
      `${length} of ${files} files cannot be read and have no mask${others}:\n  ${shown}${more}`,
    )
  }
}
