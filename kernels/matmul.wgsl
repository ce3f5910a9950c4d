// y = A B for batches of matrices, A (m, k), B (k, n), either stored transposed: the gradients
// dA = dY Bᵀ and dB = Aᵀ dY read what is there.
//
// `registers` keeps a tile of 4 rows and 8 columns of y in the registers of one lane and steps through k by 4:
// for CPU drivers without subgroups of eight (else matmul_lanes), where arithmetic is eight lanes wide and every load is a load a lane.
// `tiles` keeps 64×64 of y in a workgroup, 8×4 a lane, and stages A and B in workgroup memory: for GPUs (`tiles_wide` stores vec4s).
// While a slice of k is multiplied the next is on its way. The half form multiplies halves and sums them over eight k; all
// other sums, and those of `registers`, are f32.
alias elem = f32;
alias elem4 = vec4f;

override TRANSPOSE_A: u32 = 0u; // A is stored (k, m)
override TRANSPOSE_B: u32 = 0u; // B is stored (n, k)
override WIDE_A: u32 = 0u;      // A's inner size divides by 4: vec4 loads
override WIDE_B: u32 = 0u;
override EVEN_K: u32 = 0u;      // k is a multiple of a step, 4 or in tiles 16: none reaches past its end

// include: parts/batch_bases.wgsl, parts/products.wgsl

struct Params {
  m: u32,
  n: u32,
  k: u32,
  // Batch axes of y from the innermost outwards, and the strides of A and B along them in matrices.
  n0: u32, n1: u32, n2: u32, n3: u32,
  a0: u32, a1: u32, a2: u32, a3: u32,
  b0: u32, b1: u32, b2: u32, b3: u32,
}

// A and B are bound twice: as elements and as vec4s.
@group(0) @binding(0) var<storage, read> a: array<elem>;
@group(0) @binding(1) var<storage, read> wide_a: array<elem4>;
@group(0) @binding(2) var<storage, read> b: array<elem>;
@group(0) @binding(3) var<storage, read> wide_b: array<elem4>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> y4: array<elem4>;

// Four elements of A in row `outer` of storage from column `inner`. Past the end of k they are 0; past the
// other end, where nothing is stored, they may be anything.
fn load_a(base: u32, outer: u32, inner: u32, outers: u32, inners: u32) -> vec4f {
  let at = base + min(outer, outers - 1u) * inners;
  if (WIDE_A == 1u) {
    let v = vec4f(wide_a[(at + min(inner, inners - 4u)) / 4u]);
    if (EVEN_K == 1u) {
      return v;
    }
    return select(vec4f(0.0), v, outer < outers && inner < inners);
  }
  let last = inners - 1u;
  let v = vec4f(elem4(a[at + min(inner, last)], a[at + min(inner + 1u, last)], a[at + min(inner + 2u, last)], a[at + min(inner + 3u, last)]));
  return select(vec4f(0.0), v, (vec4u(inner) + vec4u(0u, 1u, 2u, 3u) < vec4u(inners)) & vec4<bool>(outer < outers));
}

fn load_b(base: u32, outer: u32, inner: u32, outers: u32, inners: u32) -> vec4f {
  let at = base + min(outer, outers - 1u) * inners;
  if (WIDE_B == 1u) {
    let v = vec4f(wide_b[(at + min(inner, inners - 4u)) / 4u]);
    if (EVEN_K == 1u) {
      return v;
    }
    return select(vec4f(0.0), v, outer < outers && inner < inners);
  }
  let last = inners - 1u;
  let v = vec4f(elem4(b[at + min(inner, last)], b[at + min(inner + 1u, last)], b[at + min(inner + 2u, last)], b[at + min(inner + 3u, last)]));
  return select(vec4f(0.0), v, (vec4u(inner) + vec4u(0u, 1u, 2u, 3u) < vec4u(inners)) & vec4<bool>(outer < outers));
}

