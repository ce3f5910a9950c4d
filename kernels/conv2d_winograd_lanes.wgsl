// The transforms of kernels/conv2d_winograd.wgsl for F(4×4) on CPU drivers whose subgroups have eight lanes or more, where padding
// is 1 and rows are whole vec4s: the same values, to the bit, with fewer loads and stores. There a lane of a driver's vector loads and
// stores by itself, and four values at once cost little more than one. Lanes have neighbouring tiles, so that
//   - what lies beside a tile's four columns its neighbours have loaded;
//   - of four places of a transformed tile four lanes have four tiles each: turned round, each lane has one place of all
//     four, which lie side by side in memory.
// So the tiles of an array, channels included, are a multiple of four. Invocations past the end do all but store.
// DILATED: rows and columns that are equal modulo the dilation see only each other. They are an image of their own, of which there
// are n, w × h large, dilation² for each that there is; their rows are whole vec4s, but their columns lie apart.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<elem>;
@group(0) @binding(5) var<storage, read> dy4: array<elem4>;
@group(0) @binding(6) var<storage, read> products4: array<vec4f>;
@group(0) @binding(7) var<uniform> params: Params;
@group(0) @binding(8) var<storage, read_write> transformed4: array<vec4f>;
@group(0) @binding(9) var<storage, read_write> upstream4: array<vec4f>;
@group(0) @binding(10) var<storage, read_write> factor4: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> y4: array<elem4>;
@group(0) @binding(13) var<storage, read_write> y: array<elem>;
@group(0) @binding(12) var<storage, read_write> transformed: array<f32>; // the gradient of the weight

// Eight tiles in a row of tiles' order may end within a row: eight is no multiple of a row's tiles.
override ENDS: bool = false;
override DILATED: bool = false;
override TURN: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override ADD_WEIGHTS: bool = false;
override WG: u32 = 64;

// include: parts/winograd_tiles.wgsl

// Four values of each of four lanes: lane q gets the q-th of all four. Its own inverse.
fn turned(v: vec4f, q: u32) -> vec4f {
  let odd = (q & 1u) != 0u;
  let s = subgroupShuffleXor(select(v.yw, v.xz, odd), 1u);
  let p = select(vec4f(v.x, s.x, v.z, s.y), vec4f(s.x, v.y, s.y, v.w), odd);
  let high = (q & 2u) != 0u;
  let t = subgroupShuffleXor(select(p.zw, p.xy, high), 2u);
  return select(vec4f(p.xy, t), vec4f(t, p.zw), high);
}

// The 36 places of a tile, or, turned, nine places of four tiles.
alias Places = array<vec4f, 9>;

// Six places along a row.
struct Line { l: vec4f, h: vec2f }

fn places_of(a: Line, b: Line, c: Line, d: Line, e: Line, f: Line, q: u32) -> Places {
  return Places(
    turned(a.l, q), turned(vec4f(a.h, b.l.xy), q), turned(vec4f(b.l.zw, b.h), q),
    turned(c.l, q), turned(vec4f(c.h, d.l.xy), q), turned(vec4f(d.l.zw, d.h), q),
    turned(e.l, q), turned(vec4f(e.h, f.l.xy), q), turned(vec4f(f.l.zw, f.h), q));
}

// Where the first of a lane's nine lies in an array of 36·step values, in vec4s; the others follow `step` apart.
fn first_of(index: i32, step: i32, q: u32) -> i32 { return (index & -4) / 4 + i32(q) * (step / 4); }

fn line_of(l: vec4f, h: vec4f) -> Line {
  let even1 = h.x - 2.0 * l.z;
  let odd1 = NEAR * (l.w - 2.0 * l.y);
  let even2 = h.x - 0.5 * l.z;
  let odd2 = FAR * (l.w - 0.5 * l.y);
  return Line(
    vec4f(l.x - 2.5 * l.z + h.x, even1 + odd1, even1 - odd1, even2 + odd2), vec2f(even2 - odd2, l.y - 2.5 * l.w + h.y));
}

// Six columns of a row: l, and x and y of h.
struct Row { l: vec4f, h: vec4f }

