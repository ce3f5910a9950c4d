// Depthwise convolution, stride 1, windows up to 7 × 7, where subgroups have 8 lanes or more: for CPU drivers.
//   y[n,o,oy,ox] = b[o] + Σ_ky,kx  weight[o,ky,kx] · x[n, o / outG, oy − p + ky·d, ox − p + kx·d]
// A lane walks down a strip of four columns, along the rows of a band that are equal modulo the dilation: a row of x, of which
// it loads four columns and has what lies beside them from its neighbours, meets all taps, and the rows of y above it hold what
// they have so far. The columns that a tap sees begin at kx·DILATION + SHIFT of twelve.
// SHARED: the lanes of a subgroup work on the same channel; each loads some of its weights, which go round by shuffles.
// TURN reads the windows turned by 180°: the gradient with respect to x, with padding (k − 1)·d − p.
// x and y may be channels of larger arrays: image n lies (source)offset + n·(source)gap further than in a dense one.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, outG: i32, padH: i32, dilationH: i32,
  strips: i32, band: i32, bands: i32, residues: i32, relu: u32, accumulate: u32,
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
override DILATION: u32 = 1;
override SHIFT: u32 = 1;
override VEC: bool = false;
override ENDS: bool = false;
override SHARED: bool = false;
override TURN: bool = false;
override BIAS: bool = false;

fn value_at(i: i32) -> f32 { return f32(x[i]); }
fn four_at(i: i32) -> vec4f { return vec4f(x4[i]); }

// include: parts/over.wgsl, parts/strips.wgsl

// A row of the window.
struct Taps { a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32 }

// What a lane loaded of the window, eight taps further on each.
alias Held = array<f32, 7>;

fn tap(held: ptr<function, Held>, first: i32, ky: u32, kx: u32) -> f32 {
  if (kx >= KW) { return 0.0; }
  let k = ky * KW + kx;
  if (SHARED) { return subgroupShuffle((*held)[k / 8u], k % 8u); }
  return weight[first + i32(select(k, KH * KW - 1u - k, TURN))];
}

fn taps(held: ptr<function, Held>, first: i32, ky: u32) -> Taps {
  if (ky >= KH) { return Taps(); }
  return Taps(
    tap(held, first, ky, 0u), tap(held, first, ky, 1u), tap(held, first, ky, 2u), tap(held, first, ky, 3u),
    tap(held, first, ky, 4u), tap(held, first, ky, 5u), tap(held, first, ky, 6u));
}

fn hold(first: i32, k: u32) -> f32 {
  let last = KH * KW - 1u;
  let tap = min(k, last);
  return weight[first + i32(select(tap, last - tap, TURN))];
}

// The four columns under each tap of a row.
struct Seen { a: vec4f, b: vec4f, c: vec4f, d: vec4f, e: vec4f, f: vec4f, g: vec4f }

fn seen(c: Columns) -> Seen {
  return Seen(
    from_column(c, SHIFT), from_column(c, SHIFT + DILATION), from_column(c, SHIFT + 2u * DILATION),
    from_column(c, SHIFT + 3u * DILATION), from_column(c, SHIFT + 4u * DILATION),
    from_column(c, SHIFT + 5u * DILATION), from_column(c, SHIFT + 6u * DILATION));
}

fn along(sum: vec4f, w: Taps, v: Seen) -> vec4f {
  var s = sum + w.a * v.a;
  if (KW > 1u) { s += w.b * v.b; }
  if (KW > 2u) { s += w.c * v.c; }
  if (KW > 3u) { s += w.d * v.d; }
  if (KW > 4u) { s += w.e * v.e; }
  if (KW > 5u) { s += w.f * v.f; }
  if (KW > 6u) { s += w.g * v.g; }
  return s;
}

// The strip of a lane: an image, a channel, a column, and rows first, first + dilation, … so many.
struct Strip { image: i32, o: i32, ox: i32, first: i32, rows: i32 }

fn strip_of(index: i32, lane: i32) -> Strip {
  let tiles = params.strips * params.bands * params.residues;
  var tile = 8 * index + lane;
  var o = 0;
  var image = 0;
  var there = true;
  if (SHARED) {
    // The strips of all images are dealt out to lanes.
    let eights = over(tiles * params.n + 7, 8);
    o = over(index, eights);
    tile = (index - o * eights) * 8 + lane;
    there = (o < params.cout) & (tile < tiles * params.n);
    o = min(o, params.cout - 1);
    image = over(tile, tiles);
    tile -= image * tiles;
  } else {
    let plane = over(tile, tiles);
    tile -= plane * tiles;
    image = over(plane, params.cout);
    there = image < params.n;
    o = plane - image * params.cout;
  }
  let line = over(tile, params.strips);
  let band = over(line, params.residues);
  let first = line - band * params.residues + band * params.band * params.dilationH;
  let rows = min(params.band, over(params.outH - 1 - first + params.dilationH, params.dilationH));
  return Strip(image, o, (tile - line * params.strips) * 4, first, select(0, rows, there & (first < params.outH)));
}

