import { readdirSync } from 'node:fs'
import { expect, test } from 'vitest'
import { convKernels } from '../../src/autograd/ops/conv2d_kernels.ts'

test('every convolution kernel is in the table that plans are run by', () => {
  const files = readdirSync(new URL('../../kernels/', import.meta.url))
  const named = files.filter((f) => f.startsWith('conv2d_')).map((f) => f.replace('.wgsl', ''))
  expect([...convKernels.keys()].sort()).toEqual([...named, 'matmul_lanes'].sort())
})
