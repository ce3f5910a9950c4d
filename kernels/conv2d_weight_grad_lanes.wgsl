// Gradient of a convolution with respect to its weight, any shape, where subgroups have 8 lanes or more: for CPU
// drivers.  As a matrix product, with k = (ci, ky, kx) flat as in the weight:
//   dw[co,k] = Σ_n,oy,ox  dy[n,co,oy,ox] · x[n,ci, oy·s − p + ky·d, ox·s − p + kx·d]
// One subgroup holds 8 output channels × 32 k, four k a lane: 32 sums. For four pixels of a row each lane loads
// 4 × 4 values of x and four dy of its own output channel, which go round by shuffles: 128 FMAs.
// The N·outH rows are dealt out over `splits` sums, which conv2d_reduce adds up; a single one (splits = 1) is
// written, or with accumulate added, to its place. x may be channels of a larger array (sourceOffset, sourceGap).
//   …_sums  also Σ dy of each output channel, the gradient of a bias
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  splits: i32, rowsPerSplit: i32, sourceOffset: i32, sourceGap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> x4: array<elem4>;
@group(0) @binding(5) var<storage, read> dy4: array<elem4>;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

// XVEC, DYVEC: a lane's four values of x, of dy are one vec4f.
override XVEC: bool = false;
override DYVEC: bool = false;
override ACCUMULATE: bool = false;
// Whether the entry point writes sums of dy.
override SUMS: bool = false;
// Of what a lane loaded.
var<private> loaded: vec4f;

fn source(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }
fn upstream(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

// Four values of x for one k: columns ix, ix + s, … of the row that starts at `row`.
fn load(row: i32, inRow: bool, ix: vec4i) -> vec4f {
  if (XVEC) { return select(vec4f(), vec4f(x4[select(0, (row + ix.x) / 4, inRow)]), inRow); }
  let inside = vec4<bool>(inRow) & (ix >= vec4i()) & (ix < vec4i(params.w));
  return vec4f(
    source(row + ix.x, inside.x), source(row + ix.y, inside.y), source(row + ix.z, inside.z), source(row + ix.w, inside.w));
}

fn add(sum: vec4f, d: vec4f, v0: vec4f, v1: vec4f, v2: vec4f, v3: vec4f) -> vec4f {
  return vec4f(sum.x + dot(d, v0), sum.y + dot(d, v1), sum.z + dot(d, v2), sum.w + dot(d, v3));
}

fn weight_grad(index: i32, lane: i32) {
  let window = params.kh * params.kw;
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let depth = inG * window;
  let kBlocks = (depth + 31) / 32;
  let coBlocks = (outG + 7) / 8;
  if (index >= params.splits * params.groups * kBlocks * coBlocks) { return; }
  let kBlock = index % kBlocks;
  let coBlock = index / kBlocks % coBlocks;
  let g = index / (kBlocks * coBlocks) % params.groups;
  let split = index / (kBlocks * coBlocks * params.groups);

  // The lane's four k, and their places in x relative to an output pixel's.
  let k = kBlock * 32 + lane + vec4i(0, 8, 16, 24);
  let kept = min(k, vec4i(depth - 1));
  let tap = kept % window;
  let shiftY = tap / params.kw * params.dilationH - params.padH;
  let shiftX = tap % params.kw * params.dilationW - params.padW;
  let plane = params.h * params.w;
  let channel = (g * inG + kept / window) * plane + params.sourceOffset;
  let co = min(coBlock * 8 + lane, outG - 1) + g * outG;

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
    let row = image * (params.cin * plane + params.sourceGap) + channel + iy * params.w;
    let grad = ((image * params.cout + co) * params.outH + oy) * params.outW;
    for (var ox = 0; ox < params.outW; ox += 4) {
      var d = vec4f();
      if (DYVEC) {
        d = vec4f(dy4[(grad + ox) / 4]);
      } else {
        d = vec4f(
          f32(dy[grad + ox]), upstream(grad + ox + 1, ox + 1 < params.outW),
          upstream(grad + ox + 2, ox + 2 < params.outW), upstream(grad + ox + 3, ox + 3 < params.outW));
      }
      if (SUMS) { loaded += d; }
      let ix = (ox + vec4i(0, 1, 2, 3)) * params.strideW;
      let v0 = load(row.x, inRow.x, ix + shiftX.x);
      let v1 = load(row.y, inRow.y, ix + shiftX.y);
      let v2 = load(row.z, inRow.z, ix + shiftX.z);
      let v3 = load(row.w, inRow.w, ix + shiftX.w);
      s0 = add(s0, subgroupShuffle(d, 0u), v0, v1, v2, v3);
      s1 = add(s1, subgroupShuffle(d, 1u), v0, v1, v2, v3);
      s2 = add(s2, subgroupShuffle(d, 2u), v0, v1, v2, v3);
      s3 = add(s3, subgroupShuffle(d, 3u), v0, v1, v2, v3);
      s4 = add(s4, subgroupShuffle(d, 4u), v0, v1, v2, v3);
      s5 = add(s5, subgroupShuffle(d, 5u), v0, v1, v2, v3);
      s6 = add(s6, subgroupShuffle(d, 6u), v0, v1, v2, v3);
      s7 = add(s7, subgroupShuffle(d, 7u), v0, v1, v2, v3);
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

@compute @workgroup_size(8)
fn conv2d_weight_grad_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  weight_grad(i32(group.x + group.y * count.x), i32(invocation));
}

@compute @workgroup_size(8)
fn conv2d_weight_grad_lanes_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let index = i32(group.x + group.y * count.x);
  weight_grad(index, lane);
  let outG = params.cout / params.groups;
  let kBlocks = (params.cin / params.groups * params.kh * params.kw + 31) / 32;
  let coBlocks = (outG + 7) / 8;
  let split = index / (kBlocks * coBlocks * params.groups);
  let co = index / kBlocks % coBlocks * 8 + lane;
  if ((index % kBlocks != 0) | (split >= params.splits) | (co >= outG)) { return; }
  let to = split * params.cout + index / (kBlocks * coBlocks) % params.groups * outG + co;
  dbias[to] = dot(loaded, vec4f(1.0)) + select(0.0, dbias[to], ACCUMULATE);
}
