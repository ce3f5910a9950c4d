// Convolution and its transpose, any shape, by register tiles alone: for CPU drivers without subgroups of 8.
//   y[n,o,a] = b[o] + Σ_i,k  weight[o,i,k] · x[n,i, a·step + offset(k)]      (TRANSPOSE as in conv2d_lanes)
// One invocation: 8 channels of 4 pixels of one phase, 32 sums; a tap of a channel is 4 + 8 loads for 32 FMAs.
// VEC: the four values of x are one vec4f (step 1, offset 0, rows a multiple of four long).
alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, groups: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<uniform> params: Params;

override TRANSPOSE: bool = false;
override VEC: bool = false;
override WG: u32 = 64;

fn source(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

@compute @workgroup_size(WG)
fn conv2d_tile(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  let stepH = select(params.strideH, 1, TRANSPOSE);
  let stepW = select(params.strideW, 1, TRANSPOSE);
  let gridH = (params.outH + phasesH - 1) / phasesH;
  let gridW = (params.outW + phasesW - 1) / phasesW;
  let blocks = (outG + 7) / 8;
  let tiles = (gridH * gridW + 3) / 4;
  let phases = phasesH * phasesW;
  if (index >= params.n * params.groups * phases * tiles * blocks) { return; }
  let tile = index % tiles;
  let block = index / tiles % blocks * 8;
  let phase = index / (blocks * tiles) % phases;
  let g = index / (blocks * tiles * phases) % params.groups;
  let image = index / (blocks * tiles * phases * params.groups);
  let phaseY = phase / phasesW;
  let phaseX = phase % phasesW;

  // Its four pixels, and the place in x of tap offset 0.
  let pixel = tile * 4 + vec4i(0, 1, 2, 3);
  let a = pixel / gridW;
  let b = pixel - a * gridW;
  let sy = a * stepH;
  let sx = b * stepW;
  let origin = sy * params.w + sx;
  let plane = params.h * params.w;
  let first = (image * params.cin + g * inG) * plane;

  // Channels beyond the group repeat its last one; they are computed and not stored.
  let weights = g * params.weightGroup + block * params.weightOut;
  let beyond = vec4i(outG - 1 - block) * params.weightOut;
  let w0 = min(vec4i(0, 1, 2, 3) * params.weightOut, beyond) + weights;
  let w1 = min(vec4i(4, 5, 6, 7) * params.weightOut, beyond) + weights;

  var sums = array<vec4f, 8>();
  for (var ky = 0; ky < params.kh; ky++) {
    var dy = ky * params.dilationH - params.padH;
    if (TRANSPOSE) {
      let shifted = phaseY - dy;
      if (shifted % params.strideH != 0) { continue; }
      dy = shifted / params.strideH;
    }
    for (var kx = 0; kx < params.kw; kx++) {
      var dx = kx * params.dilationW - params.padW;
      if (TRANSPOSE) {
        let shifted = phaseX - dx;
        if (shifted % params.strideW != 0) { continue; }
        dx = shifted / params.strideW;
      }
      let iy = sy + dy;
      let ix = sx + dx;
      let inside = (iy >= vec4i()) & (iy < vec4i(params.h)) & (ix >= vec4i()) & (ix < vec4i(params.w));
      let at = origin + dy * params.w + dx + first;
      let tap = ky * params.kw + kx;
      for (var i = 0; i < inG; i++) {
        var value = vec4f();
        if (VEC) {
          value = select(vec4f(), vec4f(x4[select(0, (at.x + i * plane) / 4, inside.x)]), inside.x);
        } else {
          let p = at + i * plane;
          value = vec4f(source(p.x, inside.x), source(p.y, inside.y), source(p.z, inside.z), source(p.w, inside.w));
        }
        let q0 = w0 + (i * params.weightIn + tap);
        let q1 = w1 + (i * params.weightIn + tap);
        sums[0] += weight[q0.x] * value;
        sums[1] += weight[q0.y] * value;
        sums[2] += weight[q0.z] * value;
        sums[3] += weight[q0.w] * value;
        sums[4] += weight[q1.x] * value;
        sums[5] += weight[q1.y] * value;
        sums[6] += weight[q1.z] * value;
        sums[7] += weight[q1.w] * value;
      }
    }
  }

  for (var c = 0; c < min(8, outG - block); c++) {
    let o = g * outG + block + c;
    let add = select(0.0, bias[select(0, o, params.hasBias != 0u)], params.hasBias != 0u);
    for (var k = 0; k < 4; k++) {
      let oy = a[k] * phasesH + phaseY;
      let ox = b[k] * phasesW + phaseX;
      if (oy >= params.outH || ox >= params.outW) { continue; }
      let to = ((image * params.cout + o) * params.outH + oy) * params.outW + ox + params.offset + image * params.gap;
      var value = sums[c][k] + add;
      if (params.accumulate != 0u) { value += f32(y[to]); }
      if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
      y[to] = elem(value);
    }
  }
}
