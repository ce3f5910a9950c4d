/** `float16` where the adapter has `shader-f16`: intermediates of half precision. The host sees float32. */
export type DType = 'float32' | 'float16' | 'int32' | 'uint32'

export const DTYPES: readonly DType[] = ['float32', 'float16', 'int32', 'uint32']

/** The dtypes that gradients flow through. */
export type FloatType = 'float32' | 'float16'

/** Of float32, int32 and uint32. */
export const BYTES_PER_ELEMENT = 4

/** Bytes that `count` elements take on the GPU. */
export const bytesOf = (count: number, dtype: DType): number =>
  count * (dtype === 'float16' ? BYTES_PER_ELEMENT / 2 : BYTES_PER_ELEMENT)

export const isFloat = (dtype: DType): dtype is FloatType => dtype === 'float32' || dtype === 'float16'
