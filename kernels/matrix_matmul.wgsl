// y = A B for batches of matrices, either stored transposed, by subgroup matrices: `tiles` of matmul.wgsl.
// Products are exact in the half form; sums are f32.
enable subgroups;
enable chromium_experimental_subgroup_matrix;

alias elem = f32;
// include: parts/subgroup_matrix.wgsl, parts/batch_bases.wgsl

override TRANSPOSE_A: u32 = 0u; // A is stored (k, m)
override TRANSPOSE_B: u32 = 0u; // B is stored (n, k)

struct Params {
  m: u32,
  n: u32,
  k: u32,
  // Batch axes of y from the innermost outwards, and the strides of A and B along them in matrices.
  n0: u32, n1: u32, n2: u32, n3: u32,
  a0: u32, a1: u32, a2: u32, a3: u32,
  b0: u32, b1: u32, b2: u32, b3: u32,
}
@group(0) @binding(0) var<storage, read> a: array<elem>;
@group(0) @binding(1) var<storage, read> b: array<elem>;
@group(0) @binding(2) var<storage, read_write> y: array<elem>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(LANES)
fn matrix_matmul(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) square: u32,
) {
  let base = bases(group.z);
  let rows = GROUP_ROWS * SIDE;
  let columns = GROUP_COLS * SIDE;
  let first_row = group.y * rows;
  let first_column = group.x * columns;
  var sums: result_matrices;
  for (var k0 = 0u; k0 < params.k; k0 += DEPTH) {
    // Everyone is done with the slice before. Neighbouring lanes load neighbours in memory.
    workgroupBarrier();
    for (var e = lane; e < rows * DEPTH; e += LANES) {
      let row = select(e / DEPTH, e % rows, TRANSPOSE_A == 1u);
      let k = select(e % DEPTH, e / rows, TRANSPOSE_A == 1u);
      let i = first_row + row;
      let q = k0 + k;
      var value = part(0.0);
      if (i < params.m && q < params.k) { value = part(a[base.x + select(i * params.k + q, q * params.m + i, TRANSPOSE_A == 1u)]); }
      set_left(row, k, value);
    }
    for (var e = lane; e < DEPTH * columns; e += LANES) {
      let column = select(e % columns, e / DEPTH, TRANSPOSE_B == 1u);
      let k = select(e / columns, e % DEPTH, TRANSPOSE_B == 1u);
      let j = first_column + column;
      let q = k0 + k;
      var value = part(0.0);
      if (j < params.n && q < params.k) { value = part(b[base.y + select(q * params.n + j, j * params.k + q, TRANSPOSE_B == 1u)]); }
      set_right(k, column, value);
    }
    workgroupBarrier();
    add_product(square, &sums);
  }

  for (var at = 0u; at < SIDE / M * (SIDE / N); at++) {
    lay_out(square, at, &sums);
    for (var e = lane; e < GROUP_ROWS * GROUP_COLS * M * N; e += LANES) {
      let place = place_of(e, at);
      let row = first_row + place.x;
      let column = first_column + place.y;
      if (row < params.m && column < params.n) {
        y[group.z * params.m * params.n + row * params.n + column] = elem(stage[e]);
      }
    }
  }
}
