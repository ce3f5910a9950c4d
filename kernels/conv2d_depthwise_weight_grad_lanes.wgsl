// Gradient of a depthwise convolution, or one in groups, stride 1 or 2, windows up to 7 × 7, with respect to its weight, where
// subgroups have 8 lanes or more: for CPU drivers.
//   dw[o,i,ky,kx] = Σ_n,oy,ox  dy[n,o,oy,ox] · x[n, g·inG + i, oy·s − p + ky·d, ox·s − p + kx·d]
// A subgroup sums one window. Its lanes walk down strips as in conv2d_depthwise_lanes: a row of x, with stride 2
// one of two, meets the rows of dy that it is under. The lanes' sums are added up at the end.
// The strips (image, band, residue, strip) are dealt out, eight at a time, over `splits` sums, which conv2d_reduce adds up; a
// single one (splits = 1) is written, or with accumulate added, to its place.
//   …_sums  also Σ dy of each channel, the gradient of a bias
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, inG: i32, outG: i32, padH: i32, dilationH: i32,
  strips: i32, band: i32, bands: i32, residues: i32,
  splits: i32, perSplit: i32, sourceOffset: i32, sourceGap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> dy: array<elem>;
@group(0) @binding(3) var<storage, read> dy4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

override KH: u32 = 7;
override VEC: bool = false;
override WIDE_DY: bool = false; // rows of dy hold whole vec4s
override ENDS: bool = false;
override ACCUMULATE: bool = false;
// Whether the entry point writes sums of dy.
override SUMS: bool = false;
// Of what a lane loaded.
var<private> loaded: vec4f;

fn value_at(i: i32) -> f32 { return f32(x[i]); }
fn four_at(i: i32) -> vec4f { return vec4f(x4[i]); }

// include: parts/over.wgsl, parts/strided_rows.wgsl, parts/own_sum.wgsl