// Rows `row` … `row + 3` of A as columns of a matrix over k … k + 3.
fn block_a(base: u32, row: u32, k: u32) -> mat4x4f {
  if (TRANSPOSE_A == 1u) {
    return transpose(mat4x4f(
      load_a(base, k, row, params.k, params.m),
      load_a(base, k + 1u, row, params.k, params.m),
      load_a(base, k + 2u, row, params.k, params.m),
      load_a(base, k + 3u, row, params.k, params.m),
    ));
  }
  return mat4x4f(
    load_a(base, row, k, params.m, params.k),
    load_a(base, row + 1u, k, params.m, params.k),
    load_a(base, row + 2u, k, params.m, params.k),
    load_a(base, row + 3u, k, params.m, params.k),
  );
}

// Rows k … k + 3 of B as columns of a matrix over four columns of B.
fn block_b(base: u32, k: u32, column: u32) -> mat4x4f {
  if (TRANSPOSE_B == 1u) {
    return transpose(mat4x4f(
      load_b(base, column, k, params.n, params.k),
      load_b(base, column + 1u, k, params.n, params.k),
      load_b(base, column + 2u, k, params.n, params.k),
      load_b(base, column + 3u, k, params.n, params.k),
    ));
  }
  return mat4x4f(
    load_b(base, k, column, params.k, params.n),
    load_b(base, k + 1u, column, params.k, params.n),
    load_b(base, k + 2u, column, params.k, params.n),
    load_b(base, k + 3u, column, params.k, params.n),
  );
}

fn store(base: u32, row: u32, column: u32, v: vec4f) {
  if (row < params.m) {
    let at = base + row * params.n + column;
    if (column < params.n) { y[at] = elem(v.x); }
    if (column + 1u < params.n) { y[at + 1u] = elem(v.y); }
    if (column + 2u < params.n) { y[at + 2u] = elem(v.z); }
    if (column + 3u < params.n) { y[at + 3u] = elem(v.w); }
  }
}

@compute @workgroup_size(8, 8)
fn registers(@builtin(global_invocation_id) id: vec3u) {
  let column = id.x * 8u;
  let row = id.y * 4u;
  if (column >= params.n || row >= params.m) {
    return;
  }
  let at = bases(id.z);
  var left0 = vec4f(0.0);
  var left1 = vec4f(0.0);
  var left2 = vec4f(0.0);
  var left3 = vec4f(0.0);
  var right0 = vec4f(0.0);
  var right1 = vec4f(0.0);
  var right2 = vec4f(0.0);
  var right3 = vec4f(0.0);
  for (var k = 0u; k < params.k; k += 4u) {
    let p = block_a(at.x, row, k);
    let q = block_b(at.y, k, column);
    left0 += p[0].x * q[0] + p[0].y * q[1] + p[0].z * q[2] + p[0].w * q[3];
    left1 += p[1].x * q[0] + p[1].y * q[1] + p[1].z * q[2] + p[1].w * q[3];
    left2 += p[2].x * q[0] + p[2].y * q[1] + p[2].z * q[2] + p[2].w * q[3];
    left3 += p[3].x * q[0] + p[3].y * q[1] + p[3].z * q[2] + p[3].w * q[3];
    let r = block_b(at.y, k, column + 4u);
    right0 += p[0].x * r[0] + p[0].y * r[1] + p[0].z * r[2] + p[0].w * r[3];
    right1 += p[1].x * r[0] + p[1].y * r[1] + p[1].z * r[2] + p[1].w * r[3];
    right2 += p[2].x * r[0] + p[2].y * r[1] + p[2].z * r[2] + p[2].w * r[3];
    right3 += p[3].x * r[0] + p[3].y * r[1] + p[3].z * r[2] + p[3].w * r[3];
  }
  let base = id.z * params.m * params.n;
  store(base, row, column, left0);
  store(base, row + 1u, column, left1);
  store(base, row + 2u, column, left2);
  store(base, row + 3u, column, left3);
  store(base, row, column + 4u, right0);
  store(base, row + 1u, column + 4u, right1);
  store(base, row + 2u, column + 4u, right2);
  store(base, row + 3u, column + 4u, right3);
}

const TILE = 64u;
const QUADS = 4u; // of a slice of 16 k
const COLS = 16u;
const ROWS = 8u;
var<workgroup> tile_a: array<elem4, TILE * QUADS>; // (row, k / 4)
var<workgroup> tile_b: array<elem4, 4 * QUADS * COLS>; // (k, column / 4)

