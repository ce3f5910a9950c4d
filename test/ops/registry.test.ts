import { expect, test } from 'vitest'
import { registeredOps } from '../../src/autograd/op.ts'
import * as ops from '../../src/autograd/ops/index.ts'

/** Ops without a gradient, and nothing else: a new one has to be put here on purpose. */
const WITHOUT_GRADIENT = [
  'argmax',
  'argmax2d',
  'argmin',
  'boundingBoxes',
  'componentContaining',
  'connectedComponents',
  'eq',
  'ge',
  'gt',
  'hysteresisThreshold',
  'largestComponent',
  'le',
  'logicalAnd',
  'logicalOr',
  'lt',
  'ne',
  'pasteBoxesOr',
  'squareBoxes',
]

/** Public functions that are made of other ops, with the ops they are made of. */
const COMPOSED: Readonly<Record<string, readonly string[]>> = {
  batchNormMaxPool2d: ['batchNorm', 'maxPool2d'],
  flatten: ['reshape'],
  logicalNot: ['eq'],
  squeeze: ['reshape'],
  unsqueeze: ['reshape'],
  transpose: ['permute'],
  stack: ['concat'],
  square: ['pow'],
}

const publicOps = Object.entries(ops)
  .filter(([name, value]) => typeof value === 'function' && /^[a-z]/.test(name))
  .map(([name]) => name)

test.each(publicOps)('%s has a backward rule or stands in the list of those that have none', (name) => {
  for (const op of COMPOSED[name] ?? [name]) {
    const found = registeredOps.get(op)
    expect(found, `${name}: no op is registered under the name '${op}'`).toBeDefined()
    if (!found!.differentiable) expect(WITHOUT_GRADIENT).toContain(op)
  }
})

test('the list names nothing that has a gradient or does not exist', () => {
  for (const name of WITHOUT_GRADIENT) {
    expect(registeredOps.get(name), name).toMatchObject({
      differentiable: false,
      because: expect.stringMatching(/./),
    })
  }
})
