import source from '../../../kernels/spans.wgsl'
import { kernel } from '../../gpu/kernel.ts'
import type { Run } from '../op.ts'
import type { Tensor } from '../tensor.ts'

const kernels = kernel('spans', source)

/** uint32 (images, 2): first and end of the rows that an int32 index gives to each image. */
export function spansOf(run: Run, index: Tensor, images: number): Tensor {
  const spans = run.empty([images, 2], 'uint32')
  run.launch({
    kernel: kernels,
    entry: 'find_spans',
    bindings: { index, spans },
    params: { images, rows: index.size },
    threads: images,
  })
  return spans
}
