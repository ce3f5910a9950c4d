import { expect, test } from 'vitest'
import { planConv2d } from '../../src/autograd/conv2d/plan.ts'
import type { ConvShape } from '../../src/autograd/conv2d/variant.ts'
import { convAdapter, convKey } from '../../src/autograd/ops/conv2d_run.ts'
import { TUNER_DEFAULTS } from '../../src/gpu/tuner-defaults.ts'
import { testDevice } from '../device.ts'

/** What `convKey` wrote. */
function questionOf(key: string) {
  const [, part, ...numbers] =
    /^conv2d\.(\w+) (\d+)x(\d+)x(\d+)x(\d+) to (\d+)x(\d+)x(\d+), kernel (\d+)x(\d+), stride (\d+)x(\d+), padding (\d+)x(\d+), dilation (\d+)x(\d+), groups (\d+)$/.exec(
      key,
    ) ?? []
  const [n, cin, h, w, cout, outH, outW, kh, kw, strideH, strideW, padH, padW, dilationH, dilationW, groups] =
    numbers.map(Number)
  const rest = { kh, kw, strideH, strideW, padH, padW, dilationH, dilationW, groups }
  const shape = { n, cin, h, w, cout, outH, outW, ...rest } as ConvShape
  return { part: part as 'forward' | 'inputGrad' | 'weightGrad', shape }
}

test('every shipped choice is one of the candidates, and not the first of them', async () => {
  const device = await testDevice()
  for (const [name, choices] of Object.entries(TUNER_DEFAULTS)) {
    const lanes = name === 'llvmpipe'
    const adapter = { ...convAdapter(device), cpu: true, subgroups: true, lanes }
    // Without lavapipe's plans there is nothing to hold its table against.
    if (!adapter.cpuPlans) continue
    for (const [key, variant] of Object.entries(choices)) {
      const { part, shape } = questionOf(key)
      expect(convKey(part, shape)).toBe(key)
      const names = planConv2d(shape, adapter)[part].map((v) => v.name)
      expect(names.slice(1), key).toContain(variant)
    }
  }
})
