// y = A B for batches of matrices, A (m, k), B (k, n), either stored transposed, where subgroups have 8 lanes or
// more: for CPU drivers.  y = Σ_image A_image B_image where `images` says so; a bias a row, ReLU.
// One subgroup computes 32 (TALL) or 16 rows × 32 columns: of B each lane has four columns in its registers, of A the
// lanes load different values and hand them round by shuffles. Four k at a time, a row after the other, so that a row's
// sums are read and written once for 16 FMAs a lane; TALL: 4 vec4f of A and 4 of B for 512. On llvmpipe a load costs tens
// of FMAs, a shuffle two. (64 rows or columns: fewer loads, but slower: twice the code.)
// The columns may be those of several images: image i of B (k, line) is followed by the next, y's likewise.
// The sum over k can be split: chunks of k are dealt out over `splits` sums, which conv2d_reduce adds up in order.
//   matmul_lanes_wide  writes y in vec4s, matmul_lanes_wide_sums likewise
//   matmul_lanes_sums  also Σ_k of each row of A, or with WINDOWS of the four columns of B that are a channel's: a bias'
//                      gradient beside the weight's, from what is loaded anyhow. Of one product of a batch, `summed`.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;
// In the half form, too, f32 for A that is a weight, for y that is a sum of products, and for patches as B or y.
alias elemA = elem;
alias elemA4 = elem4;
alias elemB = elem;
alias elemB4 = elem4;
alias elemY = elem;
alias elemY4 = elem4;

override TRANSPOSE_A: bool = false; // A is stored (k, m)
override TRANSPOSE_B: bool = false; // B is stored (n, k)
override WIDE_A: bool = false;      // A's inner size divides by 4, and so do chunks of k: loads of vec4f
override WIDE_B: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
// Rows are (channel, a, b) and columns (i, j): y (channels, 2·rows of i, 2·width) is written where 2×2 windows lie,
// pixel (2i + a, 2j + b): a transposed convolution of windows that tile the image. `width` divides by 4.
override TILED: bool = false;
// The same read: B's rows (transposed: columns) are (channel, a, b) and lie in images (channels, 2·rows, 2·width).
override WINDOWS: bool = false;
override TALL: bool = false;
override SUMS: bool = false;
// Workgroups side by side have rows below each other instead of columns beside each other: of A and B the larger is read once.
override DOWN: bool = false;

// include: parts/over.wgsl

struct Params {
  m: i32, n: i32, k: i32,
  // Batch axes of y from the innermost outwards, and the strides of A and B along them in matrices.
  n0: i32, n1: i32, n2: i32, n3: i32,
  a0: i32, a1: i32, a2: i32, a3: i32,
  b0: i32, b1: i32, b2: i32, b3: i32,
  // Summed pairs of matrices: their distance in elements; chunks of k in each, and of how many k.
  stepA: i32, stepB: i32, chunks: i32, chunk: i32, total: i32, perSplit: i32, splits: i32,
  width: i32, relu: u32,
  // B's rows lie `line` elements apart, y's `plane`; an image has `across` of the n columns, a multiple of four if
  // there are several: `spans`.
  line: i32, plane: i32, across: i32, spans: i32,
  // The matrices of image i of y lie offset + i·gap elements further than in a dense array.
  offset: i32, gap: i32,
  // The same of B, images of which may be channels of a larger array.
  sourceOffset: i32, sourceGap: i32,
  // Of convolutions in groups: matrices of an image, which have rows of bias of their own.
  groups: i32,
  summed: i32, addSums: u32,
}

// A and B are bound twice: as elements and as vec4s. Where there is no bias, A stands in for it.
@group(0) @binding(0) var<storage, read> a: array<elemA>;
@group(0) @binding(1) var<storage, read> wide_a: array<elemA4>;
@group(0) @binding(2) var<storage, read> b: array<elemB>;
@group(0) @binding(3) var<storage, read> wide_b: array<elemB4>;
@group(0) @binding(4) var<storage, read> bias: array<elemA>;
@group(0) @binding(5) var<storage, read_write> y: array<elemY>;
@group(0) @binding(6) var<uniform> params: Params;
@group(0) @binding(7) var<storage, read_write> dbias: array<f32>;
// y in the entries that write whole vec4s: its rows and where they begin divide by four.
@group(0) @binding(8) var<storage, read_write> y4: array<elemY4>;

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
  return vec2i(
    matrix_a * params.m * params.k,
    matrix_b * params.k * params.n + params.sourceOffset + batch / params.groups * params.sourceGap);
}

