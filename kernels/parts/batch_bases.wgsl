// Of `matmul` and `matrix_matmul`, whose Params it reads.
// Where the matrices of a batch index begin, in elements.
fn bases(batch: u32) -> vec2u {
  let c0 = batch % params.n0;
  let r0 = batch / params.n0;
  let c1 = r0 % params.n1;
  let r1 = r0 / params.n1;
  let c2 = r1 % params.n2;
  let c3 = r1 / params.n2;
  let matrix_a = c0 * params.a0 + c1 * params.a1 + c2 * params.a2 + c3 * params.a3;
  let matrix_b = c0 * params.b0 + c1 * params.b1 + c2 * params.b2 + c3 * params.b3;
  return vec2u(matrix_a * params.m * params.k, matrix_b * params.k * params.n);
}
