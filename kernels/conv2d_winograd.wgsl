// Transforms of Winograd's convolution 3×3, stride 1, F(4×4) (Lavin and Gray 2016, arXiv:1509.09308), at the points
// 0, ±1/√2, ±√2, ∞ rather than 0, ±1, ±2, ∞: as many operations, and smaller rounding errors.
//   y = Aᵀ [ Σ_i (G w Gᵀ) ⊙ (Bᵀ x B) ] A      for each tile of 4×4 pixels of y, 6×6 of x
// The sum over channels is a matrix product for each of the 36 places of a transformed tile, a quarter of the
// multiplications of the direct sum:  M[f] (cout, tiles) = U[f] (cout, cin) · V[f] (cin, tiles).
//   conv2d_winograd_transform_factors  U from weight, V from x
//   conv2d_winograd_transform_output   y from M, with bias, ReLU, accumulation
// The gradient of the weight turns the same sum round:  dw = Gᵀ [ Σ_tiles (A dy Aᵀ) ⊙ (Bᵀ x B) ] G
//   conv2d_winograd_transform_both     V from x and A dy Aᵀ   conv2d_winograd_transform_window   dw from the products
// Both gradients of a layer, where padding is 1 and rows are whole vec4fs: what each would start with, and what it would
// end with, is one launch. What belongs to the weight's gradient comes first in V, that of x first in M; the other lies
// `behind`.
//   conv2d_winograd_transform_backward   U from weight, V from x and dy, A dy Aᵀ
//   conv2d_winograd_transform_gradients  dx and dw from M
// SMALL is F(2×2): a tile is four of 2×2 pixels, upper left to lower right, 16 places each. They lie side by side, as four
// columns of a product, so that what one of them needs is done for all in a vec4f.
// TURN reads the weights turned by 180°: with the channels exchanged this is the gradient of x, padding 2 − p.
alias elem = f32;
alias elem4 = vec4f;

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> products: array<f32>;
@group(0) @binding(5) var<storage, read_write> transformed: array<f32>;
@group(0) @binding(6) var<storage, read_write> y: array<elem>;
@group(0) @binding(7) var<uniform> params: Params;
@group(0) @binding(8) var<storage, read> products4: array<vec4f>;
@group(0) @binding(9) var<storage, read> dy: array<elem>;
@group(0) @binding(10) var<storage, read> dy4: array<elem4>;
@group(0) @binding(11) var<storage, read_write> upstream: array<f32>;
@group(0) @binding(12) var<storage, read_write> factor: array<f32>;

// VEC: padding 1 and x a multiple of four wide: a row's middle four are one vec4f.
override VEC: bool = false;
// dy a multiple of four wide.
override DYVEC: bool = false;
override SMALL: bool = false;
override TURN: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override ADD_WEIGHTS: bool = false;
override WG: u32 = 64;

// include: parts/winograd_tiles.wgsl

// Writes the transform of a row, six places of the tile.
fn store_row(row: i32, l: vec4f, h: vec4f, to: i32, step: i32) {
  let even1 = h.x - 2.0 * l.z;
  let odd1 = NEAR * (l.w - 2.0 * l.y);
  let even2 = h.x - 0.5 * l.z;
  let odd2 = FAR * (l.w - 0.5 * l.y);
  let at = to + row * 6 * step;
  transformed[at] = l.x - 2.5 * l.z + h.x;
  transformed[at + step] = even1 + odd1;
  transformed[at + 2 * step] = even1 - odd1;
  transformed[at + 3 * step] = even2 + odd2;
  transformed[at + 4 * step] = even2 - odd2;
  transformed[at + 5 * step] = l.y - 2.5 * l.w + h.y;
}

fn store_four(at: i32, v: vec4f) {
  transformed[at] = v.x;
  transformed[at + 1] = v.y;
  transformed[at + 2] = v.z;
  transformed[at + 3] = v.w;
}

// SMALL: a row of places of the four tiles, from a row of the upper two and one of the lower two.
fn store_row_small(row: i32, upper: Row, lower: Row, to: i32, step: i32) {
  let a = vec4f(upper.l.xz, lower.l.xz);
  let b = vec4f(upper.l.yw, lower.l.yw);
  let c = vec4f(upper.l.z, upper.h.x, lower.l.z, lower.h.x);
  let d = vec4f(upper.l.w, upper.h.y, lower.l.w, lower.h.y);
  let at = 4 * (to + row * 4 * step);
  store_four(at, a - c);
  store_four(at + 4 * step, b + c);
  store_four(at + 8 * step, c - b);
  store_four(at + 12 * step, b - d);
}

