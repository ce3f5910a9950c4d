// Convolution 3×3, stride 1, dilation 1, padding 0 to 2, of few channels or groups of few, where subgroups have 8 lanes or
// more: for CPU drivers.
//   y[n,o,oy,ox] = b[o] + Σ_i,ky,kx  weight[o,i,ky,kx] · x[n, g·inG + i, oy − p + ky, ox − p + kx]
// Along a row by Winograd's F(4, 3), points 0, ±NEAR, ±FAR, ∞: six multiplications for four columns instead of twelve.
// A lane computes eight rows (or four) × four columns of up to four channels of a group, which share what it loads of x.
// SHARED: the lanes of a subgroup work on the same channels; each loads and transforms one or two rows of their windows,
// which go round by shuffles.
// VEC: padding 1 and rows of x a multiple of four wide, so that a row's middle four are one vec4f. NARROW: four wide.
// Weights of (o, i) start at g·weightGroup + o·weightOut + i·weightIn. TURN reads them turned by 180°: the gradient with
// respect to x, with padding 2 − p and the channels' parts exchanged.
// x and y may be channels of larger arrays: image n lies (source)offset + n·(source)gap further than in a dense one.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, inG: i32, outG: i32, padH: i32, padW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  strips: i32, bands: i32, blocks: i32, relu: u32, accumulate: u32, offset: i32, gap: i32, sourceOffset: i32, sourceGap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<storage, read_write> y4: array<elem4>; // y, in the entry that writes whole vec4s
@group(0) @binding(6) var<uniform> params: Params;

override CHANNELS: u32 = 4;
override TALL: bool = true; // eight rows
override VEC: bool = false;
override NARROW: bool = false;
override ENDS: bool = false; // a subgroup's strips end within a row, where one vec4f is read
override SHARED: bool = false;
override TURN: bool = false;
override BIAS: bool = false;

// include: parts/over.wgsl, parts/rolled.wgsl, parts/winograd_rows.wgsl, parts/winograd_weights.wgsl, parts/rows_beside.wgsl

// Row ky of the window at `first`, transformed.
fn taps(first: i32, ky: i32) -> Six {
  let start = first + select(3 * ky, 8 - 3 * ky, TURN);
  let step = select(1, -1, TURN);
  return along(vec3f(weight[start], weight[start + step], weight[start + 2 * step]));
}

// The rows of the windows of four channels that a lane holds: row lane % 8, and row 8 + lane % 4, of twelve.
struct Held { a: Six, b: Six }

fn shuffled(s: Six, lane: u32) -> Six {
  return Six(
    subgroupShuffle(s.a, lane), subgroupShuffle(s.b, lane), subgroupShuffle(s.c, lane),
    subgroupShuffle(s.d, lane), subgroupShuffle(s.e, lane), subgroupShuffle(s.f, lane));
}

struct Window { a: Six, b: Six, c: Six }

fn row_of(held: Held, row: u32) -> Six {
  if (row < 8u) { return shuffled(held.a, row); }
  return shuffled(held.b, row - 8u);
}

fn window_of(held: Held, first: i32, c: u32) -> Window {
  if (SHARED) { return Window(row_of(held, 3u * c), row_of(held, 3u * c + 1u), row_of(held, 3u * c + 2u)); }
  return Window(taps(first, 0), taps(first, 1), taps(first, 2));
}

// Sums: of row r of channel c at 8·c + r.
fn add(sums: ptr<function, array<Six, 32>>, i: u32, w: Window, p: Six, q: Six, r: Six) {
  let s = (*sums)[i];
  (*sums)[i] = Six(
    s.a + w.a.a * p.a + w.b.a * q.a + w.c.a * r.a, s.b + w.a.b * p.b + w.b.b * q.b + w.c.b * r.b,
    s.c + w.a.c * p.c + w.b.c * q.c + w.c.c * r.c, s.d + w.a.d * p.d + w.b.d * q.d + w.c.d * r.d,
    s.e + w.a.e * p.e + w.b.e * q.e + w.c.e * r.e, s.f + w.a.f * p.f + w.b.f * q.f + w.c.f * r.f);
}

fn add_channel(sums: ptr<function, array<Six, 32>>, c: u32, w: Window, rows: ptr<function, array<Six, 10>>) {
  add(sums, 8u * c, w, (*rows)[0], (*rows)[1], (*rows)[2]);
  add(sums, 8u * c + 1u, w, (*rows)[1], (*rows)[2], (*rows)[3]);
  add(sums, 8u * c + 2u, w, (*rows)[2], (*rows)[3], (*rows)[4]);
  add(sums, 8u * c + 3u, w, (*rows)[3], (*rows)[4], (*rows)[5]);
  if (TALL) {
    add(sums, 8u * c + 4u, w, (*rows)[4], (*rows)[5], (*rows)[6]);
    add(sums, 8u * c + 5u, w, (*rows)[5], (*rows)[6], (*rows)[7]);
    add(sums, 8u * c + 6u, w, (*rows)[6], (*rows)[7], (*rows)[8]);
    add(sums, 8u * c + 7u, w, (*rows)[7], (*rows)[8], (*rows)[9]);
  }
}

