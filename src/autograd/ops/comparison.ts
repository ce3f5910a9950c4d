import { defineBinary, type Operand } from '../binary.ts'
import type { Tensor } from '../tensor.ts'

/** Comparisons and logic: float32 results of 0 and 1, without a gradient. */

const steps = { because: 'a comparison is constant almost everywhere' }
const gtRule = defineBinary('gt', steps)
const geRule = defineBinary('ge', steps)
const ltRule = defineBinary('lt', steps)
const leRule = defineBinary('le', steps)
const eqRule = defineBinary('eq', steps)
const neRule = defineBinary('ne', steps)
const andRule = defineBinary('logicalAnd', steps)
const orRule = defineBinary('logicalOr', steps)

/** 1 where a > b, else 0. Shapes broadcast, either operand may be a number. No gradient. */
export const gt = (a: Operand, b: Operand): Tensor => gtRule(a, b)

/** 1 where a ≥ b, else 0; broadcast. No gradient. */
export const ge = (a: Operand, b: Operand): Tensor => geRule(a, b)

/** 1 where a < b, else 0; broadcast. No gradient. */
export const lt = (a: Operand, b: Operand): Tensor => ltRule(a, b)

/** 1 where a ≤ b, else 0; broadcast. No gradient. */
export const le = (a: Operand, b: Operand): Tensor => leRule(a, b)

/** 1 where a = b, else 0; broadcast. NaN equals nothing. No gradient. */
export const eq = (a: Operand, b: Operand): Tensor => eqRule(a, b)

/** 1 where a ≠ b, else 0; broadcast. NaN differs from everything. No gradient. */
export const ne = (a: Operand, b: Operand): Tensor => neRule(a, b)

/** 1 where a and b are both other than 0, else 0; broadcast. No gradient. */
export const logicalAnd = (a: Operand, b: Operand): Tensor => andRule(a, b)

/** 1 where a or b is other than 0, else 0; broadcast. No gradient. */
export const logicalOr = (a: Operand, b: Operand): Tensor => orRule(a, b)

/** 1 where x is 0, else 0. No gradient. */
export const logicalNot = (x: Tensor): Tensor => eqRule(x, 0)
