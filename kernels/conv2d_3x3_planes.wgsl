// Convolution 3×3, stride 1, a plane at a time: depthwise, groups of few channels, few channels in or out; any
// dilation and padding.
//   y[n,o,oy,ox] = b[o] + Σ_i,ky,kx  weight[o,i,ky,kx] · x[n, g·inG + i, oy − p + ky·d, ox − p + kx·d]
// The rows, and the columns, that are equal modulo the dilation see only each other: they are an image of their
// own on which the window is dense. One invocation computes 8 rows × 4 columns of one such image of one output
// channel; from a row of six values of x come 36 FMAs, and no value is loaded twice.
// VEC: no dilation, padding 1, x a multiple of four wide: a row's middle four are one vec4f.
// Weights of (o, i) start at o·weightOut + i·weightIn in a group. TURN reads them turned by 180°: the gradient with
// respect to x, with padding 2·d − p and the channels' parts exchanged.
alias elem = f32;
alias elem4 = vec4f;

// include: parts/over.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, inG: i32, outG: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  strips: i32, bands: i32, relu: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<uniform> params: Params;

override VEC: bool = false;
override DILATED: bool = false;
override TURN: bool = false;
// Not uniforms: llvmpipe runs both sides of a branch, loads included.
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override WG: u32 = 64;

// A row of x as the four columns see it through each column of the window.
struct Row { s0: vec4f, s1: vec4f, s2: vec4f }

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

// Masks are joined by `&`: with a branch a load SwiftShader's compiler does not come to an end.
fn load(plane: i32, iy: i32, ix: i32) -> Row {
  let inRow = (iy >= 0) & (iy < params.h);
  let start = plane + iy * params.w + ix;
  let d = params.dilationW;
  if (VEC) {
    let left = at(start, inRow & (ix >= 0));
    let right = at(start + 5, inRow & (ix + 5 < params.w));
    let middle = select(vec4f(), vec4f(x4[select(0, (start + 1) / 4, inRow)]), inRow);
    return Row(vec4f(left, middle.xyz), middle, vec4f(middle.yzw, right));
  }
  let column = ix + vec4i(0, 1, 2, 3) * d;
  let more = ix + vec2i(4, 5) * d;
  let a = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(params.w));
  let b = vec2<bool>(inRow) & (more >= vec2i()) & (more < vec2i(params.w));
  let four = vec4f(at(start, a.x), at(start + d, a.y), at(start + 2 * d, a.z), at(start + 3 * d, a.w));
  let two = vec2f(at(start + 4 * d, b.x), at(start + 5 * d, b.y));
  return Row(four, vec4f(four.yzw, two.x), vec4f(four.zw, two));
}

fn taps(w: vec3f, row: Row) -> vec4f { return w.x * row.s0 + w.y * row.s1 + w.z * row.s2; }

fn window_row(first: i32, row: i32) -> vec3f {
  if (TURN) {
    let last = first + 8 - 3 * row;
    return vec3f(weight[last], weight[last - 1], weight[last - 2]);
  }
  return vec3f(weight[first + 3 * row], weight[first + 3 * row + 1], weight[first + 3 * row + 2]);
}

fn store_one(to: i32, sum: f32) {
  var value = sum;
  if (ACCUMULATE) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elem(value);
}

fn store(to: i32, sum: vec4f, inside: vec4<bool>) {
  let d = params.dilationW;
  if (inside.x) { store_one(to, sum.x); }
  if (inside.y) { store_one(to + d, sum.y); }
  if (inside.z) { store_one(to + 2 * d, sum.z); }
  if (inside.w) { store_one(to + 3 * d, sum.w); }
}

@compute @workgroup_size(WG)
fn conv2d_3x3_planes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  // Of a dilation larger than the image most residues have no pixel.
  let residues = min(vec2i(params.dilationH, params.dilationW), vec2i(params.outH, params.outW));
  let tiles = params.strips * params.bands * residues.x * residues.y;
  let q = over(index, tiles);
  let image = over(q, params.cout);
  if (image >= params.n) { return; }
  let o = q - image * params.cout;
  let tile = index - q * tiles;
  let line = over(tile, params.strips);
  var oy = line;
  var ox = tile - line * params.strips;
  let d = vec2i(params.dilationH, params.dilationW);
  if (DILATED) {
    let residue = over(line, params.bands);
    let row = over(residue, residues.y);
    oy = row + (line - residue * params.bands) * 8 * d.x;
    ox = residue - row * residues.y + ox * 4 * d.y;
  } else {
    oy *= 8;
    ox *= 4;
  }
  let ix = ox - params.padW;
  let iy = oy - params.padH;

  let inG = params.inG;
  let g = over(o, params.outG);
  let size = params.h * params.w;
  var plane = (image * params.cin + g * inG) * size;
  var window = g * params.weightGroup + (o - g * params.outG) * params.weightOut;

  // Named one by one: an indexed array would lie in memory.
  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  for (var i = 0; i < inG; i++) {
    let a = window_row(window, 0);
    let b = window_row(window, 1);
    let c = window_row(window, 2);
    let r0 = load(plane, iy, ix);
    s0 += taps(a, r0);
    let r1 = load(plane, iy + d.x, ix);
    s0 += taps(b, r1);
    s1 += taps(a, r1);
    let r2 = load(plane, iy + 2 * d.x, ix);
    s0 += taps(c, r2);
    s1 += taps(b, r2);
    s2 += taps(a, r2);
    let r3 = load(plane, iy + 3 * d.x, ix);
    s1 += taps(c, r3);
    s2 += taps(b, r3);
    s3 += taps(a, r3);
    let r4 = load(plane, iy + 4 * d.x, ix);
    s2 += taps(c, r4);
    s3 += taps(b, r4);
    s4 += taps(a, r4);
    let r5 = load(plane, iy + 5 * d.x, ix);
    s3 += taps(c, r5);
    s4 += taps(b, r5);
    s5 += taps(a, r5);
    let r6 = load(plane, iy + 6 * d.x, ix);
    s4 += taps(c, r6);
    s5 += taps(b, r6);
    s6 += taps(a, r6);
    let r7 = load(plane, iy + 7 * d.x, ix);
    s5 += taps(c, r7);
    s6 += taps(b, r7);
    s7 += taps(a, r7);
    let r8 = load(plane, iy + 8 * d.x, ix);
    s6 += taps(c, r8);
    s7 += taps(b, r8);
    s7 += taps(c, load(plane, iy + 9 * d.x, ix));
    plane += size;
    window += params.weightIn;
  }

  var add = 0.0;
  if (BIAS) { add = bias[o]; }
  let to = ((image * params.cout + o) * params.outH + oy) * params.outW + ox + params.offset + image * params.gap;
  let step = d.x * params.outW;
  let inside = ox + vec4i(0, 1, 2, 3) * d.y < vec4i(params.outW);
  let left = params.outH - oy;
  store(to, s0 + add, inside & vec4<bool>(left > 0));
  store(to + step, s1 + add, inside & vec4<bool>(left > d.x));
  store(to + 2 * step, s2 + add, inside & vec4<bool>(left > 2 * d.x));
  store(to + 3 * step, s3 + add, inside & vec4<bool>(left > 3 * d.x));
  store(to + 4 * step, s4 + add, inside & vec4<bool>(left > 4 * d.x));
  store(to + 5 * step, s5 + add, inside & vec4<bool>(left > 5 * d.x));
  store(to + 6 * step, s6 + add, inside & vec4<bool>(left > 6 * d.x));
  store(to + 7 * step, s7 + add, inside & vec4<bool>(left > 7 * d.x));
}
