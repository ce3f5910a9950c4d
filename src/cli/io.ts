import { Interrupted } from '../runs/host.ts'

/** Where a command reads its interruption and writes its text. Tests pass their own. */
export interface Io {
  /** Standard output: results, and nothing but JSON with --json. */
  out(text: string): void
  /** Standard error: progress and messages. */
  err(text: string): void
  /** True where standard error is a terminal that can redraw a line. */
  readonly terminal: boolean
  /** Aborted by Ctrl-C. */
  readonly signal: AbortSignal
}

/** Exit codes of every command. */
export const EXIT = { ok: 0, error: 1, usage: 2, interrupted: 130 } as const

/**
 * This process's own streams. The first Ctrl-C (or SIGTERM) asks the command to end with a usable checkpoint,
 * the second kills.
 */
export function hostIo(): Io {
  const controller = new AbortController()
  const signals = ['SIGINT', 'SIGTERM'] as const
  const stop = (): void => {
    for (const signal of signals) process.off(signal, stop)
    controller.abort()
  }
  for (const signal of signals) process.on(signal, stop)
  return {
    out: (text) => process.stdout.write(text),
    err: (text) => process.stderr.write(text),
    terminal: process.stderr.isTTY === true,
    signal: controller.signal,
  }
}

/**
 * What `work` gives. Throws Interrupted at Ctrl-C without waiting for it: for work that keeps nothing that could be spoilt.
 */
export async function unlessInterrupted<T>({ signal }: Io, work: Promise<T>, message: string): Promise<T> {
  let stop = () => {}
  const stopped = new Promise<never>((_, reject) => {
    stop = () => reject(new Interrupted(message))
  })
  signal.addEventListener('abort', stop)
  if (signal.aborted) stop()
  try {
    return await Promise.race([work, stopped])
  } finally {
    signal.removeEventListener('abort', stop)
  }
}
