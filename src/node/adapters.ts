import { AdapterError } from '../gpu/errors.ts'
import { fasterAdvice, installAdvice } from './advice.ts'
import {
  type Candidate,
  desktopCandidates,
  linuxCandidates,
  type Opened,
  provideLoader,
} from './candidates.ts'
import { type AdapterKind, adapterKind, adapterTitle, openDawn, refuseNull, UNSAFE } from './dawn.ts'
import { findSwiftShader, unpackSwiftShader } from './swiftshader.ts'
import { installedDrivers } from './vulkan.ts'

/** `'auto'`, a group of kinds, a kind, or a part of an adapter's own name. */
export type AdapterChoice = 'auto' | 'hardware' | 'software' | AdapterKind | (string & {})

export interface FoundAdapter extends Opened {
  readonly kind: AdapterKind
  /** Why this one, as a sentence. */
  readonly reason: string
}

/** One line of `fovea devices`. */
interface AdapterReportEntry {
  readonly kind: AdapterKind
  readonly source: string
  readonly found: boolean
  /** The adapter's name where it was found, else why not. */
  readonly detail: string
  readonly chosen: boolean
}

export interface AdapterReport {
  /** Such as `linux-x64`. */
  readonly platform: string
  /** What was asked for, `FOVEA_ADAPTER` included. */
  readonly requested: string
  readonly entries: readonly AdapterReportEntry[]
  /** Which adapter a program gets now and why; or why it gets none. */
  readonly reason: string
  /** How to get a faster one, or any. */
  readonly hint: string
}

const SOFTWARE: readonly AdapterKind[] = ['lavapipe', 'swiftshader', 'warp']
const KINDS: readonly AdapterKind[] = ['hardware', ...SOFTWARE]

/** The kinds that a choice admits; undefined where it is a part of an adapter's name. */
function kindsOf(choice: string): readonly AdapterKind[] | undefined {
  if (choice === 'auto') return KINDS
  if (choice === 'software') return SOFTWARE
  const kind = KINDS.find((k) => k === choice)
  return kind && [kind]
}

/** What is asked for: an explicit choice other than `'auto'`, else `FOVEA_ADAPTER`, else `'auto'`. */
export function adapterChoice(choice: string | undefined, env: NodeJS.ProcessEnv = process.env): string {
  const explicit = choice === undefined || choice === 'auto' ? undefined : choice
  return explicit ?? (env.FOVEA_ADAPTER || 'auto')
}

const candidates = (dawn: readonly string[] = []): Candidate[] =>
  process.platform === 'linux' ? linuxCandidates(dawn) : desktopCandidates(process.platform, dawn)

/** Opens a candidate and holds it to its kind; a sentence where it is not to be had. */
async function tryCandidate(candidate: Candidate): Promise<Opened | string> {
  try {
    const opened = await candidate.open()
    if (typeof opened === 'string') return opened
    const kind = adapterKind(opened.adapter.info)
    return kind === candidate.kind
      ? opened
      : `${adapterTitle(opened.adapter.info)} is ${kind}, not ${candidate.kind}`
  } catch (error) {
    return (error as Error).message
  }
}

/** Choosing drivers goes through the process' environment, so one search at a time. */
let queue: Promise<unknown> = Promise.resolve()
function oneAtATime<T>(body: () => Promise<T>): Promise<T> {
  const result = queue.then(body)
  queue = result.catch(() => {})
  return result
}

async function findByKind(
  choice: string,
  kinds: readonly AdapterKind[],
  dawn: readonly string[],
  log: (line: string) => void,
) {
  const passed: string[] = []
  for (const candidate of candidates(dawn).filter((c) => kinds.includes(c.kind))) {
    const askedByName = choice === candidate.kind && candidate.kind === 'hardware'
    const opened =
      candidate.absent !== undefined && !askedByName ? candidate.absent : await tryCandidate(candidate)
    if (typeof opened === 'string') {
      passed.push(`${candidate.kind}: ${candidate.absent ?? opened}`)
      log(`adapter ${passed.at(-1)}`)
      continue
    }
    const title = adapterTitle(opened.adapter.info)
    const others = passed.length > 0 ? `; passed over ${passed.join('; ')}` : ''
    const reason = `${title} is the fastest adapter found for '${choice}' (${candidate.kind})${others}`
    log(`adapter ${candidate.kind}: ${title}`)
    return { ...opened, kind: candidate.kind, reason }
  }
  const tried = passed.length > 0 ? passed.join('; ') : `${process.platform} has no such kind`
  throw new AdapterError(`no adapter for '${choice}'. Tried: ${tried}. ${installAdvice()}`)
}

