// Convolution and its transpose a plane at a time, any window, stride, dilation: depthwise, groups of few channels.
//   y[n,o,a] = b[o] + Σ_i,k  weight[o,i,k] · x[n, g·inG + i, a·step + offset(k)]
// Steps, offsets and phases as in conv2d_lanes. One invocation computes 4 rows × 4 columns of one phase of one
// output channel; each tap's four columns of x are loaded, or, where taps are as far apart as columns (SLIDE), the
// tap before moved on by one.
// Taps that touch no pixel of any window, as of a dilation larger than the image, are not taken: rows firstH … endH − 1 of
// the window and columns firstW … endW − 1 are.
// Weights of (o, i) start at g·weightGroup + o·weightOut + i·weightIn.
alias elem = f32;

// include: parts/over.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, inG: i32, outG: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  firstH: i32, endH: i32, firstW: i32, endW: i32,
  bands: i32, strips: i32, relu: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<elem>;
@group(0) @binding(4) var<uniform> params: Params;

override TRANSPOSE: bool = false;
override SLIDE: bool = false;
override BIAS: bool = false;
override ACCUMULATE: bool = false;
override WG: u32 = 64;

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

fn four(row: i32, inRow: bool, ix: i32, step: i32) -> vec4f {
  let column = ix + vec4i(0, 1, 2, 3) * step;
  let inside = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(params.w));
  let p = row + column;
  return vec4f(at(p.x, inside.x), at(p.y, inside.y), at(p.z, inside.z), at(p.w, inside.w));
}

// The four columns of the next tap: one further on, in a transpose one back.
fn slide(v: vec4f, row: i32, inRow: bool, ix: i32, step: i32) -> vec4f {
  let column = select(ix + 3 * step, ix, TRANSPOSE);
  let value = at(row + column, inRow & (column >= 0) & (column < params.w));
  if (TRANSPOSE) { return vec4f(value, v.xyz); }
  return vec4f(v.yzw, value);
}

fn store_one(to: i32, sum: f32) {
  var value = sum;
  if (ACCUMULATE) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elem(value);
}

fn store(to: i32, sum: vec4f, inside: vec4<bool>, step: i32) {
  if (inside.x) { store_one(to, sum.x); }
  if (inside.y) { store_one(to + step, sum.y); }
  if (inside.z) { store_one(to + 2 * step, sum.z); }
  if (inside.w) { store_one(to + 3 * step, sum.w); }
}

@compute @workgroup_size(WG)
fn conv2d_planes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  let stepH = select(params.strideH, 1, TRANSPOSE);
  let stepW = select(params.strideW, 1, TRANSPOSE);
  let tiles = params.strips * params.bands;
  // A workgroup, or most of it, works on one phase of one channel.
  let whole = over(index, tiles);
  let tile = index - whole * tiles;
  let phases = phasesH * phasesW;
  let plane = over(whole, phases);
  let phase = whole - plane * phases;
  let image = over(plane, params.cout);
  if (image >= params.n) { return; }
  let o = plane - image * params.cout;
  let g = over(o, params.outG);
  let phaseY = over(phase, phasesW);
  let phaseX = phase - phaseY * phasesW;
  let band = over(tile, params.strips);
  let a = band * 4;
  let b = (tile - band * params.strips) * 4;

  let size = params.h * params.w;
  let source = (image * params.cin + g * params.inG) * size;
  let window = g * params.weightGroup + (o - g * params.outG) * params.weightOut;

  var s0 = vec4f();
  var s1 = vec4f();
  var s2 = vec4f();
  var s3 = vec4f();
  for (var ky = params.firstH; ky < params.endH; ky++) {
    var iy = a * stepH + ky * params.dilationH - params.padH;
    var rowTaken = true;
    if (TRANSPOSE) {
      let shifted = phaseY + params.padH - ky * params.dilationH;
      let q = over(shifted + params.kh * params.dilationH * params.strideH, params.strideH) - params.kh * params.dilationH;
      rowTaken = q * params.strideH == shifted;
      iy = a + q;
    }
    if (!rowTaken) { continue; }
    let in0 = (iy >= 0) & (iy < params.h);
    let in1 = (iy + stepH >= 0) & (iy + stepH < params.h);
    let in2 = (iy + 2 * stepH >= 0) & (iy + 2 * stepH < params.h);
    let in3 = (iy + 3 * stepH >= 0) & (iy + 3 * stepH < params.h);
    for (var i = 0; i < params.inG; i++) {
      let r0 = source + i * size + iy * params.w;
      let r1 = r0 + stepH * params.w;
      let r2 = r1 + stepH * params.w;
      let r3 = r2 + stepH * params.w;
      var first = true;
      var v0 = vec4f();
      var v1 = vec4f();
      var v2 = vec4f();
      var v3 = vec4f();
      for (var kx = params.firstW; kx < params.endW; kx++) {
        var ix = b * stepW + kx * params.dilationW - params.padW;
        if (TRANSPOSE) {
          let shifted = phaseX + params.padW - kx * params.dilationW;
          let q = over(shifted + params.kw * params.dilationW * params.strideW, params.strideW) - params.kw * params.dilationW;
          if (q * params.strideW != shifted) { continue; }
          ix = b + q;
        }
        if (SLIDE && !first) {
          v0 = slide(v0, r0, in0, ix, stepW);
          v1 = slide(v1, r1, in1, ix, stepW);
          v2 = slide(v2, r2, in2, ix, stepW);
          v3 = slide(v3, r3, in3, ix, stepW);
        } else {
          v0 = four(r0, in0, ix, stepW);
          v1 = four(r1, in1, ix, stepW);
          v2 = four(r2, in2, ix, stepW);
          v3 = four(r3, in3, ix, stepW);
        }
        first = false;
        let value = weight[window + i * params.weightIn + ky * params.kw + kx];
        s0 += value * v0;
        s1 += value * v1;
        s2 += value * v2;
        s3 += value * v3;
      }
    }
  }

  var add = 0.0;
  if (BIAS) { add = bias[o]; }
  let oy = a * phasesH + phaseY;
  let ox = b * phasesW + phaseX;
  let to = ((image * params.cout + o) * params.outH + oy) * params.outW + ox + params.offset + image * params.gap;
  let line = phasesH * params.outW;
  let inside = ox + vec4i(0, 1, 2, 3) * phasesW < vec4i(params.outW);
  let left = params.outH - oy;
  store(to, s0 + add, inside & vec4<bool>(left > 0), phasesW);
  store(to + line, s1 + add, inside & vec4<bool>(left > phasesH), phasesW);
  store(to + 2 * line, s2 + add, inside & vec4<bool>(left > 2 * phasesH), phasesW);
  store(to + 3 * line, s3 + add, inside & vec4<bool>(left > 3 * phasesH), phasesW);
}
