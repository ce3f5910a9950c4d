// Convolution and its transpose, any shape, where subgroups have 8 lanes or more: for CPU drivers.
//   y[n,o,a] = b[o] + Σ_i,k  weight[o,i,k] · x[n,i, a·step + offset(k)]
// Convolution (TRANSPOSE = false): a = (oy, ox), step = s, offset = k·d − p.
// Transpose: the pixels iy = a·s + phase of one phase have their taps in common: those with phase + p − k·d
// divisible by s; there step = 1 and offset = (phase + p − k·d) / s. The other taps are skipped, not masked.
// One subgroup computes 16 channels (or 8, 4, 1) of 32 pixels of one phase, four pixels a lane. Each lane loads four
// values of x and two weights a tap; the weights go round by shuffles: 64 FMAs for 6 loads.
//   conv2d_lanes_wide  where a lane's four pixels of y are one vec4: without phases, in planes of whole vec4s
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
@group(0) @binding(6) var<storage, read_write> y4: array<elem4>;

override TRANSPOSE: bool = false;
override VEC: bool = false;
override CHANNELS: i32 = 16;

// include: parts/over.wgsl

fn source(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

alias Sums = array<vec4f, 16>;

// A lane's pixels, as rows and columns of their phase, and the channels that its subgroup computes.
struct Tile { a: vec4i, b: vec4i, pixel: i32, phaseY: i32, phaseX: i32, image: i32, first: i32, channels: i32 }

fn product(sums: ptr<function, Sums>, index: i32, lane: i32) -> Tile {
  let inG = over(params.cin, params.groups);
  let outG = over(params.cout, params.groups);
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  let stepH = select(params.strideH, 1, TRANSPOSE);
  let stepW = select(params.strideW, 1, TRANSPOSE);
  let gridW = over(params.outW + phasesW - 1, phasesW);
  let grid = over(params.outH + phasesH - 1, phasesH) * gridW;
  let blocks = (outG + CHANNELS - 1) / CHANNELS;
  let tiles = (grid + 31) / 32;
  let phases = phasesH * phasesW;
  // Index counts blocks of channels within tiles within phases within groups within images.
  let ofTile = over(index, blocks);
  let block = index - ofTile * blocks;
  let ofPhase = over(ofTile, tiles);
  let tile = ofTile - ofPhase * tiles;
  let ofGroup = over(ofPhase, phases);
  let phase = ofPhase - ofGroup * phases;
  let image = over(ofGroup, params.groups);
  if (image >= params.n) { return Tile(); }
  let g = ofGroup - image * params.groups;
  let phaseY = over(phase, phasesW);
  let phaseX = phase - phaseY * phasesW;

  // The lane's four pixels, and the place in x of tap offset 0.
  let pixel = tile * 32 + lane * 4 + vec4i(0, 1, 2, 3);
  let a = vec4i(over(pixel.x, gridW), over(pixel.y, gridW), over(pixel.z, gridW), over(pixel.w, gridW));
  let b = pixel - a * gridW;
  let sy = a * stepH;
  let sx = b * stepW;
  let origin = sy * params.w + sx;
  let plane = params.h * params.w;
  let first = (image * params.cin + g * inG) * plane + params.sourceOffset + image * params.sourceGap;

  let o0 = min(block * CHANNELS + lane, outG - 1);
  let o1 = min(block * CHANNELS + 8 + lane, outG - 1);
  let w0 = g * params.weightGroup + o0 * params.weightOut;
  let w1 = g * params.weightGroup + o1 * params.weightOut;

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
        (*sums)[0] += subgroupShuffle(v0, 0u) * value;
        if (CHANNELS > 1) {
          (*sums)[1] += subgroupShuffle(v0, 1u) * value;
          (*sums)[2] += subgroupShuffle(v0, 2u) * value;
          (*sums)[3] += subgroupShuffle(v0, 3u) * value;
        }
        if (CHANNELS > 4) {
          (*sums)[4] += subgroupShuffle(v0, 4u) * value;
          (*sums)[5] += subgroupShuffle(v0, 5u) * value;
          (*sums)[6] += subgroupShuffle(v0, 6u) * value;
          (*sums)[7] += subgroupShuffle(v0, 7u) * value;
        }
        if (CHANNELS > 8) {
          let v1 = weight[w1 + i * params.weightIn + tap];
          (*sums)[8] += subgroupShuffle(v1, 0u) * value;
          (*sums)[9] += subgroupShuffle(v1, 1u) * value;
          (*sums)[10] += subgroupShuffle(v1, 2u) * value;
          (*sums)[11] += subgroupShuffle(v1, 3u) * value;
          (*sums)[12] += subgroupShuffle(v1, 4u) * value;
          (*sums)[13] += subgroupShuffle(v1, 5u) * value;
          (*sums)[14] += subgroupShuffle(v1, 6u) * value;
          (*sums)[15] += subgroupShuffle(v1, 7u) * value;
        }
      }
    }
  }
  return Tile(
    a, b, pixel.x, phaseY, phaseX, image, g * outG + block * CHANNELS, min(CHANNELS, outG - block * CHANNELS));
}

fn bias_of(o: i32) -> f32 { return select(0.0, bias[select(0, o, params.hasBias != 0u)], params.hasBias != 0u); }

@compute @workgroup_size(8)
fn conv2d_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  var sums: Sums;
  let t = product(&sums, i32(group.x + group.y * count.x), i32(lane));
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  for (var c = 0; c < t.channels; c++) {
    let o = t.first + c;
    let add = bias_of(o);
    for (var k = 0; k < 4; k++) {
      let oy = t.a[k] * phasesH + t.phaseY;
      let ox = t.b[k] * phasesW + t.phaseX;
      if (oy >= params.outH || ox >= params.outW) { continue; }
      let to = ((t.image * params.cout + o) * params.outH + oy) * params.outW + ox + params.offset + t.image * params.gap;
      var value = sums[c][k] + add;
      if (params.accumulate != 0u) { value += f32(y[to]); }
      if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
      y[to] = elem(value);
    }
  }
}

// Channel c of the tile: written out by who calls it, since what a loop indexes lies in memory.
fn store_wide(sums: ptr<function, Sums>, c: i32, t: Tile) {
  if ((c >= CHANNELS) | (c >= t.channels) | (t.pixel >= params.outH * params.outW)) { return; }
  let o = t.first + c;
  let to = ((t.image * params.cout + o) * params.outH * params.outW + t.pixel + params.offset + t.image * params.gap) / 4;
  var value = (*sums)[c] + bias_of(o);
  if (params.accumulate != 0u) { value += vec4f(y4[to]); }
  if (params.relu != 0u) { value = select(value, vec4f(), value < vec4f()); }
  y4[to] = elem4(value);
}

@compute @workgroup_size(8)
fn conv2d_lanes_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  var sums: Sums;
  let t = product(&sums, i32(group.x + group.y * count.x), i32(lane));
  store_wide(&sums, 0, t);
  store_wide(&sums, 1, t);
  store_wide(&sums, 2, t);
  store_wide(&sums, 3, t);
  store_wide(&sums, 4, t);
  store_wide(&sums, 5, t);
  store_wide(&sums, 6, t);
  store_wide(&sums, 7, t);
  store_wide(&sums, 8, t);
  store_wide(&sums, 9, t);
  store_wide(&sums, 10, t);
  store_wide(&sums, 11, t);
  store_wide(&sums, 12, t);
  store_wide(&sums, 13, t);
  store_wide(&sums, 14, t);
  store_wide(&sums, 15, t);
}
