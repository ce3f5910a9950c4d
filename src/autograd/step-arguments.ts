import { type DType, type Shape, sameShape, Tensor } from './tensor.ts'

/** What a captured step was captured for: types and shapes of tensors, other arguments as JSON. */
export type ArgumentPattern = readonly (string | { readonly dtype: DType; readonly shape: Shape })[]

const json = (value: unknown): string => String(JSON.stringify(value))

export const patternOf = (args: readonly unknown[]): ArgumentPattern =>
  args.map((a) => (a instanceof Tensor ? { dtype: a.dtype, shape: a.shape } : json(a)))

/** Whether a step that was captured for `pattern` takes these arguments. Makes no string for tensors. */
export function fits(pattern: ArgumentPattern, args: readonly unknown[]): boolean {
  if (pattern.length !== args.length) return false
  return pattern.every((p, i) => {
    const a = args[i]
    if (typeof p === 'string') return !(a instanceof Tensor) && json(a) === p
    return a instanceof Tensor && a.dtype === p.dtype && sameShape(a.shape, p.shape)
  })
}