// Eight rows, ROWS apart, of four columns of y.
fn tile_sums(group: vec3u, lane: u32) -> array<vec4f, 8> {
  let at = bases(group.z);
  // Half of the lanes fetch blocks of 4×4 of A, the others of B. Lanes side by side load neighbours in memory: along k, or along
  // rows where that is the inner axis.
  let block = lane % TILE;
  let of_a = lane < TILE;
  let quad_a = select(block % QUADS, block / COLS, TRANSPOSE_A == 1u);
  let rows_a = select(block / QUADS, block % COLS, TRANSPOSE_A == 1u);
  let quad_b = select(block / COLS, block % QUADS, TRANSPOSE_B == 1u);
  let columns_b = select(block % COLS, block / QUADS, TRANSPOSE_B == 1u);
  let column = lane % COLS;
  let row = lane / COLS % ROWS;
  var sums: array<vec4f, 8>;
  var run: array<elem4, 8>;
  for (var k = 0u; ; k += 4 * QUADS) {
    var next: mat4x4f;
    if (of_a) {
      next = block_a(at.x, group.y * TILE + 4 * rows_a, k + 4 * quad_a);
    } else {
      next = block_b(at.y, k + 4 * quad_b, group.x * TILE + 4 * columns_b);
    }
    if (k > 0) {
      for (var q = 0u; q < QUADS; q++) {
        let b = q * 4 * COLS + column;
        let v = square(tile_b[b], tile_b[b + COLS], tile_b[b + 2 * COLS], tile_b[b + 3 * COLS]);
        let a = row * QUADS + q;
        run[0] = add_product(run[0], tile_a[a], v);
        run[1] = add_product(run[1], tile_a[a + ROWS * QUADS], v);
        run[2] = add_product(run[2], tile_a[a + 2 * ROWS * QUADS], v);
        run[3] = add_product(run[3], tile_a[a + 3 * ROWS * QUADS], v);
        run[4] = add_product(run[4], tile_a[a + 4 * ROWS * QUADS], v);
        run[5] = add_product(run[5], tile_a[a + 5 * ROWS * QUADS], v);
        run[6] = add_product(run[6], tile_a[a + 6 * ROWS * QUADS], v);
        run[7] = add_product(run[7], tile_a[a + 7 * ROWS * QUADS], v);
        if (ends_run(q, QUADS)) { add_run(&sums, &run); }
      }
      workgroupBarrier();
    }
    if (k >= params.k) { break; }
    if (of_a) {
      let to = 4 * rows_a * QUADS + quad_a;
      tile_a[to] = elem4(next[0]);
      tile_a[to + QUADS] = elem4(next[1]);
      tile_a[to + 2 * QUADS] = elem4(next[2]);
      tile_a[to + 3 * QUADS] = elem4(next[3]);
    } else {
      let to = 4 * quad_b * COLS + columns_b;
      tile_b[to] = elem4(next[0]);
      tile_b[to + COLS] = elem4(next[1]);
      tile_b[to + 2 * COLS] = elem4(next[2]);
      tile_b[to + 3 * COLS] = elem4(next[3]);
    }
    workgroupBarrier();
  }
  if (!HALF) { add_run(&sums, &run); }
  return sums;
}

@compute @workgroup_size(128)
fn tiles(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sums = tile_sums(group, lane);
  for (var r = 0u; r < 8; r++) {
    let row = group.y * TILE + lane / COLS + r * ROWS;
    store(group.z * params.m * params.n, row, group.x * TILE + lane % COLS * 4, sums[r]);
  }
}

@compute @workgroup_size(128)
fn tiles_wide(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sums = tile_sums(group, lane);
  let column = group.x * TILE + lane % COLS * 4;
  for (var r = 0u; r < 8; r++) {
    let row = group.y * TILE + lane / COLS + r * ROWS;
    if (row < params.m && column < params.n) {
      y4[((group.z * params.m + row) * params.n + column) / 4] = elem4(sums[r]);
    }
  }
}