fn store_input(r0: Row, r1: Row, r2: Row, r3: Row, r4: Row, r5: Row, at: i32, step: i32, q: u32, inside: bool) {
  let l = forth(Six(r0.l, r1.l, r2.l, r3.l, r4.l, r5.l));
  let h = forth(Six(r0.h, r1.h, r2.h, r3.h, r4.h, r5.h));
  let p = places_of(
    line_of(l.a, h.a), line_of(l.b, h.b), line_of(l.c, h.c), line_of(l.d, h.d), line_of(l.e, h.e), line_of(l.f, h.f), q);
  if (!inside) { return; }
  transformed4[at] = p[0];
  transformed4[at + step] = p[1];
  transformed4[at + 2 * step] = p[2];
  transformed4[at + 3 * step] = p[3];
  transformed4[at + 4 * step] = p[4];
  transformed4[at + 5 * step] = p[5];
  transformed4[at + 6 * step] = p[6];
  transformed4[at + 7 * step] = p[7];
  transformed4[at + 8 * step] = p[8];
}

// What a lane is: its place among the eight, and among all lanes of its subgroup.
struct Lane { of8: u32, all: u32 }

// A row of a tile: its middle four, and beside them what the neighbours have loaded or, beside the subgroup, `outer`.
fn row_of(m: vec4f, outer: f32, tile: Tile, width: i32, lane: Lane) -> Row {
  let base = lane.all - lane.of8;
  var left = subgroupShuffle(m.w, base + ((lane.of8 + 7u) & 7u));
  var right = subgroupShuffle(m.x, base + ((lane.of8 + 1u) & 7u));
  if (ENDS) {
    left = select(left, outer, lane.of8 == 0u);
    right = select(right, outer, lane.of8 == 7u);
  }
  left = select(left, 0.0, tile.x == 0);
  right = select(right, 0.0, tile.x + 4 >= width);
  return Row(vec4f(left, m.xyz), vec4f(m.w, right, 0.0, 0.0));
}

// Whether a lane's tile has a neighbour in its row that no lane has, on the left of the first lane's, on the right of the last's.
fn ends(tile: Tile, width: i32, lane: Lane) -> bool {
  return ((lane.of8 == 0u) & (tile.x > 0)) | ((lane.of8 == 7u) & (tile.x + 4 < width));
}

// How far a column, and a row of so many, lies behind the one before it.
fn column_step() -> i32 { return select(1, params.dilation, DILATED); }
fn row_step(width: i32) -> i32 { return select(width, width * params.dilation * params.dilation, DILATED); }

// The image, as there are, of the n that a tile is of.
fn image_of(tile: Tile) -> i32 { return select(tile.image, over(tile.image, params.dilation * params.dilation), DILATED); }

// Where the first of a tile's four columns lies, in the row above it, of images with so many channels.
fn start_of(tile: Tile, channels: i32, height: i32, width: i32) -> i32 {
  let image = image_of(tile);
  if (!DILATED) { return ((image * channels + tile.channel) * height + tile.y - 1) * width + tile.x; }
  let d = params.dilation;
  let residue = tile.image - image * d * d;
  let down = over(residue, d);
  let row = (image * channels + tile.channel) * height * d + (tile.y - 1) * d + down;
  return row * width * d + tile.x * d + residue - down * d;
}

// Four columns from `at` on, of a row of the image.
fn four_of_x(at: i32, inRow: bool) -> vec4f {
  if (!DILATED) { return select(vec4f(), vec4f(x4[select(0, at / 4, inRow)]), inRow); }
  let d = params.dilation;
  let i = select(vec4i(), at + vec4i(0, d, 2 * d, 3 * d), inRow);
  return select(vec4f(), vec4f(f32(x[i.x]), f32(x[i.y]), f32(x[i.z]), f32(x[i.w])), inRow);
}

fn four_of_dy(at: i32, inRow: bool) -> vec4f {
  if (!DILATED) { return select(vec4f(), vec4f(dy4[select(0, at / 4, inRow)]), inRow); }
  let d = params.dilation;
  let i = select(vec4i(), at + vec4i(0, d, 2 * d, 3 * d), inRow);
  return select(vec4f(), vec4f(f32(dy[i.x]), f32(dy[i.y]), f32(dy[i.z]), f32(dy[i.w])), inRow);
}

fn in_rows(tile: Tile, r: i32, height: i32) -> bool { return (tile.y - 1 + r >= 0) & (tile.y - 1 + r < height); }

// Row r of six that begin above a tile.
fn row_of_x(start: i32, r: i32, tile: Tile, lane: Lane) -> Row {
  let inRow = in_rows(tile, r, params.h);
  let at = start + r * row_step(params.w);
  var outer = 0.0;
  if (ENDS) {
    let there = inRow & ends(tile, params.w, lane);
    outer = select(0.0, f32(x[select(0, at + select(4, -1, lane.of8 == 0u) * column_step(), there)]), there);
  }
  return row_of(four_of_x(at, inRow), outer, tile, params.w, lane);
}

fn upstream_four(start: i32, r: i32, tile: Tile) -> vec4f {
  return four_of_dy(start + r * row_step(params.outW), in_rows(tile, r, params.outH));
}