fn add(a: Row, b: Row) -> Row { return Row(a.l + b.l, a.h + b.h); }
fn minus(a: Row, b: Row) -> Row { return Row(a.l - b.l, a.h - b.h); }

fn value_at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

struct Row { l: vec4f, h: vec4f }

fn load(plane: i32, iy: i32, ix: i32) -> Row {
  let inRow = (iy >= 0) & (iy < params.h);
  let start = plane + iy * params.w + ix;
  if (VEC) {
    let left = value_at(start, inRow & (ix >= 0));
    let right = value_at(start + 5, inRow & (ix + 5 < params.w));
    let middle = select(vec4f(), vec4f(x4[select(0, (start + 1) / 4, inRow)]), inRow);
    return Row(vec4f(left, middle.xyz), vec4f(middle.w, right, 0.0, 0.0));
  }
  let column = ix + vec4i(0, 1, 2, 3);
  let more = ix + vec2i(4, 5);
  let a = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(params.w));
  let b = vec2<bool>(inRow) & (more >= vec2i()) & (more < vec2i(params.w));
  return Row(
    vec4f(value_at(start, a.x), value_at(start + 1, a.y), value_at(start + 2, a.z), value_at(start + 3, a.w)),
    vec4f(value_at(start + 4, b.x), value_at(start + 5, b.y), 0.0, 0.0));
}

fn transform_input(tile: Tile, index: i32, tiles: i32) {
  let ix = tile.x - params.padW;
  let iy = tile.y - params.padH;
  let plane = (tile.image * params.cin + tile.channel) * params.h * params.w;
  let r0 = load(plane, iy, ix);
  let r1 = load(plane, iy + 1, ix);
  let r2 = load(plane, iy + 2, ix);
  let r3 = load(plane, iy + 3, ix);
  let r4 = load(plane, iy + 4, ix);
  let r5 = load(plane, iy + 5, ix);
  store_tile(r0, r1, r2, r3, r4, r5, index, params.cin * tiles);
}

fn store_tile(r0: Row, r1: Row, r2: Row, r3: Row, r4: Row, r5: Row, index: i32, step: i32) {
  if (SMALL) {
    store_row_small(0, minus(r0, r2), minus(r2, r4), index, step);
    store_row_small(1, add(r1, r2), add(r3, r4), index, step);
    store_row_small(2, minus(r2, r1), minus(r4, r3), index, step);
    store_row_small(3, minus(r1, r3), minus(r3, r5), index, step);
    return;
  }
  let l = forth(Six(r0.l, r1.l, r2.l, r3.l, r4.l, r5.l));
  let h = forth(Six(r0.h, r1.h, r2.h, r3.h, r4.h, r5.h));
  store_row(0, l.a, h.a, index, step);
  store_row(1, l.b, h.b, index, step);
  store_row(2, l.c, h.c, index, step);
  store_row(3, l.d, h.d, index, step);
  store_row(4, l.e, h.e, index, step);
  store_row(5, l.f, h.f, index, step);
}

// G of three values along a row, six places of the tile.
fn store_weight(row: i32, g: vec3f, to: i32, step: i32) {
  let at = to + row * 6 * step;
  let near = g.x + 0.5 * g.z;
  let far = g.x + 2.0 * g.z;
  factor[at] = g.x;
  factor[at + step] = -(near + NEAR * g.y) / 1.5;
  factor[at + 2 * step] = -(near - NEAR * g.y) / 1.5;
  factor[at + 3 * step] = (far + FAR * g.y) / 6.0;
  factor[at + 4 * step] = (far - FAR * g.y) / 6.0;
  factor[at + 5 * step] = g.z;
}

fn store_weight_small(row: i32, g: vec3f, to: i32, step: i32) {
  let at = to + row * 4 * step;
  factor[at] = g.x;
  factor[at + step] = (g.x + g.z + g.y) / 2.0;
  factor[at + 2 * step] = (g.x + g.z - g.y) / 2.0;
  factor[at + 3 * step] = g.z;
}

