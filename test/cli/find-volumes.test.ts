import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { findVolumes } from '../../src/cli/predict-volume.ts'
import { writeMask } from '../../src/node/png.ts'
import { tempFolder } from '../data/temp.ts'

test('a DICOM file is a scan by what it holds, whatever its name; an image is none', async () => {
  const series = fileURLToPath(new URL('../reference/volumes/series', import.meta.url))
  const slice = join(series, 'IM0')
  expect(await findVolumes(slice)).toEqual([slice])
  expect(await findVolumes(series)).toEqual([series])
  const image = join(await tempFolder(), 'image.png')
  await writeMask(image, new Float32Array(4), { height: 2, width: 2 })
  expect(await findVolumes(image)).toEqual([])
})
