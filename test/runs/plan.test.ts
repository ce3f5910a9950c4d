import { join } from 'node:path'
import { expect, test } from 'vitest'
import { planOne } from '../../src/runs/plan.ts'
import type { Settings } from '../../src/runs/settings.ts'
import { discFolder } from '../cli/command.ts'
import { tempFolder } from '../data/temp.ts'

const IMAGES = 22
const discs = await discFolder(join(await tempFolder(), 'discs'), IMAGES, { size: 16 })

const settings: Settings = {
  ...{ method: 'polar', size: 16, features: 2, epochs: 1, batch: 2, lr: 1e-3, weightDecay: 0, seed: 1 },
  ...{ share: 1, patience: null, plateau: null, schedule: 'cosine', augment: 'none', origins: ['truth'] },
  ...{ transfer: null, depthChannel: false, validation: 0.2, test: 0.2, splitSeed: 42 },
}

/** Ids of the images that a run uses. */
async function used(part: Pick<Settings, 'dataShare' | 'dataSkip' | 'seed'>): Promise<string[]> {
  const { train, validation, test } = await planOne(discs, 'discs', { ...settings, ...part })
  return [...train, ...validation, ...test].map(({ id }) => id)
}

test('what is passed over is what a run of that share uses; the rest is used by nobody twice', async () => {
  for (const skip of [0.15, 0.25, 0.3, 0.5]) {
    const seen = await used({ dataShare: skip, seed: 1 })
    for (const share of [skip, 0.5, 1 - skip]) {
      const fresh = await used({ dataShare: share, dataSkip: skip, seed: 1 })
      expect(Math.abs(fresh.length - share * IMAGES)).toBeLessThanOrEqual(1)
      expect(new Set([...seen, ...fresh]).size).toBe(seen.length + fresh.length)
      if (share === 1 - skip) expect(seen.length + fresh.length).toBe(IMAGES)
      // The seed of weights and order moves nothing.
      expect(await used({ dataShare: share, dataSkip: skip, seed: 2 })).toEqual(fresh)
    }
  }
})