// Of a convolution with so many channels.
fn transform_weight(index: i32, cout: i32, cin: i32) {
  if (index >= cout * cin) { return; }
  let w = window_of(index, cin);
  let top = w.top;
  let middle = w.middle;
  let low = w.low;
  let step = params.cout * params.cin;
  if (SMALL) {
    let outer = top + low;
    store_weight_small(0, top, index, step);
    store_weight_small(1, (outer + middle) / 2.0, index, step);
    store_weight_small(2, (outer - middle) / 2.0, index, step);
    store_weight_small(3, low, index, step);
    return;
  }
  let near = top + 0.5 * low;
  let far = top + 2.0 * low;
  store_weight(0, top, index, step);
  store_weight(1, -(near + NEAR * middle) / 1.5, index, step);
  store_weight(2, -(near - NEAR * middle) / 1.5, index, step);
  store_weight(3, (far + FAR * middle) / 6.0, index, step);
  store_weight(4, (far - FAR * middle) / 6.0, index, step);
  store_weight(5, low, index, step);
}

// Workgroups from `weights` on transform weights, those before them tiles of x: one launch for two that do not wait for
// each other.
@compute @workgroup_size(WG)
fn conv2d_winograd_transform_factors(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let number = i32(group.x + group.y * count.x);
  if (number >= params.weights) {
    transform_weight((number - params.weights) * i32(WG) + i32(lane), params.cout, params.cin);
    return;
  }
  let index = number * i32(WG) + i32(lane);
  let tiles = params.n * params.tilesH * params.tilesW;
  let tile = tile_of(index, tiles);
  if (tile.channel < params.cin) { transform_input(tile, index, tiles); }
}

fn store_upstream(row: i32, p: vec4f, to: i32, step: i32) {
  let at = to + row * 6 * step;
  let even1 = p.x + 0.5 * p.z;
  let odd1 = NEAR * (p.y + 0.5 * p.w);
  let even2 = p.x + 2.0 * p.z;
  let odd2 = FAR * (p.y + 2.0 * p.w);
  upstream[at] = p.x;
  upstream[at + step] = even1 + odd1;
  upstream[at + 2 * step] = even1 - odd1;
  upstream[at + 3 * step] = even2 + odd2;
  upstream[at + 4 * step] = even2 - odd2;
  upstream[at + 5 * step] = p.w;
}

fn store_upstream_four(at: i32, v: vec4f) {
  upstream[at] = v.x;
  upstream[at + 1] = v.y;
  upstream[at + 2] = v.z;
  upstream[at + 3] = v.w;
}

// SMALL: a row of the upper two tiles and one of the lower two.
fn store_upstream_small(row: i32, upper: vec4f, lower: vec4f, to: i32, step: i32) {
  let p = vec4f(upper.xz, lower.xz);
  let q = vec4f(upper.yw, lower.yw);
  let at = 4 * (to + row * 4 * step);
  store_upstream_four(at, p);
  store_upstream_four(at + 4 * step, p + q);
  store_upstream_four(at + 8 * step, p - q);
  store_upstream_four(at + 12 * step, -q);
}