fn up(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

fn upstream(row: i32, ox: i32, inside: bool) -> vec4f {
  let start = row + ox;
  if (WIDE_DY) { return select(vec4f(), vec4f(dy4[select(0, start / 4, inside)]), inside); }
  return vec4f(
    up(start, inside), up(start + 1, inside & (ox + 1 < params.outW)),
    up(start + 2, inside & (ox + 2 < params.outW)), up(start + 3, inside & (ox + 3 < params.outW)));
}

alias Sums = array<f32, 56>; // tap (ky, kx) at ky·KW + kx

fn add(sums: ptr<function, Sums>, ky: u32, kx: u32, d: vec4f, v: Seen) {
  if (kx < KW) { (*sums)[ky * KW + kx] += dot(d, under_tap(v, kx)); }
}

fn add_row(sums: ptr<function, Sums>, ky: u32, d: vec4f, v: Seen) {
  if (ky >= KH) { return; }
  add(sums, ky, 0u, d, v);
  add(sums, ky, 1u, d, v);
  add(sums, ky, 2u, d, v);
  add(sums, ky, 3u, d, v);
  add(sums, ky, 4u, d, v);
  add(sums, ky, 5u, d, v);
  add(sums, ky, 6u, d, v);
}

// Of the row of dy that is j steps further up, under the rows of x of a step: without stride the first.
fn add_step(sums: ptr<function, Sums>, j: u32, d: vec4f, first: Seen, second: Seen) {
  add_row(sums, STRIDE * j, d, first);
  if (STRIDE == 2u) { add_row(sums, 2u * j + 1u, d, second); }
}

fn row_of(plane: i32, iy: i32, ox: i32, lane: i32) -> Seen {
  return seen_of(plane + iy * params.w, params.w, (iy >= 0) & (iy < params.h), ox, lane);
}

fn store_eight(sums: ptr<function, Sums>, first: u32, to: i32, lane: u32) {
  if (first >= KH * KW) { return; }
  let a = vec4f((*sums)[first], (*sums)[first + 1u], (*sums)[first + 2u], (*sums)[first + 3u]);
  let b = vec4f((*sums)[first + 4u], (*sums)[first + 5u], (*sums)[first + 6u], (*sums)[first + 7u]);
  let value = own_sum(a, b, lane);
  let k = first + lane;
  if (k < KH * KW) { partial[to + i32(k)] = value + select(0.0, partial[to + i32(k)], ACCUMULATE); }
}

fn weight_grad(index: i32, lane: i32) {
  let windows = params.cout * params.inG;
  let split = over(index, windows);
  if (split >= params.splits) { return; }
  let window = index - split * windows;
  let o = over(window, params.inG);
  let channel = over(o, params.outG) * params.inG + window - o * params.inG;
  let tiles = params.strips * params.bands * params.residues;
  let all = params.n * tiles;

  var sums = Sums();
  let last = min((all + 7) / 8, (split + 1) * params.perSplit);
  for (var eight = split * params.perSplit; eight < last; eight++) {
    let tile = min(8 * eight + lane, all - 1);
    let image = over(tile, tiles);
    let line = over(tile - image * tiles, params.strips);
    let ox = (tile - image * tiles - line * params.strips) * 4;
    let band = over(line, params.residues);
    let first = line - band * params.residues + band * params.band * params.dilationH;
    let end = min(params.outH, first + params.band * params.dilationH);
    let there = 8 * eight + lane < all;
    let plane = (image * params.cin + channel) * params.h * params.w
      + params.sourceOffset + image * params.sourceGap;
    let grad = (image * params.cout + o) * params.outH * params.outW;
    // The rows of dy that the last step was over, one, two, … further up.
    var d1 = vec4f();
    var d2 = vec4f();
    var d3 = vec4f();
    var d4 = vec4f();
    var d5 = vec4f();
    var d6 = vec4f();
    for (var a = 0; a < params.band + i32((KH - 1u) / STRIDE); a++) {
      let row = first + a * params.dilationH;
      let iy = row * i32(STRIDE) - params.padH;
      let v = row_of(plane, iy, ox, lane);
      var second = Seen();
      if (STRIDE == 2u && KH > 1u) { second = row_of(plane, iy + 1, ox, lane); }
      let d0 = upstream(grad + row * params.outW, ox, there & (row < end));
      if (SUMS) { loaded += d0; }
      add_step(&sums, 0u, d0, v, second);
      add_step(&sums, 1u, d1, v, second);
      add_step(&sums, 2u, d2, v, second);
      add_step(&sums, 3u, d3, v, second);
      add_step(&sums, 4u, d4, v, second);
      add_step(&sums, 5u, d5, v, second);
      add_step(&sums, 6u, d6, v, second);
      d6 = d5;
      d5 = d4;
      d4 = d3;
      d3 = d2;
      d2 = d1;
      d1 = d0;
    }
  }

  let to = index * i32(KH * KW);
  store_eight(&sums, 0u, to, u32(lane));
  store_eight(&sums, 8u, to, u32(lane));
  store_eight(&sums, 16u, to, u32(lane));
  store_eight(&sums, 24u, to, u32(lane));
  store_eight(&sums, 32u, to, u32(lane));
  store_eight(&sums, 40u, to, u32(lane));
  store_eight(&sums, 48u, to, u32(lane));
}

@compute @workgroup_size(8)
fn conv2d_depthwise_weight_grad_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  weight_grad(i32(group.x + group.y * count.x), i32(lane));
}

@compute @workgroup_size(8)
fn conv2d_depthwise_weight_grad_lanes_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let index = i32(group.x + group.y * count.x);
  weight_grad(index, i32(lane));
  let sum = own_sum(vec4f(dot(loaded, vec4f(1.0)), vec3f()), vec4f(), lane);
  // By the first window of each channel.
  let to = over(index, params.inG);
  if ((index != to * params.inG) | (to >= params.splits * params.cout) | (lane > 0u)) { return; }
  dbias[to] = sum + select(0.0, dbias[to], ACCUMULATE);
}
