import type { FloatType } from '../dtype.ts'
import { castTo } from '../op.ts'
import type { Tensor } from '../tensor.ts'

/**
 * x as float16 (rounded to the nearest half; above 65504 infinite, below 2⁻²⁴ zero) or float32 (exact). Any
 * shape. The gradient is cast back. Throws an AdapterError for float16 where the adapter lacks `shader-f16`.
 */
export const cast = (x: Tensor, dtype: FloatType): Tensor => castTo(x, dtype)