fn row_of_dy(start: i32, r: i32, tile: Tile, lane: Lane) -> Row {
  var outer = 0.0;
  if (ENDS) {
    let there = in_rows(tile, r, params.outH) & ends(tile, params.outW, lane);
    let at = start + r * row_step(params.outW) + select(4, -1, lane.of8 == 0u) * column_step();
    outer = select(0.0, f32(dy[select(0, at, there)]), there);
  }
  return row_of(upstream_four(start, r, tile), outer, tile, params.outW, lane);
}

fn transform_input(index: i32, tiles: i32, lane: Lane) {
  let count = params.cin * tiles;
  let tile = tile_of(min(index, count - 1), tiles);
  let start = start_of(tile, params.cin, params.h, params.w);
  let q = lane.of8 & 3u;
  store_input(
    row_of_x(start, 0, tile, lane), row_of_x(start, 1, tile, lane), row_of_x(start, 2, tile, lane),
    row_of_x(start, 3, tile, lane), row_of_x(start, 4, tile, lane), row_of_x(start, 5, tile, lane),
    first_of(index, count, q), count, q, index < count);
}

fn upstream_line(p: vec4f) -> Line {
  let even1 = p.x + 0.5 * p.z;
  let odd1 = NEAR * (p.y + 0.5 * p.w);
  let even2 = p.x + 2.0 * p.z;
  let odd2 = FAR * (p.y + 2.0 * p.w);
  return Line(vec4f(p.x, even1 + odd1, even1 - odd1, even2 + odd2), vec2f(even2 - odd2, p.w));
}

fn store_upstream(a: vec4f, b: vec4f, c: vec4f, d: vec4f, at: i32, step: i32, q: u32, inside: bool) {
  let even1 = a + 0.5 * c;
  let odd1 = NEAR * (b + 0.5 * d);
  let even2 = a + 2.0 * c;
  let odd2 = FAR * (b + 2.0 * d);
  let p = places_of(
    upstream_line(a), upstream_line(even1 + odd1), upstream_line(even1 - odd1), upstream_line(even2 + odd2),
    upstream_line(even2 - odd2), upstream_line(d), q);
  if (!inside) { return; }
  upstream4[at] = p[0];
  upstream4[at + step] = p[1];
  upstream4[at + 2 * step] = p[2];
  upstream4[at + 3 * step] = p[3];
  upstream4[at + 4 * step] = p[4];
  upstream4[at + 5 * step] = p[5];
  upstream4[at + 6 * step] = p[6];
  upstream4[at + 7 * step] = p[7];
  upstream4[at + 8 * step] = p[8];
}

fn transform_upstream(index: i32, tiles: i32, lane: Lane) {
  let count = params.cout * tiles;
  let tile = tile_of(min(index, count - 1), tiles);
  let start = start_of(tile, params.cout, params.outH, params.outW);
  let q = lane.of8 & 3u;
  store_upstream(
    upstream_four(start, 1, tile), upstream_four(start, 2, tile), upstream_four(start, 3, tile), upstream_four(start, 4, tile),
    first_of(index, count, q), count, q, index < count);
}

fn middle_of(row: Row) -> vec4f { return vec4f(row.l.yzw, row.h.x); }

// A tile of dy for both gradients: with a pixel around it it is the input of the convolution that gives dx.
fn transform_upstream_twice(index: i32, tiles: i32, lane: Lane) {
  let count = params.cout * tiles;
  let tile = tile_of(min(index, count - 1), tiles);
  let start = start_of(tile, params.cout, params.outH, params.outW);
  let r0 = row_of_dy(start, 0, tile, lane);
  let r1 = row_of_dy(start, 1, tile, lane);
  let r2 = row_of_dy(start, 2, tile, lane);
  let r3 = row_of_dy(start, 3, tile, lane);
  let r4 = row_of_dy(start, 4, tile, lane);
  let r5 = row_of_dy(start, 5, tile, lane);
  let q = lane.of8 & 3u;
  let inside = index < count;
  let at = first_of(index, count, q);
  store_upstream(middle_of(r1), middle_of(r2), middle_of(r3), middle_of(r4), at, count, q, inside);
  store_input(r0, r1, r2, r3, r4, r5, at + params.behind / 4, count, q, inside);
}

// G of three values along a row.
fn weight_line(g: vec3f) -> Line {
  let near = g.x + 0.5 * g.z;
  let far = g.x + 2.0 * g.z;
  return Line(
    vec4f(g.x, -(near + NEAR * g.y) / 1.5, -(near - NEAR * g.y) / 1.5, (far + FAR * g.y) / 6.0),
    vec2f((far - FAR * g.y) / 6.0, g.z));
}

