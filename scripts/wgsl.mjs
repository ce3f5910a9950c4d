// Reads a kernel as the builds see it.
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/**
 * The text of a kernel file. A line `// include: parts/divide.wgsl, parts/taps.wgsl` stands for those files (paths from the
 * file's folder), each taken once. It keeps its place, so that a kernel's own lines come behind what they use.
 */
export function readKernel(path, seen = new Set()) {
  const text = readFileSync(path, 'utf8')
  return text.replace(/^\/\/ include: (.+)$/gm, (_, names) =>
    names
      .split(',')
      .map((name) => join(dirname(path), name.trim()))
      .filter((part) => !seen.has(part) && seen.add(part))
      .map((part) => readKernel(part, seen))
      .join('\n'),
  )
}

/** esbuild's loader of kernels for Node: as they are, so that an error of the driver can quote the file. */
export const wgsl = {
  name: 'wgsl',
  setup(b) {
    b.onLoad({ filter: /\.wgsl$/ }, ({ path }) => ({ contents: readKernel(path), loader: 'text' }))
  },
}
