import { FoveaError } from './errors.ts'

/**
 * Reads from a kernel's WGSL what its launches need: bindings, uniform layout, overrides, entry points.
 * The WGSL is the single source: TypeScript never repeats a binding number or a uniform offset.
 */

export type Access = 'uniform' | 'read' | 'read_write'

export interface Binding {
  readonly name: string
  readonly index: number
  readonly access: Access
  /** An array of `elem` or `elem4`, or of an alias of them: it may hold half-precision values. */
  readonly elem: boolean
}

export type ScalarType = 'u32' | 'i32' | 'f32'

export interface ParamField {
  readonly name: string
  readonly type: ScalarType
  /** Byte offset in the uniform buffer. */
  readonly offset: number
}

export interface EntryPoint {
  readonly name: string
  /** The bindings that the entry point reaches, directly or through functions it calls. */
  readonly bindings: readonly Binding[]
  /** Names that it uses, directly or through functions it calls. */
  readonly reaches: ReadonlySet<string>
  /** `@workgroup_size` as written: literals, or names of overrides and constants. */
  readonly workgroupSize: readonly string[]
}

export interface WgslMetadata {
  readonly bindings: readonly Binding[]
  readonly params: readonly ParamField[]
  readonly overrides: ReadonlyMap<string, { readonly type: string; readonly default: string | undefined }>
  readonly constants: ReadonlyMap<string, string>
  readonly entries: ReadonlyMap<string, EntryPoint>
}

interface FunctionSource {
  readonly name: string
  readonly head: string
  readonly body: string
}

/** Text with comments blanked out; line numbers stay. */
export function withoutComments(source: string): string {
  return source
    .replace(/\/\*[\s\S]*?\*\//g, (c) => c.replace(/[^\n]/g, ' '))
    .replace(/\/\/[^\n]*/g, (c) => ' '.repeat(c.length))
}

function bodyEnd(text: string, open: number): number {
  let depth = 0
  for (let i = open; i < text.length; i++) {
    if (text[i] === '{') depth++
    else if (text[i] === '}' && --depth === 0) return i + 1
  }
  return text.length
}

function functionsOf(text: string): FunctionSource[] {
  const found: FunctionSource[] = []
  const pattern = /((?:@\w+(?:\([^)]*\))?\s*)*)fn\s+(\w+)\s*\(/g
  for (let m = pattern.exec(text); m; m = pattern.exec(text)) {
    const open = text.indexOf('{', pattern.lastIndex)
    if (open < 0) break
    const end = bodyEnd(text, open)
    found.push({ name: m[2]!, head: m[1]!, body: text.slice(open, end) })
    pattern.lastIndex = end
  }
  return found
}

/** Identifiers of a body, members (`id.x`) left out. A local must not bear the name of a binding it does not use. */
const identifiers = (body: string): Set<string> => new Set(body.match(/(?<![.\w])[A-Za-z_]\w*/g) ?? [])

/** Names that `start` reaches through the functions it calls. */
function reach(start: FunctionSource, functions: Map<string, FunctionSource>): Set<string> {
  const seen = new Set<string>()
  const stack = [start]
  for (let f = stack.pop(); f; f = stack.pop()) {
    for (const name of identifiers(f.body)) {
      if (seen.has(name)) continue
      seen.add(name)
      const callee = functions.get(name)
      if (callee) stack.push(callee)
    }
  }
  return seen
}

function paramsOf(file: string, text: string): ParamField[] {
  const struct = /struct\s+Params\s*\{([^}]*)\}/.exec(text)
  if (!struct) return []
  return struct[1]!
    .split(',')
    .map((line) => line.trim())
    .filter((line) => line !== '')
    .map((line, i) => {
      const field = /^(\w+)\s*:\s*(u32|i32|f32)$/.exec(line)
      if (!field) throw new FoveaError(`${file}: Params may hold u32, i32 and f32 only, found '${line}'`)
      return { name: field[1]!, type: field[2] as ScalarType, offset: 4 * i }
    })
}

/** Parses the subset of WGSL that kernels declare themselves with. Throws a FoveaError that names `file`. */
export function parseWgsl(file: string, source: string): WgslMetadata {
  const text = withoutComments(source)
  const elems = ['elem4?', ...[...text.matchAll(/^alias (\w+) = elem4?;/gm)].map((m) => m[1])].join('|')
  const holdsElems = new RegExp(`^array<(${elems})\\b`)
  const bindings = [
    ...text.matchAll(
      /@group\(0\)\s*@binding\((\d+)\)\s*var<\s*(\w+)\s*(?:,\s*(\w+)\s*)?>\s*(\w+)\s*:\s*([^;]+);/g,
    ),
  ].map((m): Binding => {
    const access = m[2] === 'uniform' ? 'uniform' : m[3] === 'read_write' ? 'read_write' : 'read'
    return { name: m[4]!, index: Number(m[1]), access, elem: holdsElems.test(m[5]!) }
  })
  const overrides = new Map(
    [...text.matchAll(/override\s+(\w+)\s*(?::\s*(\w+))?\s*(?:=\s*([^;]+))?;/g)].map(
      (m) => [m[1]!, { type: m[2] ?? 'u32', default: m[3]?.trim() }] as const,
    ),
  )
  const constants = new Map(
    [...text.matchAll(/^const\s+(\w+)\s*(?::\s*\w+)?\s*=\s*(\d+)u?\s*;/gm)].map(
      (m) => [m[1]!, m[2]!] as const,
    ),
  )
  const functions = new Map(functionsOf(text).map((f) => [f.name, f] as const))
  const entries = new Map<string, EntryPoint>()
  for (const f of functions.values()) {
    if (!f.head.includes('@compute')) continue
    const size = /@workgroup_size\(([^)]*)\)/.exec(f.head)?.[1] ?? '1'
    const reaches = reach(f, functions)
    entries.set(f.name, {
      name: f.name,
      bindings: bindings.filter((b) => reaches.has(b.name)),
      reaches,
      workgroupSize: size
        .split(',')
        .map((s) => s.trim())
        .filter((s) => s !== ''),
    })
  }
  if (entries.size === 0) throw new FoveaError(`${file}: no @compute entry point found`)
  return { bindings, params: paramsOf(file, text), overrides, constants, entries }
}

/** Writes `values` into `view` at `base` as the uniform layout says. Every field must be given, and no other. */
export function packParams(
  where: string,
  fields: readonly ParamField[],
  values: Readonly<Record<string, number>>,
  view: DataView,
  base: number,
): void {
  let used = 0
  for (const { name, type, offset } of fields) {
    const value = values[name]
    if (value === undefined) throw new FoveaError(`${where}: parameter '${name}' is missing`)
    used++
    if (type === 'f32') view.setFloat32(base + offset, value, true)
    else if (type === 'i32') view.setInt32(base + offset, value, true)
    else view.setUint32(base + offset, value, true)
  }
  if (used !== Object.keys(values).length) {
    const extra = Object.keys(values).filter((k) => !fields.some((f) => f.name === k))
    throw new FoveaError(`${where}: unknown parameter ${extra.join(', ')}`)
  }
}