// Four elements of row `outer` of storage from `inner` on; zero from `end` on. Rows from `outers` on repeat the last.
fn load_a(base: i32, outer: i32, inner: i32, outers: i32, inners: i32) -> vec4f {
  let at = base + min(outer, outers - 1) * inners;
  if (WIDE_A) { return vec4f(wide_a[(at + min(inner, inners - 4)) / 4]); }
  let i = inner + vec4i(0, 1, 2, 3);
  let p = at + min(i, vec4i(inners - 1));
  return select(vec4f(), vec4f(f32(a[p.x]), f32(a[p.y]), f32(a[p.z]), f32(a[p.w])), i < vec4i(inners));
}

fn load_b(at: i32, inner: i32, inners: i32) -> vec4f {
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

// Row k of B, from `column` of an image on; column `column` of B, from k on.
fn row_of_b(base: i32, k: i32, column: i32) -> vec4f {
  return load_b(base + min(k, params.k - 1) * params.line, column, params.across);
}
fn column_of_b(base: i32, k: i32, column: i32) -> vec4f {
  return load_b(base + min(column, params.n - 1) * params.line, k, params.line);
}

// Where the window of pixel (i, j) begins in its plane.
fn window_at(pixel: i32) -> i32 {
  let i = over(pixel, params.width);
  return 4 * i * params.width + 2 * (pixel - i * params.width);
}

// Four columns of B for four k.
fn right(base: i32, k: i32, column: i32, window: i32) -> mat4x4f {
  if (WINDOWS) {
    // Four pixels of a row have two rows of eight values in their windows.
    var at = base + k * params.line + window;
    if (TRANSPOSE_B) { at = base + min(column, params.n - 4) * params.line + window_at(k); }
    let below = (at + 2 * params.width) / 4;
    let p = vec4f(wide_b[at / 4]);
    let q = vec4f(wide_b[at / 4 + 1]);
    let r = vec4f(wide_b[below]);
    let s = vec4f(wide_b[below + 1]);
    if (TRANSPOSE_B) {
      return mat4x4f(vec4f(p.xy, r.xy), vec4f(p.zw, r.zw), vec4f(q.xy, s.xy), vec4f(q.zw, s.zw));
    }
    return mat4x4f(vec4f(p.xz, q.xz), vec4f(p.yw, q.yw), vec4f(r.xz, s.xz), vec4f(r.yw, s.yw));
  }
  if (TRANSPOSE_B) {
    return transpose(mat4x4f(
      column_of_b(base, k, column), column_of_b(base, k, column + 1),
      column_of_b(base, k, column + 2), column_of_b(base, k, column + 3)));
  }
  if (TRANSPOSE_A && !TILED && !ACCUMULATE) {
    // Two turns (n0 is at least 1), a number not known when this is compiled, so that they are not unrolled: with the rows
    // of A to be sorted the loop over k is presumably too long for what a processor holds decoded (0.87 to 0.95 of the time
    // of four loads written out; with TILED or ACCUMULATE 1.05 to 1.3).
    var rows = mat4x4f();
    for (var i = 0; i < min(2, params.n0 + 1); i++) {
      let above = row_of_b(base, k + 2 * i, column);
      rows = mat4x4f(rows[2], rows[3], above, row_of_b(base, k + 2 * i + 1, column));
    }
    return rows;
  }
  return mat4x4f(
    row_of_b(base, k, column), row_of_b(base, k + 1, column),
    row_of_b(base, k + 2, column), row_of_b(base, k + 3, column));
}

// SUMS: of the rows lane, lane + 8, … of A, or of the lane's columns of B.
var<private> over_k: mat4x4f;

alias Sums = array<vec4f, 32>;

// Adds four k to row r.
fn add(sums: ptr<function, Sums>, r: u32, a: vec4f, v: mat4x4f) {
  (*sums)[r] = (*sums)[r] + a.x * v[0] + a.y * v[1] + a.z * v[2] + a.w * v[3];
}

// A stored (m, k): each lane has a row of p and of q. Rows go to sums[first …].
fn add_rows(sums: ptr<function, Sums>, first: u32, l: Left, v: mat4x4f) {
  add(sums, first, subgroupShuffle(l.p, 0u), v);
  add(sums, first + 1u, subgroupShuffle(l.p, 1u), v);
  add(sums, first + 2u, subgroupShuffle(l.p, 2u), v);
  add(sums, first + 3u, subgroupShuffle(l.p, 3u), v);
  add(sums, first + 4u, subgroupShuffle(l.p, 4u), v);
  add(sums, first + 5u, subgroupShuffle(l.p, 5u), v);
  add(sums, first + 6u, subgroupShuffle(l.p, 6u), v);
  add(sums, first + 7u, subgroupShuffle(l.p, 7u), v);
  add(sums, first + 8u, subgroupShuffle(l.q, 0u), v);
  add(sums, first + 9u, subgroupShuffle(l.q, 1u), v);
  add(sums, first + 10u, subgroupShuffle(l.q, 2u), v);
  add(sums, first + 11u, subgroupShuffle(l.q, 3u), v);
  add(sums, first + 12u, subgroupShuffle(l.q, 4u), v);
  add(sums, first + 13u, subgroupShuffle(l.q, 5u), v);
  add(sums, first + 14u, subgroupShuffle(l.q, 6u), v);
  add(sums, first + 15u, subgroupShuffle(l.q, 7u), v);
}

// A stored (k, m): rows 4·r to 4·r + 3 lie in the lanes r and r + 4.
fn add_columns(sums: ptr<function, Sums>, first: u32, l: Left, v: mat4x4f) {
  add_column(sums, first, l, v, 0u);
  add_column(sums, first + 4u, l, v, 1u);
  add_column(sums, first + 8u, l, v, 2u);
  add_column(sums, first + 12u, l, v, 3u);
}

fn add_column(sums: ptr<function, Sums>, first: u32, l: Left, v: mat4x4f, lane: u32) {
  let a = mat4x4f(
    subgroupShuffle(l.p, lane), subgroupShuffle(l.p, lane + 4u),
    subgroupShuffle(l.q, lane), subgroupShuffle(l.q, lane + 4u));
  let rows = transpose(a);
  add(sums, first, rows[0], v);
  add(sums, first + 1u, rows[1], v);
  add(sums, first + 2u, rows[2], v);
  add(sums, first + 3u, rows[3], v);
}

fn add_product(sums: ptr<function, Sums>, first: u32, l: Left, v: mat4x4f) {
  if (TRANSPOSE_A) { add_columns(sums, first, l, v); } else { add_rows(sums, first, l, v); }
}

fn put(to: i32, sum: f32) {
  var value = sum;
  if (ACCUMULATE) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elemY(value);
}

// Four columns of a row; those from the image's last on are left out.
fn store(to: i32, column: i32, sum: vec4f) {
  let step = select(1, 2, TILED);
  if (column < params.plane) { put(to, sum.x); }
  if (column + 1 < params.plane) { put(to + step, sum.y); }
  if (column + 2 < params.plane) { put(to + 2 * step, sum.z); }
  if (column + 3 < params.plane) { put(to + 3 * step, sum.w); }
}

// Where a tile lies: its first row, the lane's first column in its image, where the image begins in y, and the rows' biases.
struct Tile { row: i32, rows: i32, column: i32, base: i32, bias: i32 }

// The sums of a tile.
fn product(sums: ptr<function, Sums>, group: vec3u, lane: i32) -> Tile {
  let rows = select(16, 32, TALL);
  let row = i32(group.y) * rows;
  let columns = i32(group.x) * 32 + lane * 4;
  let batch = i32(group.z) / params.splits;
  let split = i32(group.z) - batch * params.splits;
  let at = bases(batch);
  // The lane's columns in their image. Lanes behind the last image repeat it and store nothing.
  let span = min(over(columns, params.across), params.spans - 1);
  let column = columns - span * params.across;
  let beside = span * (params.k * params.line + params.sourceGap);
  var window = 0;
  if (WINDOWS && !TRANSPOSE_B) { window = window_at(min(column, params.across - 4)); }

  let last = min(params.total, (split + 1) * params.perSplit);
  for (var c = split * params.perSplit; c < last; c++) {
    let image = c / params.chunks;
    let first = (c - image * params.chunks) * params.chunk;
    let from_a = at.x + image * params.stepA;
    let from_b = at.y + image * params.stepB + beside;
    let end = min(params.k, first + params.chunk);
    for (var k = first; k < end; k += 4) {
      let v = right(from_b, k, column, window);
      let upper = left(from_a, row, k, lane);
      add_product(sums, 0u, upper, v);
      var lower = Left();
      if (TALL) {
        lower = left(from_a, row + 16, k, lane);
        add_product(sums, 16u, lower, v);
      }
      if (SUMS) {
        if (WINDOWS) { over_k += v; } else { over_k += mat4x4f(upper.p, upper.q, lower.p, lower.q); }
      }
    }
  }
  let matrix = i32(group.z) * params.spans + span;
  let result = matrix / params.groups;
  let base = matrix * params.m * params.plane + result * params.gap + params.offset;
  return Tile(row, min(rows, params.m - row), column, base, (matrix - result * params.groups) * params.m + row);
}

// A tile's rows, as they are or as windows.
fn store_tile(sums: ptr<function, Sums>, t: Tile) {
  let tile = window_at(t.column);
  for (var i = 0; i < t.rows; i++) {
    let r = t.row + i;
    var add = 0.0;
    if (BIAS) { add = f32(bias[select(t.bias + i, r >> 2, TILED)]); }
    var to = t.base + r * params.plane + t.column;
    if (TILED) { to = t.base + (r >> 2) * 4 * params.plane + tile + (r & 1) + ((r >> 1) & 1) * 2 * params.width; }
    store(to, t.column, (*sums)[i] + add);
  }
}

// Four columns of y that lie in one vec4.
fn put_wide(to: i32, sums: vec4f) {
  var value = sums;
  if (ACCUMULATE) { value += vec4f(y4[to]); }
  if (params.relu != 0u) { value = select(value, vec4f(), value < vec4f()); }
  y4[to] = elemY4(value);
}

// A tile's rows in vec4s.
fn store_wide(sums: ptr<function, Sums>, t: Tile) {
  if (t.column >= params.plane) { return; }
  if (TILED) {
    // Two rows of the tile are every other pixel of a row of windows.
    let tile = t.base + window_at(t.column);
    for (var i = 0; i < t.rows; i += 2) {
      let r = t.row + i;
      var add = 0.0;
      if (BIAS) { add = f32(bias[r >> 2]); }
      let p = (*sums)[i] + add;
      let q = (*sums)[i + 1] + add;
      let to = (tile + (r >> 2) * 4 * params.plane + ((r >> 1) & 1) * 2 * params.width) / 4;
      put_wide(to, vec4f(p.x, q.x, p.y, q.y));
      put_wide(to + 1, vec4f(p.z, q.z, p.w, q.w));
    }
    return;
  }
  for (var i = 0; i < t.rows; i++) {
    var sum = (*sums)[i];
    if (BIAS) { sum += f32(bias[t.bias + i]); }
    put_wide((t.base + (t.row + i) * params.plane + t.column) / 4, sum);
  }
}

fn put_sum(to: i32, sum: f32) {
  dbias[to] = sum + select(0.0, dbias[to], params.addSums != 0u);
}

// What over_k holds, by the workgroups of the first columns, or with windows of the first rows.
fn store_sums(group: vec3u, lane: i32) {
  let batch = i32(group.z) / params.splits;
  if (batch != params.summed) { return; }
  let split = i32(group.z) - batch * params.splits;
  if (WINDOWS) {
    let channel = i32(group.x) * 8 + lane;
    if ((group.y == 0u) & (4 * channel < params.n)) {
      put_sum(split * params.n / 4 + channel, dot(over_k * vec4f(1.0), vec4f(1.0)));
    }
    return;
  }
  let row = i32(group.y) * select(16, 32, TALL) + lane;
  let sums = vec4f(1.0) * over_k;
  for (var i = 0; i < select(2, 4, TALL); i++) {
    let r = row + 8 * i;
    if ((group.x == 0u) & (r < params.m)) { put_sum(split * params.m + r, sums[i]); }
  }
}

@compute @workgroup_size(8)
fn matmul_lanes(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let group = select(id, id.yxz, DOWN);
  var sums: Sums;
  let tile = product(&sums, group, i32(lane));
  store_tile(&sums, tile);
}

@compute @workgroup_size(8)
fn matmul_lanes_wide(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let group = select(id, id.yxz, DOWN);
  var sums: Sums;
  let tile = product(&sums, group, i32(lane));
  store_wide(&sums, tile);
}

@compute @workgroup_size(8)
fn matmul_lanes_sums(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let group = select(id, id.yxz, DOWN);
  var sums: Sums;
  let tile = product(&sums, group, i32(lane));
  store_tile(&sums, tile);
  store_sums(group, i32(lane));
}

@compute @workgroup_size(8)
fn matmul_lanes_wide_sums(@builtin(workgroup_id) id: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let group = select(id, id.yxz, DOWN);
  var sums: Sums;
  let tile = product(&sums, group, i32(lane));
  store_wide(&sums, tile);
  store_sums(group, i32(lane));
}