// The tile of a lane: an image, a block of channels, its strip and band.
struct Place { image: i32, block: i32, band: i32, strip: i32, there: bool }

fn place_of(index: i32, lane: i32) -> Place {
  let tiles = params.strips * params.bands;
  let blocks = over(params.cout, params.outG) * params.blocks;
  var tile = 8 * index + lane;
  var block = 0;
  var image = 0;
  var there = true;
  if (SHARED) {
    // The tiles of all images are dealt out to lanes, and lanes without one repeat the last.
    let eights = over(tiles * params.n + 7, 8);
    block = over(index, eights);
    tile = (index - block * eights) * 8 + lane;
    there = (tile < tiles * params.n) & (block < blocks);
    block = min(block, blocks - 1);
    tile = min(tile, tiles * params.n - 1);
    image = over(tile, tiles);
    tile -= image * tiles;
  } else {
    there = tile < tiles * blocks * params.n;
    tile = min(tile, tiles * blocks * params.n - 1);
    let run = over(tile, tiles);
    tile -= run * tiles;
    image = over(run, blocks);
    block = run - image * blocks;
  }
  let band = over(tile, params.strips);
  return Place(image, block, band, tile - band * params.strips, there);
}

// Row iy of x, row r of the tile's, transformed. ENDS: `outer` holds what lies beside the subgroup's strips, lane 2·r + side
// that of rows r, r + 4 and r + 8.
fn row_at(plane: i32, iy: i32, ix: i32, r: u32, outer: vec3f, e: Beside) -> Six {
  let inRow = (iy >= 0) & (iy < params.h);
  let start = plane + iy * params.w + ix;
  if (!VEC) { return forth(load(start, ix, inRow)); }
  let m = middle(start + 1, ix + 1, inRow);
  if (!ENDS) { return forth(beside(m, 0.0, 0.0, e)); }
  let o = outer[r / 4u];
  return forth(beside(m, subgroupShuffle(o, 2u * (r % 4u)), subgroupShuffle(o, 2u * (r % 4u) + 1u), e));
}

// Where a tile lies: rows and columns from (oy, ox) on, of so many channels from the first one, whose rows begin at `to`.
struct Tile { oy: i32, ox: i32, rows: i32, first: i32, channels: i32, to: i32 }

fn product(sums: ptr<function, array<Six, 32>>, index: i32, lane: i32) -> Tile {
  let height = select(4, 8, TALL);
  let place = place_of(index, lane);
  let image = place.image;
  let g = over(place.block, params.blocks);
  let o = (place.block - g * params.blocks) * i32(CHANNELS);
  let oy = place.band * height;
  let ox = place.strip * 4;
  let ix = ox - params.padW;
  let iy = oy - params.padH;
  let edges = Beside(u32(lane), place.strip == 0, place.strip == params.strips - 1);
  // Beside lane 0 on the left, and beside lane 7 on the right.
  let end = place_of(index, 7 * (lane & 1));
  let outerX = end.strip * 4 + select(-1, 4, (lane & 1) == 1);
  let outerY = end.band * height - params.padH + (lane >> 1);
  let inX = (outerX >= 0) & (outerX < params.w);
  let endG = over(end.block, params.blocks);
  let size = params.h * params.w;
  var plane = (image * params.cin + g * params.inG) * size + params.sourceOffset + image * params.sourceGap;
  var outer = (end.image * params.cin + endG * params.inG) * size + params.sourceOffset + end.image * params.sourceGap
    + outerY * params.w + outerX;
  // Channels beyond the last repeat it; they are computed and not stored.
  let beyond = params.outG - 1 - o;
  var first = g * params.weightGroup + o * params.weightOut;
  let mine = over(lane, 3);
  let next = over(8 + (lane & 3), 3);
  for (var i = 0; i < params.inG; i++) {
    var held: Held;
    if (SHARED) {
      held.a = taps(first + min(mine, beyond) * params.weightOut, lane - 3 * mine);
      if (CHANNELS > 2u) { held.b = taps(first + min(next, beyond) * params.weightOut, 8 + (lane & 3) - 3 * next); }
    }
    var ends = vec3f();
    if (ENDS) {
      ends.x = at(outer, inX & (outerY >= 0) & (outerY < params.h));
      ends.y = at(outer + 4 * params.w, inX & (outerY + 4 < params.h));
      ends.z = at(outer + 8 * params.w, inX & (outerY + 8 < params.h));
    }
    var rows: array<Six, 10>;
    rows[0] = row_at(plane, iy, ix, 0u, ends, edges);
    rows[1] = row_at(plane, iy + 1, ix, 1u, ends, edges);
    rows[2] = row_at(plane, iy + 2, ix, 2u, ends, edges);
    rows[3] = row_at(plane, iy + 3, ix, 3u, ends, edges);
    rows[4] = row_at(plane, iy + 4, ix, 4u, ends, edges);
    rows[5] = row_at(plane, iy + 5, ix, 5u, ends, edges);
    if (TALL) {
      rows[6] = row_at(plane, iy + 6, ix, 6u, ends, edges);
      rows[7] = row_at(plane, iy + 7, ix, 7u, ends, edges);
      rows[8] = row_at(plane, iy + 8, ix, 8u, ends, edges);
      rows[9] = row_at(plane, iy + 9, ix, 9u, ends, edges);
    }
    add_channel(sums, 0u, window_of(held, first, 0u), &rows);
    if (CHANNELS > 1u) { add_channel(sums, 1u, window_of(held, first + min(1, beyond) * params.weightOut, 1u), &rows); }
    if (CHANNELS > 2u) { add_channel(sums, 2u, window_of(held, first + min(2, beyond) * params.weightOut, 2u), &rows); }
    if (CHANNELS > 3u) { add_channel(sums, 3u, window_of(held, first + min(3, beyond) * params.weightOut, 3u), &rows); }
    plane += size;
    outer += size;
    first += params.weightIn;
  }
  let co = g * params.outG + o;
  let to = ((image * params.cout + co) * params.outH + oy) * params.outW + ox + params.offset + image * params.gap;
  return Tile(oy, ox, select(0, min(height, params.outH - oy), place.there), co, min(i32(CHANNELS), beyond + 1), to);
}

