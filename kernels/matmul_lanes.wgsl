// y = A B for batches of matrices, A (m, k), B (k, n), either stored transposed, where subgroups have 8 lanes or
// more: for CPU drivers.  y = Σ_image A_image B_image where `images` says so; a bias a row, ReLU.
// One subgroup computes 16 rows × 32 columns: of B each lane has four columns in its registers, of A the lanes load
// different values and hand them round by shuffles. Four k at a time: 2 vec4f of A and 4 of B for 256 FMAs; on
// llvmpipe a load costs tens of FMAs, a shuffle two. (64 columns: fewer loads, but twice as slow.)
// The sum over k can be split: chunks of k are dealt out over `splits` sums, which conv2d_reduce adds up in order.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;
// In the half form, too, f32 for A that is a weight, and for y that is a sum of products.
alias elemA = elem;
alias elemA4 = elem4;
alias elemY = elem;

override TRANSPOSE_A: bool = false; // A is stored (k, m)
override TRANSPOSE_B: bool = false; // B is stored (n, k)
override WIDE_A: bool = false;      // A's inner size divides by 4, and so do chunks of k: loads of vec4f
override WIDE_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
// Rows are (channel, a, b) and columns (i, j): y (channels, 2·rows of i, 2·width) is written where 2×2 windows lie,
// pixel (2i + a, 2j + b): a transposed convolution of windows that tile the image. `width` divides by 4.
override TILED: bool = false;

struct Params {
  m: i32, n: i32, k: i32,
  // Batch axes of y from the innermost outwards, and the strides of A and B along them in matrices.
  n0: i32, n1: i32, n2: i32, n3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
  // Summed pairs of matrices: their distance in elements; chunks of k in each, and of how many k.
  stepA: i32, stepB: i32, chunks: i32, chunk: i32, total: i32, perSplit: i32, splits: i32,
  width: i32, relu: u32,
  // Matrix i of y lies offset + i·gap elements further than in a dense array.
  offset: i32, gap: i32,
}

// A and B are bound twice: as elements and as vec4s. Where there is no bias, A stands in for it.
@group(0) @binding(0) var<storage, read> a: array<elemA>;
@group(0) @binding(1) var<storage, read> wide_a: array<elemA4>;
@group(0) @binding(2) var<storage, read> b: array<elem>;
@group(0) @binding(3) var<storage, read> wide_b: array<elem4>;
@group(0) @binding(4) var<storage, read> bias: array<elemA>;
@group(0) @binding(5) var<storage, read_write> y: array<elemY>;
@group(0) @binding(6) var<uniform> params: Params;

// Where the matrices of a batch index begin, in elements.
fn bases(batch: i32) -> vec2i {
  let r0 = batch / params.n0;
  let c0 = batch - r0 * params.n0;
  let r1 = r0 / params.n1;
  let c1 = r0 - r1 * params.n1;
  let c3 = r1 / params.n2;
  let c2 = r1 - c3 * params.n2;
  let matrix_a = c0 * params.a0 + c1 * params.a1 + c2 * params.a2 + c3 * params.a3;
  let matrix_b = c0 * params.b0 + c1 * params.b1 + c2 * params.b2 + c3 * params.b3;
  return vec2i(matrix_a * params.m * params.k, matrix_b * params.k * params.n);
}

// Four elements of row `outer` of storage from `inner` on; zero from `end` on. Rows from `outers` on repeat the last.
fn load_a(base: i32, outer: i32, inner: i32, outers: i32, inners: i32) -> vec4f {
  let at = base + min(outer, outers - 1) * inners;
  if (WIDE_A) { return vec4f(wide_a[(at + min(inner, inners - 4)) / 4]); }
  let i = inner + vec4i(0, 1, 2, 3);
  let p = at + min(i, vec4i(inners - 1));
  return select(vec4f(), vec4f(f32(a[p.x]), f32(a[p.y]), f32(a[p.z]), f32(a[p.w])), i < vec4i(inners));
}

fn load_b(base: i32, outer: i32, inner: i32, outers: i32, inners: i32) -> vec4f {
  let at = base + min(outer, outers - 1) * inners;
  if (WIDE_B) { return vec4f(wide_b[(at + min(inner, inners - 4)) / 4]); }
  let i = inner + vec4i(0, 1, 2, 3);
  let p = at + min(i, vec4i(inners - 1));
  return select(vec4f(), vec4f(f32(b[p.x]), f32(b[p.y]), f32(b[p.z]), f32(b[p.w])), i < vec4i(inners));
}

// The A of four k for 16 rows, spread over the lanes. Stored (m, k): lane l has four k of row l in p and of row
// l + 8 in q. Stored (k, m): lanes 0 … 3 have 16 rows of the first k in p, lanes 4 … 7 of the second, q the others.
struct Left { p: vec4f, q: vec4f }

fn left(base: i32, row: i32, k: i32, lane: i32) -> Left {
  if (TRANSPOSE_A) {
    let r = row + (lane & 3) * 4;
    let d = k + (lane >> 2);
    let p = load_a(base, d, r, params.k, params.m);
    let q = load_a(base, d + 2, r, params.k, params.m);
    return Left(select(vec4f(), p, d < params.k), select(vec4f(), q, d + 2 < params.k));
  }
  return Left(load_a(base, row + lane, k, params.m, params.k), load_a(base, row + lane + 8, k, params.m, params.k));
}

