// Gradient of a 3×3 convolution (stride 1, no groups) with respect to its weight, by register tiles alone:
// for CPU drivers without subgroups of 8.
//   dw[co,ci,ky,kx] = Σ_n,oy,ox  dy[n,co,oy,ox] · x[n,ci, oy − p + ky, ox − p + kx]
// One invocation holds an input channel, 4 output channels and all nine taps, 36 sums: for four pixels of a row
// 4 vec4f of dy and three windows of six values of x for 144 FMAs; the windows of the taps overlap.
// The N·outH rows are dealt out over `splits` sums, which conv2d_reduce adds up; a single one (splits = 1) is
// written, or with accumulate added, to its place.
alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, padH: i32, padW: i32,
  splits: i32, rowsPerSplit: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> x4: array<elem4>;
@group(0) @binding(5) var<storage, read> dy4: array<elem4>;

// VEC: padding 1 and rows of whole vec4fs, in x and in dy.
override VEC: bool = false;
override WG: u32 = 8;
override ACCUMULATE: bool = false;

fn source(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }
fn upstream(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

// Values of x in columns c … c + 3 of the row that starts at `row`; zero outside.
fn four(row: i32, inRow: bool, c: i32) -> vec4f {
  let column = c + vec4i(0, 1, 2, 3);
  let inside = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(params.w));
  return vec4f(
    source(row + c, inside.x), source(row + c + 1, inside.y),
    source(row + c + 2, inside.z), source(row + c + 3, inside.w));
}

fn load_dy(row: i32, ox: i32) -> vec4f {
  if (VEC) { return vec4f(dy4[(row + ox) / 4]); }
  return vec4f(
    f32(dy[row + ox]), upstream(row + ox + 1, ox + 1 < params.outW),
    upstream(row + ox + 2, ox + 2 < params.outW), upstream(row + ox + 3, ox + 3 < params.outW));
}

// The windows of the three taps of one row of x: columns ox − p … ox − p + 3, one and two further on.
struct Windows { v0: vec4f, v1: vec4f, v2: vec4f }

fn windows(channel: i32, iy: i32, ox: i32) -> Windows {
  let inRow = (iy >= 0) & (iy < params.h);
  let row = channel + iy * params.w;
  if (VEC) {
    let v = select(vec4f(), vec4f(x4[select(0, (row + ox) / 4, inRow)]), inRow);
    let before = source(row + ox - 1, inRow & (ox > 0));
    let behind = source(row + ox + 4, inRow & (ox + 4 < params.w));
    return Windows(vec4f(before, v.xyz), v, vec4f(v.yzw, behind));
  }
  let c = ox - params.padW;
  let v = four(row, inRow, c);
  let more = vec2i(c + 4, c + 5);
  let inside = vec2<bool>(inRow) & (more >= vec2i()) & (more < vec2i(params.w));
  let behind = vec2f(source(row + more.x, inside.x), source(row + more.y, inside.y));
  return Windows(v, vec4f(v.yzw, behind.x), vec4f(v.zw, behind));
}

// Sums of four output channels for one tap.
fn add(sum: vec4f, d0: vec4f, d1: vec4f, d2: vec4f, d3: vec4f, v: vec4f) -> vec4f {
  return sum + vec4f(dot(d0, v), dot(d1, v), dot(d2, v), dot(d3, v));
}

@compute @workgroup_size(WG)
fn conv2d_3x3_weight_grad_tile(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let coBlocks = (params.cout + 3) / 4;
  if (index >= params.splits * params.cin * coBlocks) { return; }
  let ci = index % params.cin;
  let coBlock = index / params.cin % coBlocks;
  let split = index / (params.cin * coBlocks);
  let plane = params.h * params.w;
  let outPlane = params.outH * params.outW;
  let beyond = (params.cout - 1 - coBlock * 4) * outPlane;

  // Named one by one: an indexed array would lie in memory.
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  var s8 = vec4f();
  let last = min(params.n * params.outH, (split + 1) * params.rowsPerSplit);
  for (var r = split * params.rowsPerSplit; r < last; r++) {
    let image = r / params.outH;
    let oy = r % params.outH;
    let grad = (image * params.cout + coBlock * 4) * outPlane + oy * params.outW;
    let channel = (image * params.cin + ci) * plane;
    for (var ox = 0; ox < params.outW; ox += 4) {
      let d0 = load_dy(grad, ox);
      let d1 = load_dy(grad + min(outPlane, beyond), ox);
      let d2 = load_dy(grad + min(2 * outPlane, beyond), ox);
      let d3 = load_dy(grad + min(3 * outPlane, beyond), ox);
      let w0 = windows(channel, oy - params.padH + 0, ox);
      s0 = add(s0, d0, d1, d2, d3, w0.v0);
      s1 = add(s1, d0, d1, d2, d3, w0.v1);
      s2 = add(s2, d0, d1, d2, d3, w0.v2);
      let w1 = windows(channel, oy - params.padH + 1, ox);
      s3 = add(s3, d0, d1, d2, d3, w1.v0);
      s4 = add(s4, d0, d1, d2, d3, w1.v1);
      s5 = add(s5, d0, d1, d2, d3, w1.v2);
      let w2 = windows(channel, oy - params.padH + 2, ox);
      s6 = add(s6, d0, d1, d2, d3, w2.v0);
      s7 = add(s7, d0, d1, d2, d3, w2.v1);
      s8 = add(s8, d0, d1, d2, d3, w2.v2);
    }
  }

  let sums = array<vec4f, 9>(s0, s1, s2, s3, s4, s5, s6, s7, s8);
  for (var c = 0; c < min(4, params.cout - coBlock * 4); c++) {
    let to = ((split * params.cout + coBlock * 4 + c) * params.cin + ci) * 9;
    for (var tap = 0; tap < 9; tap++) {
      var value = sums[tap][c];
      if (ACCUMULATE) { value += partial[to + tap]; }
      partial[to + tap] = value;
    }
  }
}
