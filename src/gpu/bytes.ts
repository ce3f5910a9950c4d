const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB'] as const

/** 9.1 GB, 12.5 MB, 300 bytes. A KB is 1,024 bytes, as the limits of adapters are. */
export function formatBytes(bytes: number): string {
  let unit = 0
  let value = bytes
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit]}`
}

/** Bytes of '8GB', '512 MB', '1.5GiB' or '1048576'; undefined for anything else. A KB is 1,024 bytes. */
export function parseBytes(text: string): number | undefined {
  const match = /^\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])i?)?b?(?:ytes)?\s*$/i.exec(text)
  if (!match) return undefined
  const [, number, prefix] = match
  const bytes = Math.round(Number(number) * 1024 ** (prefix ? 'kmgt'.indexOf(prefix.toLowerCase()) + 1 : 0))
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined
}
