// Depthwise convolution, stride 1 or 2, windows up to 7 × 7, where subgroups have 8 lanes or more: for CPU drivers.
//   y[n,o,oy,ox] = b[o] + Σ_ky,kx  weight[o,ky,kx] · x[n, o / outG, oy·s − p + ky·d, ox·s − p + kx·d]
// A lane walks down a strip of four columns, along the rows of a band that are equal modulo the dilation: a row of x, of which
// it loads four columns and has what lies beside them from its neighbours, meets all taps, and the rows of y above it hold what
// they have so far. With stride 2, which has no dilation, it comes upon two rows a step, of which it loads eight columns: the
// first meets every other row of the window, the second the others.
// TURN: the gradient with respect to x without stride, with padding (k − 1)·d − p.
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
override VEC: bool = false;
override ENDS: bool = false;

fn value_at(i: i32) -> f32 { return f32(x[i]); }
fn four_at(i: i32) -> vec4f { return vec4f(x4[i]); }

// include: parts/over.wgsl, parts/strided_rows.wgsl, parts/depthwise_strips.wgsl, parts/store_strips.wgsl

fn along(sum: vec4f, w: Taps, v: Seen) -> vec4f {
  var s = sum + w.a * under_tap(v, 0u);
  if (KW > 1u) { s += w.b * under_tap(v, 1u); }
  if (KW > 2u) { s += w.c * under_tap(v, 2u); }
  if (KW > 3u) { s += w.d * under_tap(v, 3u); }
  if (KW > 4u) { s += w.e * under_tap(v, 4u); }
  if (KW > 5u) { s += w.f * under_tap(v, 5u); }
  if (KW > 6u) { s += w.g * under_tap(v, 6u); }
  return s;
}

// The rows of x of a step, without stride one.
struct Step { a: Seen, b: Seen }

// Of a row of y that is j steps further up.
fn meet(sum: vec4f, w: array<Taps, 7>, j: u32, v: Step) -> vec4f {
  let s = along(sum, w[STRIDE * j], v.a);
  if (STRIDE == 1u || 2u * j + 1u >= KH) { return s; }
  return along(s, w[2u * j + 1u], v.b);
}

struct Sums { a: vec4f, b: vec4f, c: vec4f, d: vec4f, e: vec4f, f: vec4f, g: vec4f }

// The next step: sums of the rows of y that it is under; the last one is whole.
fn under(s: Sums, w: array<Taps, 7>, v: Step) -> Sums {
  var t = Sums();
  t.a = meet(vec4f(), w, 0u, v);
  if (KH > STRIDE) { t.b = meet(s.a, w, 1u, v); }
  if (KH > 2u * STRIDE) { t.c = meet(s.b, w, 2u, v); }
  if (KH > 3u * STRIDE) { t.d = meet(s.c, w, 3u, v); }
  if (KH > 4u * STRIDE) { t.e = meet(s.d, w, 4u, v); }
  if (KH > 5u * STRIDE) { t.f = meet(s.e, w, 5u, v); }
  if (KH > 6u * STRIDE) { t.g = meet(s.f, w, 6u, v); }
  return t;
}

fn whole(s: Sums) -> vec4f {
  if (KH <= STRIDE) { return s.a; }
  if (KH <= 2u * STRIDE) { return s.b; }
  if (KH <= 3u * STRIDE) { return s.c; }
  if (KH <= 4u * STRIDE) { return s.d; }
  if (KH <= 5u * STRIDE) { return s.e; }
  if (KH <= 6u * STRIDE) { return s.f; }
  return s.g;
}

fn row_of(walk: Walk, iy: i32, ox: i32, lane: i32) -> Seen {
  return seen_of(walk.plane + iy * params.w, params.w, (iy >= 0) & (iy < params.h), ox, lane);
}

fn step_of(walk: Walk, s: Strip, a: i32, lane: i32) -> Step {
  let iy = (s.first + a * params.dilationH) * i32(STRIDE) - params.padH;
  var second = Seen();
  if (STRIDE == 2u && KH > 1u) { second = row_of(walk, iy + 1, s.ox, lane); }
  return Step(row_of(walk, iy, s.ox, lane), second);
}

@compute @workgroup_size(8)
fn conv2d_depthwise_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane);
  let walk = walk_of(s);
  let w = window_of(walk.first, lane);
  let before = i32((KH - 1u) / STRIDE);
  var sums = Sums();
  for (var a = 0; a < params.band + before; a++) {
    sums = under(sums, w, step_of(walk, s, a, lane));
    let done = a - before;
    if ((done >= 0) & (done < s.rows)) {
      store(walk.to + s.ox + (s.first + done * params.dilationH) * params.outW, s.ox, whole(sums) + walk.add);
    }
  }
}

// Where rows of y hold whole vec4s.
@compute @workgroup_size(8)
fn conv2d_depthwise_lanes_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane);
  let walk = walk_of(s);
  let w = window_of(walk.first, lane);
  let before = i32((KH - 1u) / STRIDE);
  var sums = Sums();
  for (var a = 0; a < params.band + before; a++) {
    sums = under(sums, w, step_of(walk, s, a, lane));
    let done = a - before;
    if ((done >= 0) & (done < s.rows)) {
      store_wide(walk.to + s.ox + (s.first + done * params.dilationH) * params.outW, whole(sums) + walk.add);
    }
  }
}
