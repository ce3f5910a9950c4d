// Kernels for the browser bundle: without comments and spaces, and with short names for what is private to them.
//
// Names have to be the same in all kernels, since some are put together from parts, and since gzip finds what recurs.
// Renamed are functions that are no entry points, their parameters, structs, their fields, constants and variables. What
// TypeScript speaks of by name stays: bindings, overrides, entry points, Params and its fields, aliases.
import { readdirSync } from 'node:fs'
import { readKernel } from './wgsl.mjs'

/**
 * A kernel's text without comments, line breaks and the spaces around punctuation. A space stays where two operators meet, lest
 * they become another token; aliases stay as they are written, since half precision exchanges them. They begin a line, as
 * constants do, by which `parseWgsl` finds them.
 */
const tighten = (text) =>
  text
    .replace(/\/\*[\s\S]*?\*\//g, '')
    .replace(/[ \t]*\/\/[^\n]*/g, '')
    .replace(/\n\s+/g, '\n')
    .replace(/^(?!alias ).*$/gm, (line) =>
      line
        .replace(/ ?([{}()[\],;:]) ?/g, '$1')
        .replace(/(?<=[\w\])]) ?(<<|>>|&&|\|\||[-+*/%&|^=!<>]=|->|[-+*/%=<>&|^]) ?(?=[\w(])/g, '$1'),
    )
    .replace(/\n(?!alias |const )/g, '')
    .replace(/,(?=[)}\]])/g, '')

const found = (texts, pattern) =>
  new Set(texts.flatMap((text) => [...text.matchAll(pattern)].map((m) => m[1])))

/** Names but for fields (behind a dot), attributes (behind an @) and what `@builtin` asks for. */
const NAME = /(?<![.\w@]|@builtin\()[A-Za-z_]\w*/g

/** Names in the order in which they get short ones: those that `pattern` finds most often in foremost texts, then in the others. */
function ranked(names, texts, foremost, pattern) {
  const counts = new Map([...names].map((name) => [name, 0]))
  for (const text of texts) {
    const weight = foremost.has(text) ? 1_000_000 : 1
    for (const [whole, name = whole] of text.matchAll(pattern))
      if (counts.has(name)) counts.set(name, counts.get(name) + weight)
  }
  return [...counts.keys()].sort((a, b) => counts.get(b) - counts.get(a) || (a < b ? -1 : 1))
}

/** Short names by long ones. */
function shortNames(texts, foremost) {
  const functions = found(texts, /\bfn (\w+)/g)
  const parameters = texts.flatMap((text) =>
    [...text.matchAll(/\bfn \w+\(([^{]*)\{/g)].flatMap((m) => [...m[1].matchAll(/(\w+):/g)].map((p) => p[1])),
  )
  const structs = found(texts, /\bstruct (\w+)/g)
  const values = found(texts, /\b(?:let|const|var(?:<\w+>)?) (\w+)/g)
  const candidates = new Set([...functions, ...parameters, ...structs, ...values])
  const kept = [
    found(texts, /@compute[^{]*?\bfn (\w+)/g),
    found(texts, /@binding\(\d+\)\s*var<[^>]*> ?(\w+)/g),
    found(texts, /\boverride (\w+)/g),
    found(texts, /\balias (\w+)/g),
    new Set(['Params']),
  ]
  // What is called and declared nowhere is WGSL's own, and a local value of that name must keep it.
  const called = found(texts, /(?<![.\w])([A-Za-z_]\w*)\(/g)
  for (const name of called) if (!functions.has(name) && !structs.has(name)) candidates.delete(name)
  for (const set of kept) for (const name of set) candidates.delete(name)
  const taken = new Set(texts.flatMap((text) => text.match(/[A-Za-z_]\w*/g) ?? []))
  const names = freshNames(taken)
  const order = ranked(candidates, texts, foremost, NAME)
  return new Map(order.map((name) => [name, names.next().value]))
}

/** a, b, …, aa, ab, …: those that no kernel uses, and no word of WGSL's. */
function* freshNames(taken) {
  const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ'
  const reserved = new Set([
    'as',
    'do',
    'fn',
    'if',
    'in',
    'is',
    'of',
    'or',
    'box',
    'let',
    'var',
    'for',
    'get',
    'set',
    'mut',
  ])
  for (let i = 0; ; i++) {
    let name = ''
    for (let n = i; n >= 0; n = Math.floor(n / letters.length) - 1) name = letters[n % letters.length] + name
    if (!taken.has(name) && !reserved.has(name)) yield name
  }
}

/** A structure as a whole, or a name. */
const STRUCT_OR_NAME = new RegExp(`\\bstruct [^}]*\\}|${NAME.source}`, 'g')

const STRUCT = /\bstruct (\w+) ?\{([^}]*)\}/g

/** Short names of fields, by long ones: of all structs but Params, unless the same word is one of Params' or of vectors'. */
function shortFields(texts, foremost) {
  const fields = (of) =>
    texts.flatMap((text) =>
      [...text.matchAll(STRUCT)]
        .filter(([, name]) => of(name))
        .flatMap(([, , inner]) => [...inner.matchAll(/(\w+):/g)].map((m) => m[1])),
    )
  const kept = new Set(fields((name) => name === 'Params'))
  const renamed = new Set(
    fields((name) => name !== 'Params').filter((name) => !kept.has(name) && !/^[xyzwrgba]{1,4}$/.test(name)),
  )
  const names = freshNames(new Set([...kept, ...'xyzwrgba']))
  const order = ranked(renamed, texts, foremost, /\.([A-Za-z_]\w*)/g)
  return new Map(order.map((name) => [name, names.next().value]))
}

/** The kernels of a folder, shortened: texts by file name. What is frequent in files that are `foremost` has the shortest names. */
export function shortKernels(folder, foremost) {
  const files = readdirSync(folder).filter((name) => name.endsWith('.wgsl'))
  const texts = new Map(files.map((name) => [name, tighten(readKernel(`${folder}/${name}`))]))
  const first = new Set([...texts].flatMap(([file, text]) => (foremost(file) ? [text] : [])))
  const names = shortNames([...texts.values()], first)
  const short = (name) => names.get(name) ?? name
  const fields = shortFields([...texts.values()], first)
  const field = (name) => fields.get(name) ?? name
  // In a structure, names before a colon are its fields.
  const inStruct = (text) => {
    const own = text.startsWith('struct Params') ? (name) => name : field
    return text.replace(NAME, (name, at) => (text[at + name.length] === ':' ? own(name) : short(name)))
  }
  for (const [file, text] of texts)
    texts.set(
      file,
      text
        .replace(STRUCT_OR_NAME, (m) => (m.startsWith('struct ') ? inStruct(m) : short(m)))
        .replace(/\.([A-Za-z_]\w*)/g, (_, name) => `.${field(name)}`),
    )
  return texts
}
