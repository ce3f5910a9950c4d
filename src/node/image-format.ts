/** File formats that are told apart by their first bytes, whatever the file's name says. */
export type ImageFormat =
  | 'png'
  | 'jpeg'
  | 'tiff'
  | 'bmp'
  | 'dicom'
  | 'nifti'
  | 'gif'
  | 'webp'
  | 'gzip'
  | 'unknown'

const SIGNATURES: readonly [ImageFormat, offset: number, bytes: readonly number[]][] = [
  // First: scanners fill the 128 bytes before it as they like, some with the start of a TIFF.
  ['dicom', 128, [0x44, 0x49, 0x43, 0x4d]],
  ['png', 0, [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]],
  ['jpeg', 0, [0xff, 0xd8, 0xff]],
  ['tiff', 0, [0x49, 0x49, 0x2a, 0x00]],
  ['tiff', 0, [0x4d, 0x4d, 0x00, 0x2a]],
  ['tiff', 0, [0x49, 0x49, 0x2b, 0x00]],
  ['tiff', 0, [0x4d, 0x4d, 0x00, 0x2b]],
  ['bmp', 0, [0x42, 0x4d]],
  ['nifti', 344, [0x6e, 0x2b, 0x31, 0x00]],
  ['nifti', 344, [0x6e, 0x69, 0x31, 0x00]],
  ['gif', 0, [0x47, 0x49, 0x46, 0x38]],
  ['webp', 8, [0x57, 0x45, 0x42, 0x50]],
  ['gzip', 0, [0x1f, 0x8b]],
]

/**
 * Names the format of a file from its content.
 *
 * @param bytes the file, or at least its first 348 bytes
 */
export function detectFormat(bytes: Uint8Array): ImageFormat {
  for (const [format, offset, signature] of SIGNATURES) {
    if (signature.every((value, i) => bytes[offset + i] === value)) return format
  }
  return 'unknown'
}
