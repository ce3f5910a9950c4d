// Gradient of a depthwise convolution of stride 2 with respect to x, windows up to 7 × 7, where subgroups have 8 lanes or more:
// for CPU drivers.
//   y[n,o,iy,ix] = b[o] + Σ_ky,kx  weight[o,ky,kx] · x[n, o, (iy + p − ky) / 2, (ix + p − kx) / 2]     where 2 divides both
// with y the gradient of the image and x that of the result. A lane walks down a strip of four columns of x, under which eight of y
// lie. A row of x and those above it that a window reaches give two rows of y, iy + p even and odd. Each meets every other row
// of the window, and of such a row every column every other tap.
// x and y may be channels of larger arrays: image n lies (source)offset + n·(source)gap further than in a dense one.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, outG: i32, padH: i32, dilationH: i32,
  strips: i32, rows: i32, band: i32, bands: i32, residues: i32, relu: u32, accumulate: u32,
  offset: i32, gap: i32, sourceOffset: i32, sourceGap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<storage, read_write> y4: array<elem4>; // y, in the entry that writes whole vec4s
@group(0) @binding(6) var<uniform> params: Params;

override KH: u32 = 7;
override KW: u32 = 7;
override PAD: i32 = 3;
override VEC: bool = false;
override ENDS: bool = false;

fn value_at(i: i32) -> f32 { return f32(x[i]); }
fn four_at(i: i32) -> vec4f { return vec4f(x4[i]); }

// include: parts/over.wgsl, parts/strips.wgsl, parts/depthwise_strips.wgsl, parts/store_strips.wgsl

// What a tap gives to columns of y, the even ones (`odd` = 0) or the odd ones.
fn tapped(sum: vec4f, value: f32, kx: u32, c: Columns, odd: i32) -> vec4f {
  let back = PAD + odd - i32(kx);
  if (kx >= KW || (back & 1) == 1) { return sum; }
  return sum + value * from_column(c, u32(4 + (back >> 1)));
}

fn along(sum: vec4f, w: Taps, c: Columns, odd: i32) -> vec4f {
  var s = tapped(sum, w.a, 0u, c, odd);
  s = tapped(s, w.b, 1u, c, odd);
  s = tapped(s, w.c, 2u, c, odd);
  s = tapped(s, w.d, 3u, c, odd);
  s = tapped(s, w.e, 4u, c, odd);
  s = tapped(s, w.f, 5u, c, odd);
  return tapped(s, w.g, 6u, c, odd);
}

// A row of x and the three above it.
struct Rows { a: Columns, b: Columns, c: Columns, d: Columns }

fn columns_under(r: Rows, w: array<Taps, 7>, ky: u32, odd: i32) -> vec4f {
  var s = vec4f();
  if (ky < KH) { s = along(s, w[ky], r.a, odd); }
  if (ky + 2u < KH) { s = along(s, w[ky + 2u], r.b, odd); }
  if (ky + 4u < KH) { s = along(s, w[ky + 4u], r.c, odd); }
  if (ky + 6u < KH) { s = along(s, w[ky + 6u], r.d, odd); }
  return s;
}

// Eight columns of a row of y.
struct Eight { a: vec4f, b: vec4f }

// Of the row whose taps are those of rows ky, ky + 2, … of the window.
fn row_under(r: Rows, w: array<Taps, 7>, ky: u32, add: f32) -> Eight {
  let even = columns_under(r, w, ky, 0) + add;
  let odd = columns_under(r, w, ky, 1) + add;
  return Eight(vec4f(even.x, odd.x, even.y, odd.y), vec4f(even.z, odd.z, even.w, odd.w));
}

fn next(r: Rows, walk: Walk, row: i32, ox: i32, lane: i32) -> Rows {
  let c = columns_of(walk.plane + row * params.w, params.w, (row >= 0) & (row < params.h), ox, lane);
  return Rows(c, r.a, r.b, r.c);
}

fn store_row(walk: Walk, iy: i32, ix: i32, v: Eight) {
  if ((iy < 0) | (iy >= params.outH)) { return; }
  let to = walk.to + iy * params.outW + ix;
  store(to, ix, v.a);
  if (ix + 4 < params.outW) { store(to + 4, ix + 4, v.b); }
}

fn store_row_wide(walk: Walk, iy: i32, ix: i32, v: Eight) {
  if ((iy < 0) | (iy >= params.outH)) { return; }
  let to = walk.to + iy * params.outW + ix;
  store_wide(to, v.a);
  if (ix + 4 < params.outW) { store_wide(to + 4, v.b); }
}

@compute @workgroup_size(8)
fn conv2d_depthwise_input_grad_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane, params.cout);
  let walk = walk_of(s);
  let w = window_of(walk.first, lane);
  let before = i32((KH - 1u) / 2u);
  var rows = Rows();
  for (var a = -before; a < params.band; a++) {
    let row = (params.padH >> 1) + s.first + a;
    rows = next(rows, walk, row, s.ox, lane);
    if ((a >= 0) & (a < s.rows)) {
      store_row(walk, 2 * row - params.padH, 2 * s.ox, row_under(rows, w, 0u, walk.add));
      store_row(walk, 2 * row - params.padH + 1, 2 * s.ox, row_under(rows, w, 1u, walk.add));
    }
  }
}

// Where rows of y hold whole vec4s.
@compute @workgroup_size(8)
fn conv2d_depthwise_input_grad_lanes_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane, params.cout);
  let walk = walk_of(s);
  let w = window_of(walk.first, lane);
  let before = i32((KH - 1u) / 2u);
  var rows = Rows();
  for (var a = -before; a < params.band; a++) {
    let row = (params.padH >> 1) + s.first + a;
    rows = next(rows, walk, row, s.ox, lane);
    if ((a >= 0) & (a < s.rows)) {
      store_row_wide(walk, 2 * row - params.padH, 2 * s.ox, row_under(rows, w, 0u, walk.add));
      store_row_wide(walk, 2 * row - params.padH + 1, 2 * s.ox, row_under(rows, w, 1u, walk.add));
    }
  }
}