// A row of four pixels.
fn back(s: Six, add: f32) -> vec4f {
  let p = (s.b + s.c) / -1.5;
  let q = (s.b - s.c) * (NEAR / -1.5);
  let r = (s.d + s.e) / 6.0;
  let t = (s.d - s.e) * (FAR / 6.0);
  return vec4f(s.a + p + r, q + t, 0.5 * p + 2.0 * r, 0.5 * q + 2.0 * t + s.f) + add;
}

// include: parts/store_strips.wgsl

fn either(p: Six, q: Six, second: bool) -> Six {
  return Six(
    select(p.a, q.a, second), select(p.b, q.b, second), select(p.c, q.c, second),
    select(p.d, q.d, second), select(p.e, q.e, second), select(p.f, q.f, second));
}

// A channel's row as it is stored. Rows are written out by those who call it, channels picked: what loops index lies in memory.
fn row_of_sums(sums: ptr<function, array<Six, 32>>, c: i32, r: u32, t: Tile) -> vec4f {
  var add = 0.0;
  if (BIAS) { add = bias[t.first + c]; }
  var s = (*sums)[r];
  if (CHANNELS > 1u) { s = either(s, (*sums)[8u + r], c == 1); }
  if (CHANNELS > 2u) { s = either(s, (*sums)[16u + r], c == 2); }
  if (CHANNELS > 3u) { s = either(s, (*sums)[24u + r], c == 3); }
  return back(s, add);
}

fn store_row(sums: ptr<function, array<Six, 32>>, c: i32, r: u32, t: Tile) {
  if (i32(r) < t.rows) { store(t.to + (c * params.outH + i32(r)) * params.outW, t.ox, row_of_sums(sums, c, r, t)); }
}

fn store_channel(sums: ptr<function, array<Six, 32>>, c: i32, t: Tile) {
  if (c >= t.channels) { return; }
  store_row(sums, c, 0u, t);
  store_row(sums, c, 1u, t);
  store_row(sums, c, 2u, t);
  store_row(sums, c, 3u, t);
  if (TALL) {
    store_row(sums, c, 4u, t);
    store_row(sums, c, 5u, t);
    store_row(sums, c, 6u, t);
    store_row(sums, c, 7u, t);
  }
}

fn store_row_wide(sums: ptr<function, array<Six, 32>>, c: i32, r: u32, t: Tile) {
  if (i32(r) < t.rows) {
    store_wide(t.to + (c * params.outH + i32(r)) * params.outW, row_of_sums(sums, c, r, t));
  }
}

fn store_channel_wide(sums: ptr<function, array<Six, 32>>, c: i32, t: Tile) {
  if (c >= t.channels) { return; }
  store_row_wide(sums, c, 0u, t);
  store_row_wide(sums, c, 1u, t);
  store_row_wide(sums, c, 2u, t);
  store_row_wide(sums, c, 3u, t);
  if (TALL) {
    store_row_wide(sums, c, 4u, t);
    store_row_wide(sums, c, 5u, t);
    store_row_wide(sums, c, 6u, t);
    store_row_wide(sums, c, 7u, t);
  }
}

@compute @workgroup_size(8)
fn conv2d_3x3_groups_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  var sums = array<Six, 32>();
  let tile = product(&sums, i32(group.x + group.y * count.x), i32(lane));
  for (var c = 0; c < rolled(i32(CHANNELS)); c++) { store_channel(&sums, c, tile); }
}

// Where rows of y hold whole vec4s.
@compute @workgroup_size(8)
fn conv2d_3x3_groups_lanes_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  var sums = array<Six, 32>();
  let tile = product(&sums, i32(group.x + group.y * count.x), i32(lane));
  for (var c = 0; c < rolled(i32(CHANNELS)); c++) { store_channel_wide(&sums, c, tile); }
}
