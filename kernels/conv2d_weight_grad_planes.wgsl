// Gradient of a convolution with respect to its weight, a pair of planes at a time, any stride and dilation, windows up to
// seven wide: depthwise, groups of few channels.
//   dw[o,i,ky,kx] = Σ_n,oy,ox  dy[n,o,oy,ox] · x[n, g·inG + i, oy·s − p + ky·d, ox·s − p + kx·d]
// One invocation sums a row of one window: it walks along rows of dy four columns at a time, and of x it holds what the
// window sees of them. Undilated with stride 1 those are three vec4fs, of which the next four columns need one more; with
// stride 2 even and odd columns apart, two of each, two more (HELD). Else each tap loads its four columns.
// Loads begin at multiples of four columns, SHIFT before where the window does: with rows of whole vec4fs (WIDE, WIDE_DY)
// each is one. The N·outH rows are dealt out over `splits` sums, which conv2d_reduce adds up.
alias elem = f32;
alias elem4 = vec4f;

// include: parts/over.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, groups: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  perSplit: i32, splits: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> dy: array<elem>;
@group(0) @binding(3) var<storage, read> dy4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

override KW: u32 = 7;
override HELD: u32 = 0; // the stride, 1 or 2, if columns are held
override SHIFT: u32 = 0;
override WIDE: bool = false;
override WIDE_DY: bool = false;
override WG: u32 = 64;
override ACCUMULATE: bool = false;

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }
fn up(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

// Four columns of x, `step` apart; zero outside.
fn apart(row: i32, column: i32, step: i32) -> vec4f {
  let c = column + vec4i(0, 1, 2, 3) * step;
  let inside = (c >= vec4i()) & (c < vec4i(params.w));
  let p = row + c;
  return vec4f(at(p.x, inside.x), at(p.y, inside.y), at(p.z, inside.z), at(p.w, inside.w));
}

fn four(row: i32, column: i32) -> vec4f {
  if (WIDE) {
    let inside = (column >= 0) & (column < params.w);
    return select(vec4f(), vec4f(x4[select(0, (row + column) / 4, inside)]), inside);
  }
  return apart(row, column, 1);
}

fn upstream(row: i32, column: i32) -> vec4f {
  if (WIDE_DY) { return vec4f(dy4[(row + column) / 4]); }
  let inside = column + vec4i(0, 1, 2, 3) < vec4i(params.outW);
  let p = row + column;
  return vec4f(up(p, inside.x), up(p + 1, inside.y), up(p + 2, inside.z), up(p + 3, inside.w));
}

// What is held of a row of x: columns 0 … 11, or even ones in a and b, odd ones in c and d.
struct Held { a: vec4f, b: vec4f, c: vec4f, d: vec4f }

// Four neighbours of eight, from the `first` on.
fn between(a: vec4f, b: vec4f, first: u32) -> vec4f {
  if (first == 0u) { return a; }
  if (first == 1u) { return vec4f(a.yzw, b.x); }
  if (first == 2u) { return vec4f(a.zw, b.xy); }
  if (first == 3u) { return vec4f(a.w, b.xyz); }
  return b;
}

// The four columns under tap kx.
fn under(held: Held, kx: u32, row: i32, column: i32) -> vec4f {
  let first = kx + SHIFT;
  if (HELD == 1u) {
    if (first < 4u) { return between(held.a, held.b, first); }
    return between(held.b, held.c, first - 4u);
  }
  if (HELD == 2u) {
    if (first % 2u == 0u) { return between(held.a, held.b, first / 2u); }
    return between(held.c, held.d, first / 2u);
  }
  return apart(row, column * params.strideW - params.padW + i32(kx) * params.dilationW, params.strideW);
}

// The columns that come into sight at `column`.
fn next(held: Held, row: i32, column: i32) -> Held {
  if (HELD == 1u) { return Held(held.b, held.c, four(row, column), held.d); }
  if (HELD == 2u) {
    let p = four(row, column);
    let q = four(row, column + 4);
    return Held(held.b, vec4f(p.xz, q.xz), held.d, vec4f(p.yw, q.yw));
  }
  return held;
}

@compute @workgroup_size(WG)
fn conv2d_weight_grad_planes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  // Neighbouring invocations: another channel of dy, the same row of the window.
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let rest = over(index, params.cout);
  let o = index - rest * params.cout;
  let inG = over(params.cin, params.groups);
  let windows = over(rest, inG);
  let i = rest - windows * inG;
  let split = over(windows, params.kh);
  if (split >= params.splits) { return; }
  let ky = windows - split * params.kh;
  let source = over(o * params.groups, params.cout) * inG + i;
  let start = -i32(SHIFT) - params.padW;
  let step = 4 * i32(HELD);

  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  var s4 = vec4f();
  var s5 = vec4f();
  var s6 = vec4f();
  let last = min(params.n * params.outH, (split + 1) * params.perSplit);
  for (var r = split * params.perSplit; r < last; r++) {
    let image = over(r, params.outH);
    let oy = r - image * params.outH;
    let iy = oy * params.strideH - params.padH + ky * params.dilationH;
    if (iy < 0 || iy >= params.h) { continue; }
    let row = ((image * params.cin + source) * params.h + iy) * params.w;
    let grad = ((image * params.cout + o) * params.outH + oy) * params.outW;
    var held = next(next(Held(), row, start), row, start + step);
    if (HELD == 2u) { held = next(Held(), row, start); }
    var column = start + step * select(2, 1, HELD == 2u);
    for (var ox = 0; ox < params.outW; ox += 4) {
      held = next(held, row, column);
      column += step;
      let d = upstream(grad, ox);
      s0 += d * under(held, 0u, row, ox);
      if (KW > 1u) { s1 += d * under(held, 1u, row, ox); }
      if (KW > 2u) { s2 += d * under(held, 2u, row, ox); }
      if (KW > 3u) { s3 += d * under(held, 3u, row, ox); }
      if (KW > 4u) { s4 += d * under(held, 4u, row, ox); }
      if (KW > 5u) { s5 += d * under(held, 5u, row, ox); }
      if (KW > 6u) { s6 += d * under(held, 6u, row, ox); }
    }
  }

  let sums = array<vec4f, 7>(s0, s1, s2, s3, s4, s5, s6);
  let to = (((split * params.cout + o) * inG + i) * params.kh + ky) * i32(KW);
  for (var kx = 0; kx < i32(KW); kx++) {
    var value = dot(sums[kx], vec4f(1.0));
    if (ACCUMULATE) { value += partial[to + kx]; }
    partial[to + kx] = value;
  }
}