struct Sums { a: vec4f, b: vec4f, c: vec4f, d: vec4f, e: vec4f, f: vec4f, g: vec4f }

// The next row of x: sums of the rows of y that it is under; the last one is whole.
fn under(s: Sums, w: array<Taps, 7>, v: Seen) -> Sums {
  var t = Sums();
  t.a = along(vec4f(), w[0], v);
  if (KH > 1u) { t.b = along(s.a, w[1], v); }
  if (KH > 2u) { t.c = along(s.b, w[2], v); }
  if (KH > 3u) { t.d = along(s.c, w[3], v); }
  if (KH > 4u) { t.e = along(s.d, w[4], v); }
  if (KH > 5u) { t.f = along(s.e, w[5], v); }
  if (KH > 6u) { t.g = along(s.f, w[6], v); }
  return t;
}

fn whole(s: Sums) -> vec4f {
  if (KH == 1u) { return s.a; }
  if (KH == 2u) { return s.b; }
  if (KH == 3u) { return s.c; }
  if (KH == 4u) { return s.d; }
  if (KH == 5u) { return s.e; }
  if (KH == 6u) { return s.f; }
  return s.g;
}

// include: parts/store_strips.wgsl

// How a lane walks: what it adds, where rows of x and y lie, their distances.
struct Walk { plane: i32, to: i32, add: f32, first: i32 }

fn walk_of(s: Strip) -> Walk {
  let size = params.h * params.w;
  var add = 0.0;
  if (BIAS) { add = bias[s.o]; }
  return Walk(
    (s.image * params.cin + over(s.o, params.outG)) * size + params.sourceOffset + s.image * params.sourceGap,
    (s.image * params.cout + s.o) * params.outH * params.outW + params.offset + s.image * params.gap + s.ox,
    add, s.o * i32(KH * KW));
}

fn row_of(walk: Walk, iy: i32, ox: i32, lane: i32) -> Columns {
  return columns_of(walk.plane + iy * params.w, params.w, (iy >= 0) & (iy < params.h), ox, lane);
}

fn window_of(first: i32, lane: i32) -> array<Taps, 7> {
  var held = Held();
  if (SHARED) {
    held[0] = hold(first, u32(lane));
    if (KH * KW > 8u) { held[1] = hold(first, u32(lane) + 8u); }
    if (KH * KW > 16u) { held[2] = hold(first, u32(lane) + 16u); }
    if (KH * KW > 24u) { held[3] = hold(first, u32(lane) + 24u); }
    if (KH * KW > 32u) { held[4] = hold(first, u32(lane) + 32u); }
    if (KH * KW > 40u) { held[5] = hold(first, u32(lane) + 40u); }
    if (KH * KW > 48u) { held[6] = hold(first, u32(lane) + 48u); }
  }
  return array<Taps, 7>(
    taps(&held, first, 0u), taps(&held, first, 1u), taps(&held, first, 2u), taps(&held, first, 3u),
    taps(&held, first, 4u), taps(&held, first, 5u), taps(&held, first, 6u));
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
  var sums = Sums();
  for (var a = 0; a < params.band + i32(KH) - 1; a++) {
    let iy = s.first + a * params.dilationH - params.padH;
    sums = under(sums, w, seen(row_of(walk, iy, s.ox, lane)));
    let done = a - i32(KH) + 1;
    if ((done >= 0) & (done < s.rows)) {
      store(walk.to + (s.first + done * params.dilationH) * params.outW, s.ox, whole(sums) + walk.add);
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
  var sums = Sums();
  for (var a = 0; a < params.band + i32(KH) - 1; a++) {
    let iy = s.first + a * params.dilationH - params.padH;
    sums = under(sums, w, seen(row_of(walk, iy, s.ox, lane)));
    let done = a - i32(KH) + 1;
    if ((done >= 0) & (done < s.rows)) {
      store_wide(walk.to + (s.first + done * params.dilationH) * params.outW, whole(sums) + walk.add);
    }
  }
}
