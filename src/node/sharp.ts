import { DataError } from '../gpu/errors.ts'

/**
 * Loads sharp, which is a native library and optional.
 *
 * @throws DataError with the command to run where it is not installed
 */
export async function loadSharp(): Promise<typeof import('sharp')['default']> {
  try {
    return (await import('sharp')).default
  } catch (cause) {
    throw new DataError('reading and writing images needs the package sharp: run `npm install sharp`', {
      cause,
    })
  }
}