// Four columns of B for four k.
fn right(base: i32, k: i32, column: i32) -> mat4x4f {
  if (TRANSPOSE_B) {
    return transpose(mat4x4f(
      load_b(base, column, k, params.n, params.k), load_b(base, column + 1, k, params.n, params.k),
      load_b(base, column + 2, k, params.n, params.k), load_b(base, column + 3, k, params.n, params.k)));
  }
  return mat4x4f(
    load_b(base, k, column, params.k, params.n), load_b(base, k + 1, column, params.k, params.n),
    load_b(base, k + 2, column, params.k, params.n), load_b(base, k + 3, column, params.k, params.n));
}

fn add(sums: ptr<function, array<vec4f, 16>>, r: u32, value: f32, v: vec4f) {
  (*sums)[r] += value * v;
}

// One k, the j-th of four, of A stored (m, k).
fn add_rows(sums: ptr<function, array<vec4f, 16>>, p: f32, q: f32, v: vec4f) {
  add(sums, 0u, subgroupShuffle(p, 0u), v);
  add(sums, 1u, subgroupShuffle(p, 1u), v);
  add(sums, 2u, subgroupShuffle(p, 2u), v);
  add(sums, 3u, subgroupShuffle(p, 3u), v);
  add(sums, 4u, subgroupShuffle(p, 4u), v);
  add(sums, 5u, subgroupShuffle(p, 5u), v);
  add(sums, 6u, subgroupShuffle(p, 6u), v);
  add(sums, 7u, subgroupShuffle(p, 7u), v);
  add(sums, 8u, subgroupShuffle(q, 0u), v);
  add(sums, 9u, subgroupShuffle(q, 1u), v);
  add(sums, 10u, subgroupShuffle(q, 2u), v);
  add(sums, 11u, subgroupShuffle(q, 3u), v);
  add(sums, 12u, subgroupShuffle(q, 4u), v);
  add(sums, 13u, subgroupShuffle(q, 5u), v);
  add(sums, 14u, subgroupShuffle(q, 6u), v);
  add(sums, 15u, subgroupShuffle(q, 7u), v);
}

// One k of A stored (k, m), in the lanes from `first` on.
fn add_columns(sums: ptr<function, array<vec4f, 16>>, p: vec4f, first: u32, v: vec4f) {
  let p0 = subgroupShuffle(p, first);
  add(sums, 0u, p0.x, v);
  add(sums, 1u, p0.y, v);
  add(sums, 2u, p0.z, v);
  add(sums, 3u, p0.w, v);
  let p1 = subgroupShuffle(p, first + 1u);
  add(sums, 4u, p1.x, v);
  add(sums, 5u, p1.y, v);
  add(sums, 6u, p1.z, v);
  add(sums, 7u, p1.w, v);
  let p2 = subgroupShuffle(p, first + 2u);
  add(sums, 8u, p2.x, v);
  add(sums, 9u, p2.y, v);
  add(sums, 10u, p2.z, v);
  add(sums, 11u, p2.w, v);
  let p3 = subgroupShuffle(p, first + 3u);
  add(sums, 12u, p3.x, v);
  add(sums, 13u, p3.y, v);
  add(sums, 14u, p3.z, v);
  add(sums, 15u, p3.w, v);
}

fn store(row: i32, column: i32, base: i32, sum: vec4f) {
  var to = base + row * params.n + column;
  var step = 1;
  if (TILED) {
    let i = column / params.width;
    let j = column - i * params.width;
    to = base + (row >> 2) * 4 * params.n + (2 * i + ((row >> 1) & 1)) * 2 * params.width + 2 * j + (row & 1);
    step = 2;
  }
  for (var i = 0; i < min(4, params.n - column); i++) {
    var value = sum[i];
    if (ACCUMULATE) { value += f32(y[to + i * step]); }
    if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
    y[to + i * step] = elemY(value);
  }
}

@compute @workgroup_size(8)
fn matmul_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let row = i32(group.y) * 16;
  let columns = i32(group.x) * 32 + lane * 4;
  let batch = i32(group.z) / params.splits;
  let split = i32(group.z) - batch * params.splits;
  let at = bases(batch);

  var sums: array<vec4f, 16>;
  let last = min(params.total, (split + 1) * params.perSplit);
  for (var c = split * params.perSplit; c < last; c++) {
    let image = c / params.chunks;
    let first = (c - image * params.chunks) * params.chunk;
    let from_a = at.x + image * params.stepA;
    let from_b = at.y + image * params.stepB;
    let end = min(params.k, first + params.chunk);
    for (var k = first; k < end; k += 4) {
      let l = left(from_a, row, k, lane);
      let v = right(from_b, k, columns);
      if (TRANSPOSE_A) {
        add_columns(&sums, l.p, 0u, v[0]);
        add_columns(&sums, l.p, 4u, v[1]);
        add_columns(&sums, l.q, 0u, v[2]);
        add_columns(&sums, l.q, 4u, v[3]);
      } else {
        add_rows(&sums, l.p.x, l.q.x, v[0]);
        add_rows(&sums, l.p.y, l.q.y, v[1]);
        add_rows(&sums, l.p.z, l.q.z, v[2]);
        add_rows(&sums, l.p.w, l.q.w, v[3]);
      }
    }
  }

  let base = i32(group.z) * (params.m * params.n + params.gap) + params.offset;
  for (var r = 0; r < min(16, params.m - row); r++) {
    var add = 0.0;
    if (BIAS) { add = f32(bias[select(row + r, (row + r) >> 2, TILED)]); }
    store(row + r, columns, base, sums[r] + add);
  }
}