// Of a convolution with so many channels.
fn transform_weight(index: i32, cout: i32, cin: i32, lane: Lane) {
  let count = cout * cin;
  let safe = min(index, count - 1);
  let w = window_of(safe, cin);
  let q = lane.of8 & 3u;
  let near = w.top + 0.5 * w.low;
  let far = w.top + 2.0 * w.low;
  let p = places_of(
    weight_line(w.top), weight_line(-(near + NEAR * w.middle) / 1.5), weight_line(-(near - NEAR * w.middle) / 1.5),
    weight_line((far + FAR * w.middle) / 6.0), weight_line((far - FAR * w.middle) / 6.0), weight_line(w.low), q);
  if (index >= count) { return; }
  let at = first_of(index, count, q);
  factor4[at] = p[0];
  factor4[at + count] = p[1];
  factor4[at + 2 * count] = p[2];
  factor4[at + 3 * count] = p[3];
  factor4[at + 4 * count] = p[4];
  factor4[at + 5 * count] = p[5];
  factor4[at + 6 * count] = p[6];
  factor4[at + 7 * count] = p[7];
  factor4[at + 8 * count] = p[8];
}

// The places of a tile of the products, of which there are `count`.
fn gathered(index: i32, count: i32, behind: i32, q: u32) -> Places {
  let at = first_of(min(index, count - 1), count, q) + behind / 4;
  return Places(
    turned(products4[at], q), turned(products4[at + count], q), turned(products4[at + 2 * count], q),
    turned(products4[at + 3 * count], q), turned(products4[at + 4 * count], q), turned(products4[at + 5 * count], q),
    turned(products4[at + 6 * count], q), turned(products4[at + 7 * count], q), turned(products4[at + 8 * count], q));
}

// Six places of a row, put back along it: four pixels.
fn pixels(l: vec4f, h: vec2f) -> vec4f {
  let near = NEAR * (l.y - l.z);
  let far = FAR * (l.w - h.x);
  return vec4f(
    l.x + l.y + l.z + l.w + h.x, near + far, 0.5 * (l.y + l.z) + 2.0 * (l.w + h.x), 0.5 * near + 2.0 * far + h.y);
}

// The tile of y that an invocation has computed; `inside` if there is one.
struct Sums { rows: Four, tile: Tile, inside: bool }

fn sums_of(index: i32, channels: i32, lane: Lane) -> Sums {
  let tiles = params.n * params.tilesH * params.tilesW;
  let count = channels * tiles;
  let p = gathered(index, count, 0, lane.of8 & 3u);
  let s = back(Six(
    pixels(p[0], p[1].xy), pixels(vec4f(p[1].zw, p[2].xy), p[2].zw), pixels(p[3], p[4].xy),
    pixels(vec4f(p[4].zw, p[5].xy), p[5].zw), pixels(p[6], p[7].xy), pixels(vec4f(p[7].zw, p[8].xy), p[8].zw)));
  let tile = tile_of(min(index, count - 1), tiles);
  var add = 0.0;
  if (BIAS) { add = bias[tile.channel]; }
  return Sums(Four(s.a + add, s.b + add, s.c + add, s.d + add), tile, index < count);
}

// Where the first row of a tile is written.
fn place_of(tile: Tile, channels: i32) -> i32 {
  let start = start_of(tile, channels, params.outH, params.outW) + row_step(params.outW);
  return start + params.offset + image_of(tile) * params.gap;
}

fn put(to: i32, sum: vec4f) {
  var value = sum;
  if (ACCUMULATE) { value += vec4f(y4[to]); }
  if (params.relu != 0u) { value = select(value, vec4f(), value < vec4f()); }
  y4[to] = elem4(value);
}

// A tile of y, which has so many channels.
fn transform_output(index: i32, channels: i32, lane: Lane) {
  let s = sums_of(index, channels, lane);
  if (!s.inside) { return; }
  let to = place_of(s.tile, channels) / 4;
  let wide = params.outW / 4;
  let rows = params.outH - s.tile.y;
  put(to, s.rows.a);
  if (rows > 1) { put(to + wide, s.rows.b); }
  if (rows > 2) { put(to + 2 * wide, s.rows.c); }
  if (rows > 3) { put(to + 3 * wide, s.rows.d); }
}

fn put_one(to: i32, sum: f32) {
  var value = sum;
  if (ACCUMULATE) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elem(value);
}

fn put_apart(to: i32, sum: vec4f) {
  put_one(to, sum.x);
  put_one(to + params.dilation, sum.y);
  put_one(to + 2 * params.dilation, sum.z);
  put_one(to + 3 * params.dilation, sum.w);
}

