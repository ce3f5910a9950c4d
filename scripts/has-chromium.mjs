import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The npm package's, for Linux on x64; the package is optional, and bench/gpu/pack.sh leaves this file of it out. */
const packed = fileURLToPath(new URL('../node_modules/@sparticuz/chromium/bin/chromium.br', import.meta.url))

export const hasChromium =
  Boolean(process.env.FOVEA_CHROMIUM) ||
  (`${process.platform}-${process.arch}` === 'linux-x64' && existsSync(packed))
