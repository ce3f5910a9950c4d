// Convolution and its transpose, any shape, where subgroups have 8 lanes or more: for CPU drivers.
//   y[n,o,a] = b[o] + Σ_i,k  weight[o,i,k] · x[n,i, a·step + offset(k)]
// Convolution (TRANSPOSE = false): a = (oy, ox), step = s, offset = k·d − p.
// Transpose: the pixels iy = a·s + phase of one phase have their taps in common: those with phase + p − k·d
// divisible by s; there step = 1 and offset = (phase + p − k·d) / s. The other taps are skipped, not masked.
// One subgroup computes 16 channels (or 8) of 32 pixels of one phase, four pixels a lane. Each lane loads four
// values of x and two weights a tap; the weights go round by shuffles: 64 FMAs for 6 loads.
// x and y may be channels of larger arrays: image n lies (source)offset + n·(source)gap further than in a dense one.
// VEC: a lane's four values of x are one vec4f (step 1, offset 0, rows a multiple of four long).
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, groups: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32,
  sourceOffset: i32, sourceGap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<uniform> params: Params;

override TRANSPOSE: bool = false;
override VEC: bool = false;
override WIDE: bool = true;

fn source(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

@compute @workgroup_size(8)
fn conv2d_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let index = i32(group.x + group.y * count.x);
  let channels = select(8, 16, WIDE);
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  let stepH = select(params.strideH, 1, TRANSPOSE);
  let stepW = select(params.strideW, 1, TRANSPOSE);
  let gridH = (params.outH + phasesH - 1) / phasesH;
  let gridW = (params.outW + phasesW - 1) / phasesW;
  let blocks = (outG + channels - 1) / channels;
  let tiles = (gridH * gridW + 31) / 32;
  let phases = phasesH * phasesW;
  if (index >= params.n * params.groups * phases * tiles * blocks) { return; }
  let block = index % blocks;
  let tile = index / blocks % tiles;
  let phase = index / (blocks * tiles) % phases;
  let g = index / (blocks * tiles * phases) % params.groups;
  let image = index / (blocks * tiles * phases * params.groups);
  let phaseY = phase / phasesW;
  let phaseX = phase % phasesW;

  // The lane's four pixels, and the place in x of tap offset 0.
  let pixel = tile * 32 + lane * 4 + vec4i(0, 1, 2, 3);
  let a = pixel / gridW;
  let b = pixel - a * gridW;
  let sy = a * stepH;
  let sx = b * stepW;
  let origin = sy * params.w + sx;
  let plane = params.h * params.w;
  let first = (image * params.cin + g * inG) * plane + params.sourceOffset + image * params.sourceGap;

  let o0 = min(block * channels + lane, outG - 1);
  let o1 = min(block * channels + 8 + lane, outG - 1);
  let w0 = g * params.weightGroup + o0 * params.weightOut;
  let w1 = g * params.weightGroup + o1 * params.weightOut;

  var sums: array<vec4f, 16>;
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
        let v0 = weight[w0 + i * params.weightIn + tap];
        sums[0] += subgroupShuffle(v0, 0u) * value;
        sums[1] += subgroupShuffle(v0, 1u) * value;
        sums[2] += subgroupShuffle(v0, 2u) * value;
        sums[3] += subgroupShuffle(v0, 3u) * value;
        sums[4] += subgroupShuffle(v0, 4u) * value;
        sums[5] += subgroupShuffle(v0, 5u) * value;
        sums[6] += subgroupShuffle(v0, 6u) * value;
        sums[7] += subgroupShuffle(v0, 7u) * value;
        if (WIDE) {
          let v1 = weight[w1 + i * params.weightIn + tap];
          sums[8] += subgroupShuffle(v1, 0u) * value;
          sums[9] += subgroupShuffle(v1, 1u) * value;
          sums[10] += subgroupShuffle(v1, 2u) * value;
          sums[11] += subgroupShuffle(v1, 3u) * value;
          sums[12] += subgroupShuffle(v1, 4u) * value;
          sums[13] += subgroupShuffle(v1, 5u) * value;
          sums[14] += subgroupShuffle(v1, 6u) * value;
          sums[15] += subgroupShuffle(v1, 7u) * value;
        }
      }
    }
  }

  for (var c = 0; c < min(channels, outG - block * channels); c++) {
    let o = g * outG + block * channels + c;
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