// The same where it is DILATED.
fn transform_output_apart(index: i32, channels: i32, lane: Lane) {
  let s = sums_of(index, channels, lane);
  if (!s.inside) { return; }
  let to = place_of(s.tile, channels);
  let step = row_step(params.outW);
  let rows = params.outH - s.tile.y;
  put_apart(to, s.rows.a);
  if (rows > 1) { put_apart(to + step, s.rows.b); }
  if (rows > 2) { put_apart(to + 2 * step, s.rows.c); }
  if (rows > 3) { put_apart(to + 3 * step, s.rows.d); }
}

// Gᵀ along a row of places: three weights.
fn window_row(l: vec4f, h: vec2f) -> vec3f {
  return vec3f(
    l.x - (l.y + l.z) / 1.5 + (l.w + h.x) / 6.0, NEAR / 1.5 * (l.z - l.y) + FAR / 6.0 * (l.w - h.x),
    (l.w + h.x - l.y - l.z) / 3.0 + h.y);
}

fn transform_window(index: i32, lane: Lane) {
  let count = params.cout * params.cin;
  let p = gathered(index, count, params.behind, lane.of8 & 3u);
  let a = window_row(p[0], p[1].xy);
  let b = window_row(vec4f(p[1].zw, p[2].xy), p[2].zw);
  let c = window_row(p[3], p[4].xy);
  let d = window_row(vec4f(p[4].zw, p[5].xy), p[5].zw);
  let e = window_row(p[6], p[7].xy);
  let f = window_row(vec4f(p[7].zw, p[8].xy), p[8].zw);
  if (index >= count) { return; }
  store_window(index * 9, a - (b + c) / 1.5 + (d + e) / 6.0);
  store_window(index * 9 + 3, NEAR / 1.5 * (c - b) + FAR / 6.0 * (d - e));
  store_window(index * 9 + 6, (d + e - b - c) / 3.0 + f);
}

// Workgroups from `weights` on transform weights, or windows, those before them tiles: one launch for two that do not wait for
// each other.
struct Job { index: i32, behind: i32, lane: Lane }

// The first index of a workgroup: uniform, as what shuffles stand behind has to be.
fn first_index(group: vec3u, count: vec3u) -> i32 { return i32(group.x + group.y * count.x) * i32(WG); }

fn job_of(start: i32, local: u32, invocation: u32) -> Job {
  let index = start + i32(local);
  return Job(index, index - params.weights * i32(WG), Lane(invocation & 7u, invocation));
}

fn tiles_of_all() -> i32 { return params.n * params.tilesH * params.tilesW; }

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_factors(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let start = first_index(group, count);
  let job = job_of(start, local, invocation);
  if (start >= params.weights * i32(WG)) {
    transform_weight(job.behind, params.cout, params.cin, job.lane);
  } else { transform_input(job.index, tiles_of_all(), job.lane); }
}

// A tile of x and one of dy, as long as there are channels of either.
@compute @workgroup_size(WG)
fn conv2d_winograd_transform_both(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let start = first_index(group, count);
  let job = job_of(start, local, invocation);
  let tiles = tiles_of_all();
  if (start < params.cin * tiles) { transform_input(job.index, tiles, job.lane); }
  if (start < params.cout * tiles) { transform_upstream(job.index, tiles, job.lane); }
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_backward(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let start = first_index(group, count);
  let job = job_of(start, local, invocation);
  if (start >= params.weights * i32(WG)) {
    transform_weight(job.behind, params.cin, params.cout, job.lane);
    return;
  }
  let tiles = tiles_of_all();
  if (start < params.cin * tiles) { transform_input(job.index, tiles, job.lane); }
  if (start < params.cout * tiles) { transform_upstream_twice(job.index, tiles, job.lane); }
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_window(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let start = first_index(group, count);
  let job = job_of(start, local, invocation);
  transform_window(job.index, job.lane);
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_output(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let start = first_index(group, count);
  let job = job_of(start, local, invocation);
  transform_output(job.index, params.cout, job.lane);
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_output_apart(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let start = first_index(group, count);
  let job = job_of(start, local, invocation);
  transform_output_apart(job.index, params.cout, job.lane);
}

@compute @workgroup_size(WG)
fn conv2d_winograd_transform_gradients(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) local: u32,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let start = first_index(group, count);
  let job = job_of(start, local, invocation);
  if (start >= params.weights * i32(WG)) {
    transform_window(job.behind, job.lane);
  } else { transform_output(job.index, params.cin, job.lane); }
}
