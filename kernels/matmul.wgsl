// y = A B for batches of matrices, A (m, k), B (k, n), either stored transposed: the gradients
// dA = dY Bᵀ and dB = Aᵀ dY read what is there.
//
// `registers` keeps a tile of 4 rows and 8 columns of y in the registers of one lane and steps through k by 4:
// for CPU drivers without subgroups of eight (else matmul_lanes), where arithmetic is eight lanes wide and every load is a load a lane.
// `tiles` keeps 64×64 of y in a workgroup, 4×4 a lane, and stages A and B in workgroup memory: for GPUs. Its half form
// multiplies halves and sums them over RUN k; all other sums, and those of `registers`, are f32.
alias elem = f32;
alias elem4 = vec4f;

override TRANSPOSE_A: u32 = 0u; // A is stored (k, m)
override TRANSPOSE_B: u32 = 0u; // B is stored (n, k)
override WIDE_A: u32 = 0u;      // A's inner size divides by 4: vec4 loads
override WIDE_B: u32 = 0u;
override EVEN_K: u32 = 0u;      // k divides by 4: no step reaches past its end

// include: parts/batch_bases.wgsl

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
const DEPTH = 16u;
const HALF = elem(1.0) + elem(0.0001) == elem(1.0); // halves cannot tell these apart
const RUN = 8u;
// By k, so that a lane reads the four rows or columns of its tile as one vec4; a line has one more than it holds, so that
// lanes that fill a column write to different banks.
const LINE = 17u;
var<workgroup> tile_a: array<elem4, DEPTH * LINE>; // (k, row / 4)
var<workgroup> tile_b: array<elem4, DEPTH * LINE>; // (k, column / 4)

fn element_a(base: u32, row: u32, k: u32) -> elem {
  let at = select(row * params.k + k, k * params.m + row, TRANSPOSE_A == 1u);
  let inside = row < params.m && k < params.k;
  return select(elem(0.0), a[base + select(0u, at, inside)], inside);
}

fn element_b(base: u32, k: u32, column: u32) -> elem {
  let at = select(k * params.n + column, column * params.k + k, TRANSPOSE_B == 1u);
  let inside = column < params.n && k < params.k;
  return select(elem(0.0), b[base + select(0u, at, inside)], inside);
}

@compute @workgroup_size(16, 16)
fn tiles(
  @builtin(workgroup_id) group: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let at = bases(group.z);
  let row = group.y * TILE;
  let column = group.x * TILE;
  var sum0 = vec4f(0.0);
  var sum1 = vec4f(0.0);
  var sum2 = vec4f(0.0);
  var sum3 = vec4f(0.0);
  var run = array<elem4, 4>();
  for (var k = 0u; k < params.k; k += DEPTH) {
    // Neighbouring lanes load neighbours in memory: along k, or along rows (columns) where that is the inner axis.
    let k_a = select(lane % DEPTH, lane / 16u, TRANSPOSE_A == 1u);
    let quad_a = select(lane / DEPTH, lane % 16u, TRANSPOSE_A == 1u);
    let row_a = row + 4u * quad_a;
    tile_a[k_a * LINE + quad_a] = elem4(
      element_a(at.x, row_a, k + k_a),
      element_a(at.x, row_a + 1u, k + k_a),
      element_a(at.x, row_a + 2u, k + k_a),
      element_a(at.x, row_a + 3u, k + k_a),
    );
    let k_b = select(lane / 16u, lane % DEPTH, TRANSPOSE_B == 1u);
    let quad_b = select(lane % 16u, lane / DEPTH, TRANSPOSE_B == 1u);
    let column_b = column + 4u * quad_b;
    tile_b[k_b * LINE + quad_b] = elem4(
      element_b(at.y, k + k_b, column_b),
      element_b(at.y, k + k_b, column_b + 1u),
      element_b(at.y, k + k_b, column_b + 2u),
      element_b(at.y, k + k_b, column_b + 3u),
    );
    workgroupBarrier();
    for (var first = 0u; first < DEPTH; first += RUN) {
      for (var d = first; d < first + RUN; d++) {
        let p = tile_a[d * LINE + local.y];
        let q = tile_b[d * LINE + local.x];
        run[0] += p.x * q;
        run[1] += p.y * q;
        run[2] += p.z * q;
        run[3] += p.w * q;
      }
      if (HALF) {
        sum0 += vec4f(run[0]);
        sum1 += vec4f(run[1]);
        sum2 += vec4f(run[2]);
        sum3 += vec4f(run[3]);
        run = array<elem4, 4>();
      }
    }
    workgroupBarrier();
  }
  let base = group.z * params.m * params.n;
  let to_row = row + local.y * 4u;
  let to_column = column + local.x * 4u;
  store(base, to_row, to_column, sum0 + vec4f(run[0]));
  store(base, to_row + 1u, to_column, sum1 + vec4f(run[1]));
  store(base, to_row + 2u, to_column, sum2 + vec4f(run[2]));
  store(base, to_row + 3u, to_column, sum3 + vec4f(run[3]));
}
