import { drawOverlay, type OverlayImage, type OverlayOptions } from '../report/overlay.ts'
import { type Report, renderReport } from '../report/report.ts'
import { writeFileAtomic } from './atomic.ts'
import { encodePng } from './png.ts'

/**
 * Writes a report as one self-contained HTML file, whole or not at all.
 *
 * @param path file to write, `.html`
 * @param report what it shows
 * @throws DataError when it cannot be written; FoveaError as `renderReport` does
 */
export async function writeReport(path: string, report: Report): Promise<void> {
  await writeFileAtomic(path, await renderReport(report))
}

/**
 * A PNG of an image with the outlines of truth (green) and prediction (magenta, white where both run).
 *
 * @param image the image, (C, H, W); a `SampleData` fits
 * @param truth (H, W) or (1, H, W) values
 * @param prediction the same, probabilities or zeros and ones
 * @param options see `OverlayOptions`
 * @throws DataError when sizes do not fit
 */
export async function overlayPng(
  image: OverlayImage,
  truth: Float32Array,
  prediction: Float32Array,
  options?: OverlayOptions,
): Promise<Uint8Array> {
  return encodePng(drawOverlay(image, truth, prediction, options))
}