async function findByName(name: string, dawn: readonly string[]): Promise<FoundAdapter> {
  let manifests: string[] | undefined
  if (process.platform === 'linux') {
    const missing = await provideLoader()
    if (missing) throw new AdapterError(`no adapter can be opened: ${missing}. ${installAdvice()}`)
    manifests = installedDrivers().map((d) => d.manifest)
    const archive = findSwiftShader()
    if (typeof archive !== 'string') manifests.push((await unpackSwiftShader(archive)).manifest)
  }
  try {
    const { gpu, adapter } = await openDawn([`adapter=${name}`, ...dawn], manifests, {})
    if (!adapter) throw new Error('')
    return { gpu, adapter, kind: adapterKind(adapter.info), reason: `asked for by its name, '${name}'` }
  } catch (error) {
    if (error instanceof AdapterError) throw error
    const offered = [...String((error as Error).message).matchAll(/name: '([^']*)'/g)].map((m) => `'${m[1]}'`)
    throw new AdapterError(
      `no adapter is named '${name}'; choose auto, software, ${KINDS.join(', ')}` +
        (offered.length > 0 ? ` or a part of one of these names: ${offered.join(', ')}` : ''),
      { cause: error },
    )
  }
}

/**
 * Finds a GPU for a Node program. `'auto'` takes the fastest there is: a graphics processor, then on Linux
 * lavapipe, then SwiftShader, which fovea unpacks itself without root. `FOVEA_ADAPTER` stands in for
 * `'auto'`.
 * Throws an `AdapterError` that says what was tried and what to install; the null backend is refused.
 */
export async function findAdapter(
  options: {
    adapter?: AdapterChoice | undefined
    /** Show experimental features of the adapter, too. */
    experimental?: boolean
    log?: ((line: string) => void) | undefined
  } = {},
): Promise<FoundAdapter> {
  const choice = adapterChoice(options.adapter)
  if (/^null([- ]backend)?$/i.test(choice)) refuseNull(choice)
  const kinds = kindsOf(choice)
  const dawn = options.experimental ? [UNSAFE] : []
  return oneAtATime(() =>
    kinds ? findByKind(choice, kinds, dawn, options.log ?? (() => {})) : findByName(choice, dawn),
  )
}

/** What a name may be a part of, as a sentence. */
function nameAdvice(found: readonly { readonly title: string }[]): string {
  const names = found.flatMap(({ title }) => (title === '' ? [] : [`'${title}'`]))
  return (
    `Choose auto, software, ${KINDS.join(', ')}` +
    (names.length > 0 ? ` or a part of one of these names: ${names.join(', ')}.` : '.')
  )
}

/**
 * Looks at every place where an adapter may be and says what is there, what is chosen, and how to get a
 * faster one. Rejects only where Dawn itself cannot be asked.
 */
export function listAdapters(options: { adapter?: AdapterChoice | undefined } = {}): Promise<AdapterReport> {
  const requested = adapterChoice(options.adapter)
  return oneAtATime(async () => {
    const found: (Omit<AdapterReportEntry, 'chosen'> & { title: string })[] = []
    for (const candidate of candidates()) {
      const opened = candidate.absent ?? (await tryCandidate(candidate))
      const title = typeof opened === 'string' ? '' : adapterTitle(opened.adapter.info)
      const detail = typeof opened === 'string' ? opened : title
      found.push({ kind: candidate.kind, source: candidate.source, found: title !== '', detail, title })
    }
    const kinds = kindsOf(requested)
    const chosen = found.find(
      (e) =>
        e.found && (kinds ? kinds.includes(e.kind) : e.title.toLowerCase().includes(requested.toLowerCase())),
    )
    return {
      platform: `${process.platform}-${process.arch}`,
      requested,
      entries: found.map(({ title: _, ...entry }) => ({ ...entry, chosen: entry.kind === chosen?.kind })),
      reason: chosen
        ? `'${requested}' takes ${chosen.kind} (${chosen.detail}), the fastest that fits`
        : `nothing here fits '${requested}'`,
      hint: chosen ? fasterAdvice(chosen.kind) : kinds ? installAdvice() : nameAdvice(found),
    }
  })
}
