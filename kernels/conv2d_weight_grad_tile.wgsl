// Gradient of a convolution with respect to its weight, any shape, by register tiles alone: for CPU drivers
// without subgroups of 8.  As a matrix product, with k = (ci, ky, kx) flat as in the weight:
//   dw[co,k] = Σ_n,oy,ox  dy[n,co,oy,ox] · x[n,ci, oy·s − p + ky·d, ox·s − p + kx·d]
// One invocation holds 8 output channels × 4 k, 32 sums: for four pixels of a row 16 + 8 loads for 128 FMAs.
// The N·outH rows are dealt out over `splits` sums, which conv2d_reduce adds up; a single one (splits = 1) is
// written, or with accumulate added, to its place.
alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  splits: i32, rowsPerSplit: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> x4: array<elem4>;
@group(0) @binding(5) var<storage, read> dy4: array<elem4>;

// XVEC, DYVEC: four values of x, of dy are one vec4f.
override XVEC: bool = false;
override DYVEC: bool = false;
override WG: u32 = 64;
override ACCUMULATE: bool = false;

fn source(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }
fn upstream(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

// Four values of x for one k: columns ix, ix + s, … of the row that starts at `row`.
fn load(row: i32, inRow: bool, ix: vec4i) -> vec4f {
  if (XVEC) { return select(vec4f(), vec4f(x4[select(0, (row + ix.x) / 4, inRow)]), inRow); }
  let inside = vec4<bool>(inRow) & (ix >= vec4i()) & (ix < vec4i(params.w));
  return vec4f(
    source(row + ix.x, inside.x), source(row + ix.y, inside.y), source(row + ix.z, inside.z), source(row + ix.w, inside.w));
}

fn load_dy(row: i32, ox: i32) -> vec4f {
  if (DYVEC) { return vec4f(dy4[(row + ox) / 4]); }
  return vec4f(
    f32(dy[row + ox]), upstream(row + ox + 1, ox + 1 < params.outW),
    upstream(row + ox + 2, ox + 2 < params.outW), upstream(row + ox + 3, ox + 3 < params.outW));
}

fn add(sum: vec4f, d: vec4f, v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) -> vec4f {
  return vec4f(sum.x + dot(d, v0), sum.y + dot(d, v1), sum.z + dot(d, v2), sum.w + dot(d, v3));
}

@compute @workgroup_size(WG)
fn conv2d_weight_grad_tile(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let window = params.kh * params.kw;
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let depth = inG * window;
  let kBlocks = (depth + 3) / 4;
  let coBlocks = (outG + 7) / 8;
  if (index >= params.splits * params.groups * kBlocks * coBlocks) { return; }
  let kBlock = index % kBlocks;
  let coBlock = index / kBlocks % coBlocks;
  let g = index / (kBlocks * coBlocks) % params.groups;
  let split = index / (kBlocks * coBlocks * params.groups);

  // Its four k, and their places in x relative to an output pixel's.
  let k = kBlock * 4 + vec4i(0, 1, 2, 3);
  let kept = min(k, vec4i(depth - 1));
  let tap = kept % window;
  let shiftY = tap / params.kw * params.dilationH - params.padH;
  let shiftX = tap % params.kw * params.dilationW - params.padW;
  let plane = params.h * params.w;
  let channel = (g * inG + kept / window) * plane;
  let first = g * outG + coBlock * 8;
  let outPlane = params.outH * params.outW;
  let beyond = (outG - 1 - coBlock * 8) * outPlane;

  var s0: vec4f;
  var s1: vec4f;
  var s2: vec4f;
  var s3: vec4f;
  var s4: vec4f;
  var s5: vec4f;
  var s6: vec4f;
  var s7: vec4f;
  let last = min(params.n * params.outH, (split + 1) * params.rowsPerSplit);
  for (var r = split * params.rowsPerSplit; r < last; r++) {
    let image = r / params.outH;
    let oy = r % params.outH;
    let iy = oy * params.strideH + shiftY;
    let inRow = (iy >= vec4i()) & (iy < vec4i(params.h));
    let row = image * params.cin * plane + channel + iy * params.w;
    let grad = (image * params.cout + first) * outPlane + oy * params.outW;
    for (var ox = 0; ox < params.outW; ox += 4) {
      let ix = (ox + vec4i(0, 1, 2, 3)) * params.strideW;
      let v0 = load(row.x, inRow.x, ix + shiftX.x);
      let v1 = load(row.y, inRow.y, ix + shiftX.y);
      let v2 = load(row.z, inRow.z, ix + shiftX.z);
      let v3 = load(row.w, inRow.w, ix + shiftX.w);
      s0 = add(s0, load_dy(grad + min(0 * outPlane, beyond), ox), v0, v1, v2, v3);
      s1 = add(s1, load_dy(grad + min(1 * outPlane, beyond), ox), v0, v1, v2, v3);
      s2 = add(s2, load_dy(grad + min(2 * outPlane, beyond), ox), v0, v1, v2, v3);
      s3 = add(s3, load_dy(grad + min(3 * outPlane, beyond), ox), v0, v1, v2, v3);
      s4 = add(s4, load_dy(grad + min(4 * outPlane, beyond), ox), v0, v1, v2, v3);
      s5 = add(s5, load_dy(grad + min(5 * outPlane, beyond), ox), v0, v1, v2, v3);
      s6 = add(s6, load_dy(grad + min(6 * outPlane, beyond), ox), v0, v1, v2, v3);
      s7 = add(s7, load_dy(grad + min(7 * outPlane, beyond), ox), v0, v1, v2, v3);
    }
  }

  let sums = array<vec4f, 8>(s0, s1, s2, s3, s4, s5, s6, s7);
  for (var c = 0; c < min(8, outG - coBlock * 8); c++) {
    let to = (split * params.cout + g * outG + coBlock * 8 + c) * depth;
    for (var j = 0; j < 4; j++) {
      if (k[j] >= depth) { continue; }
      var value = sums[c][j];
      if (ACCUMULATE) { value += partial[to + k[j]]; }
      partial[to + k[j]] = value;
    }
  }
}