fn dy_at(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

fn load_upstream(plane: i32, iy: i32, ix: i32) -> vec4f {
  let inRow = iy < params.outH;
  let start = plane + iy * params.outW + ix;
  if (DYVEC) { return select(vec4f(), vec4f(dy4[select(0, start / 4, inRow)]), inRow); }
  let inside = vec4<bool>(inRow) & (ix + vec4i(0, 1, 2, 3) < vec4i(params.outW));
  return vec4f(
    dy_at(start, inside.x), dy_at(start + 1, inside.y), dy_at(start + 2, inside.z), dy_at(start + 3, inside.w));
}

fn transform_upstream(tile: Tile, index: i32, tiles: i32) {
  let plane = (tile.image * params.cout + tile.channel) * params.outH * params.outW;
  let a = load_upstream(plane, tile.y, tile.x);
  let b = load_upstream(plane, tile.y + 1, tile.x);
  let c = load_upstream(plane, tile.y + 2, tile.x);
  let d = load_upstream(plane, tile.y + 3, tile.x);
  store_upstream_tile(a, b, c, d, index, params.cout * tiles);
}

fn store_upstream_tile(a: vec4f, b: vec4f, c: vec4f, d: vec4f, index: i32, step: i32) {
  if (SMALL) {
    store_upstream_small(0, a, c, index, step);
    store_upstream_small(1, a + b, c + d, index, step);
    store_upstream_small(2, a - b, c - d, index, step);
    store_upstream_small(3, -b, -d, index, step);
    return;
  }
  let even1 = a + 0.5 * c;
  let odd1 = NEAR * (b + 0.5 * d);
  let even2 = a + 2.0 * c;
  let odd2 = FAR * (b + 2.0 * d);
  store_upstream(0, a, index, step);
  store_upstream(1, even1 + odd1, index, step);
  store_upstream(2, even1 - odd1, index, step);
  store_upstream(3, even2 + odd2, index, step);
  store_upstream(4, even2 - odd2, index, step);
  store_upstream(5, d, index, step);
}

// A tile of x and one of dy, as long as there are channels of either.
@compute @workgroup_size(WG)
fn conv2d_winograd_transform_both(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let tiles = params.n * params.tilesH * params.tilesW;
  let tile = tile_of(index, tiles);
  if (tile.channel < params.cin) { transform_input(tile, index, tiles); }
  if (tile.channel < params.cout) { transform_upstream(tile, index, tiles); }
}

fn upstream_row(plane: i32, iy: i32, ix: i32) -> Row {
  let inRow = (iy >= 0) & (iy < params.outH);
  let start = plane + iy * params.outW + ix;
  let left = dy_at(start - 1, inRow & (ix > 0));
  let right = dy_at(start + 4, inRow & (ix + 4 < params.outW));
  let middle = select(vec4f(), vec4f(dy4[select(0, start / 4, inRow)]), inRow);
  return Row(vec4f(left, middle.xyz), vec4f(middle.w, right, 0.0, 0.0));
}

fn middle_of(row: Row) -> vec4f { return vec4f(row.l.yzw, row.h.x); }

// A tile of dy for both gradients: with a pixel around it it is the input of the convolution that gives dx.
fn transform_upstream_twice(tile: Tile, index: i32, tiles: i32) {
  let plane = (tile.image * params.cout + tile.channel) * params.outH * params.outW;
  let r0 = upstream_row(plane, tile.y - 1, tile.x);
  let r1 = upstream_row(plane, tile.y, tile.x);
  let r2 = upstream_row(plane, tile.y + 1, tile.x);
  let r3 = upstream_row(plane, tile.y + 2, tile.x);
  let r4 = upstream_row(plane, tile.y + 3, tile.x);
  let r5 = upstream_row(plane, tile.y + 4, tile.x);
  let step = params.cout * tiles;
  store_upstream_tile(middle_of(r1), middle_of(r2), middle_of(r3), middle_of(r4), index, step);
  store_tile(r0, r1, r2, r3, r4, r5, index + select(params.behind, params.behind / 4, SMALL), step);
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let number = i32(group.x + group.y * count.x);
  if (number >= params.weights) {
    transform_weight((number - params.weights) * i32(WG) + i32(lane), params.cin, params.cout);
    return;
  }
  let index = number * i32(WG) + i32(lane);
  let tiles = params.n * params.tilesH * params.tilesW;
  let tile = tile_of(index, tiles);
  if (tile.channel < params.cin) { transform_input(tile, index, tiles); }
  if (tile.channel < params.cout) { transform_upstream_twice(tile, index, tiles); }
}

// Gᵀ along a row of places: three weights.
fn window_row(row: i32, at: i32, step: i32) -> vec3f {
  let i = at + row * 6 * step;
  let b = products[i + step];
  let c = products[i + 2 * step];
  let d = products[i + 3 * step];
  let e = products[i + 4 * step];
  return vec3f(
    products[i] - (b + c) / 1.5 + (d + e) / 6.0, NEAR / 1.5 * (c - b) + FAR / 6.0 * (d - e),
    (d + e - b - c) / 3.0 + products[i + 5 * step]);
}

fn window_row_small(row: i32, at: i32, step: i32) -> vec3f {
  let i = at + row * 4 * step;
  let sum = (products[i + step] + products[i + 2 * step]) / 2.0;
  return vec3f(products[i] + sum, (products[i + step] - products[i + 2 * step]) / 2.0, sum + products[i + 3 * step]);
}

fn transform_window(index: i32) {
  let step = params.cout * params.cin;
  if (index >= step) { return; }
  let at = index + params.behind;
  if (SMALL) {
    let first = window_row_small(0, at, step);
    let plus = window_row_small(1, at, step) / 2.0;
    let less = window_row_small(2, at, step) / 2.0;
    store_window(index * 9, first + (plus + less));
    store_window(index * 9 + 3, plus - less);
    store_window(index * 9 + 6, plus + less + window_row_small(3, at, step));
    return;
  }
  let a = window_row(0, at, step);
  let b = window_row(1, at, step);
  let c = window_row(2, at, step);
  let d = window_row(3, at, step);
  let e = window_row(4, at, step);
  let f = window_row(5, at, step);
  store_window(index * 9, a - (b + c) / 1.5 + (d + e) / 6.0);
  store_window(index * 9 + 3, NEAR / 1.5 * (c - b) + FAR / 6.0 * (d - e));
  store_window(index * 9 + 6, (d + e - b - c) / 3.0 + f);
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_window(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  transform_window(i32((group.x + group.y * count.x) * WG + lane));
}

// Places 6·row … 6·row + 5 of a tile, already put back along the row: four pixels.
fn back_row(row: i32, at: i32, step: i32) -> vec4f {
  let i = at + row * 6 * step;
  let b = products[i + step];
  let c = products[i + 2 * step];
  let d = products[i + 3 * step];
  let e = products[i + 4 * step];
  let near = NEAR * (b - c);
  let far = FAR * (d - e);
  return vec4f(
    products[i] + b + c + d + e, near + far, 0.5 * (b + c) + 2.0 * (d + e),
    0.5 * near + 2.0 * far + products[i + 5 * step]);
}

// Two pixels of each of the four tiles.
struct Two { a: vec4f, b: vec4f }

fn back_row_small(row: i32, at: i32, step: i32) -> Two {
  let i = at + row * 4 * step;
  let b = products4[i + step];
  let c = products4[i + 2 * step];
  return Two(products4[i] + b + c, b - c - products4[i + 3 * step]);
}

fn back_small(at: i32, step: i32) -> Four {
  let a = back_row_small(0, at, step);
  let b = back_row_small(1, at, step);
  let c = back_row_small(2, at, step);
  let d = back_row_small(3, at, step);
  let upper = Two(a.a + b.a + c.a, a.b + b.b + c.b);
  let lower = Two(b.a - c.a - d.a, b.b - c.b - d.b);
  return Four(
    vec4f(upper.a.x, upper.b.x, upper.a.y, upper.b.y), vec4f(lower.a.x, lower.b.x, lower.a.y, lower.b.y),
    vec4f(upper.a.z, upper.b.z, upper.a.w, upper.b.w), vec4f(lower.a.z, lower.b.z, lower.a.w, lower.b.w));
}

fn back_large(at: i32, step: i32) -> Four {
  return back(Six(
    back_row(0, at, step), back_row(1, at, step), back_row(2, at, step),
    back_row(3, at, step), back_row(4, at, step), back_row(5, at, step)));
}

fn store_one(to: i32, sum: f32) {
  var value = sum;
  if (ACCUMULATE) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elem(value);
}

fn store(to: i32, sum: vec4f, inside: vec4<bool>) {
  if (inside.x) { store_one(to, sum.x); }
  if (inside.y) { store_one(to + 1, sum.y); }
  if (inside.z) { store_one(to + 2, sum.z); }
  if (inside.w) { store_one(to + 3, sum.w); }
}

// A tile of y, which has so many channels.
fn transform_output(index: i32, channels: i32) {
  let tiles = params.n * params.tilesH * params.tilesW;
  let tile = tile_of(index, tiles);
  if (tile.channel >= channels) { return; }
  let step = channels * tiles;
  var sums: Four;
  if (SMALL) { sums = back_small(index, step); } else { sums = back_large(index, step); }
  var add = 0.0;
  if (BIAS) { add = bias[tile.channel]; }
  let row = (tile.image * channels + tile.channel) * params.outH + tile.y;
  let to = row * params.outW + tile.x + params.offset + tile.image * params.gap;
  let inside = tile.x + vec4i(0, 1, 2, 3) < vec4i(params.outW);
  let rows = params.outH - tile.y;
  store(to, sums.a + add, inside & vec4<bool>(rows > 0));
  store(to + params.outW, sums.b + add, inside & vec4<bool>(rows > 1));
  store(to + 2 * params.outW, sums.c + add, inside & vec4<bool>(rows > 2));
  store(to + 3 * params.outW, sums.d + add, inside & vec4<bool>(rows > 3));
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_output(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  transform_output(i32((group.x + group.y * count.x) * WG + lane), params.cout);
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_gradients(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let number = i32(group.x + group.y * count.x);
  if (number >= params.weights) {
    transform_window((number - params.weights) * i32(WG) + i32(lane));
    return;
  }
  transform_output(number * i32(WG) + i32(lane), params.cin);
}
