// Gradient of a 3×3 convolution (stride 1) with respect to its weight, a pair of planes at a time: depthwise, groups
// of few channels, few channels in or out; any dilation and padding.
//   dw[o,i,ky,kx] = Σ_n,oy,ox  dy[n,o,oy,ox] · x[n, g·inG + i, oy − p + ky·d, ox − p + kx·d]
// One invocation walks down columns four wide, of one residue modulo the dilation (see conv2d_3x3_planes), and holds
// the window's nine sums as vec4f: a row of x meets the three rows of dy that it is under, 36 FMAs for ten values.
// The columns (image, band of rows, residue, strip) are dealt out over `splits` sums, which conv2d_reduce adds up.
alias elem = f32;
alias elem4 = vec4f;

// include: parts/over.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, inG: i32, outG: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  rows: i32, band: i32, bands: i32, strips: i32, columns: i32, perSplit: i32, splits: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> dy: array<elem>;
@group(0) @binding(3) var<storage, read> dy4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// VEC: no dilation, padding 1, rows of whole vec4fs, in x and in dy.
override VEC: bool = false;
override WG: u32 = 64;
override ACCUMULATE: bool = false;

struct Row { s0: vec4f, s1: vec4f, s2: vec4f }

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }
fn up(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

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

// Four columns of dy from ox on; zero where the row is not one of this band's.
fn upstream(plane: i32, row: i32, ox: i32, inside: bool) -> vec4f {
  let start = plane + row * params.outW + ox;
  if (VEC) { return select(vec4f(), vec4f(dy4[select(0, start / 4, inside)]), inside); }
  let d = params.dilationW;
  let column = vec4<bool>(inside) & (ox + vec4i(0, 1, 2, 3) * d < vec4i(params.outW));
  return vec4f(up(start, column.x), up(start + d, column.y), up(start + 2 * d, column.z), up(start + 3 * d, column.w));
}

@compute @workgroup_size(WG)
fn conv2d_3x3_weight_grad_planes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let windows = params.cout * params.inG;
  let split = over(index, windows);
  if (split >= params.splits) { return; }
  // Neighbouring invocations: another channel of dy, the same columns.
  let i = over(index - split * windows, params.cout);
  let o = index - split * windows - i * params.cout;
  let source = over(o, params.outG) * params.inG + i;
  let d = vec2i(params.dilationH, params.dilationW);
  let most = min(d, vec2i(params.outH, params.outW)); // residues that have a pixel

  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  var s7 = vec4f();
  var s8 = vec4f();
  let last = min(params.columns, (split + 1) * params.perSplit);
  for (var c = split * params.perSplit; c < last; c++) {
    let line = over(c, params.strips);
    let residues = over(line, most.x * most.y);
    let residue = line - residues * most.x * most.y;
    let image = over(residues, params.bands);
    let y0 = over(residue, most.y);
    let ox = residue - y0 * most.y + (c - line * params.strips) * 4 * d.y;
    let xPlane = (image * params.cin + source) * params.h * params.w;
    let dyPlane = (image * params.cout + o) * params.outH * params.outW;
    let first = (residues - image * params.bands) * params.band;
    let end = min(first + params.band, params.rows);
    // The rows of dy that the last row of x was over, one and two further up.
    var d1 = vec4f();
    var d2 = vec4f();
    for (var a = first; a < end + 2; a++) {
      let row = y0 + a * d.x;
      let d0 = upstream(dyPlane, row, ox, (a < end) & (row < params.outH));
      let r = load(xPlane, row - params.padH, ox - params.padW);
      s0 += d0 * r.s0;
      s1 += d0 * r.s1;
      s2 += d0 * r.s2;
      s3 += d1 * r.s0;
      s4 += d1 * r.s1;
      s5 += d1 * r.s2;
      s6 += d2 * r.s0;
      s7 += d2 * r.s1;
      s8 += d2 * r.s2;
      d2 = d1;
      d1 = d0;
    }
  }

  let sums = array<vec4f, 9>(s0, s1, s2, s3, s4, s5, s6, s7, s8);
  let to = (split * windows + o * params.inG + i) * 9;
  for (var tap = 0; tap < 9; tap++) {
    var value = dot(sums[tap], vec4f(1.0));
    if (ACCUMULATE) { value += partial[to + tap]; }
    partial[to + tap] = value;
  }
}
