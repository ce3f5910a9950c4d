// A tile of a matrix product by subgroup matrices, Dawn's `chromium_experimental_subgroup_matrix`: left (rows × DEPTH)
// times right (DEPTH × columns), slice by slice through workgroup memory, with sums in f32. The aliases are those of
// f32 matrices of 8×8×8; src/autograd/ops/subgroup_matrices.ts exchanges them for the sizes that the adapter offers.
// The tile has GROUP_ROWS × GROUP_COLS squares of SIDE², a subgroup each. LANES are so many times the adapter's largest
// subgroup: if its subgroups are smaller there are more of them than squares, and the rest only fill and store.
alias part = f32;
alias left_matrix = subgroup_matrix_left<f32, 8, 8>;
alias right_matrix = subgroup_matrix_right<f32, 8, 8>;
alias result_matrix = subgroup_matrix_result<f32, 8, 8>;
alias right_matrices = array<right_matrix, 4>;
alias result_matrices = array<result_matrix, 16>;

override M: u32 = 8;  // result matrices are M × N, summed over K at once; each divides SIDE
override N: u32 = 8;
override K: u32 = 8;
override DEPTH: u32 = 16;
override GROUP_ROWS: u32 = 2;
override GROUP_COLS: u32 = 2;
override LANES: u32 = 128;

const SIDE = 32u;

// A line has eight values more than it holds: against conflicts of banks, and aligned to 16 bytes.
var<workgroup> left_tile: array<part, GROUP_ROWS * SIDE * (DEPTH + 8)>;
var<workgroup> right_tile: array<part, DEPTH * (GROUP_COLS * SIDE + 8)>;
var<workgroup> stage: array<f32, GROUP_ROWS * GROUP_COLS * M * N>;

fn set_left(row: u32, k: u32, value: part) { left_tile[row * (DEPTH + 8) + k] = value; }
fn set_right(k: u32, column: u32, value: part) { right_tile[k * (GROUP_COLS * SIDE + 8) + column] = value; }

// Adds the product of the slice to a subgroup's square.
fn add_product(square: u32, sums: ptr<function, result_matrices>) {
  if (square >= GROUP_ROWS * GROUP_COLS) { return; }
  let row = square / GROUP_COLS * SIDE;
  let column = square % GROUP_COLS * SIDE;
  let left_line = DEPTH + 8;
  let right_line = GROUP_COLS * SIDE + 8;
  for (var k = 0u; k < DEPTH; k += K) {
    var rights: right_matrices;
    for (var j = 0u; j < SIDE / N; j++) {
      rights[j] = subgroupMatrixLoad<right_matrix, row_major>(&right_tile, k * right_line + column + j * N, right_line);
    }
    for (var i = 0u; i < SIDE / M; i++) {
      let left = subgroupMatrixLoad<left_matrix, row_major>(&left_tile, (row + i * M) * left_line + k, left_line);
      for (var j = 0u; j < SIDE / N; j++) {
        let at = i * (SIDE / N) + j;
        (*sums)[at] = subgroupMatrixMultiplyAccumulate(left, rights[j], (*sums)[at]);
      }
    }
  }
}

// Lays matrix `at` of every square out in `stage`.
fn lay_out(square: u32, at: u32, sums: ptr<function, result_matrices>) {
  workgroupBarrier();
  if (square < GROUP_ROWS * GROUP_COLS) {
    subgroupMatrixStore<row_major>(&stage, square * M * N, (*sums)[at], N);
  }
  workgroupBarrier();
}

// Row and column in the tile of the e-th value in `stage`, where matrix `at` of every square is laid out.
fn place_of(e: u32, at: u32) -> vec2u {
  let square = e / (M * N);
  let inside = e % (M * N);
  let row = square / GROUP_COLS * SIDE + at / (SIDE / N) * M + inside / N;
  return vec2u(row, square % GROUP_COLS * SIDE + at % (SIDE / N) * N + inside % N);
}
