// Gradient of a 3×3 convolution, stride 1, dilation 1, with respect to its weight, where subgroups have 8 lanes
// or more: for CPU drivers.
//   dw[co,ci,ky,kx] = Σ_n,oy,ox  dy[n,co,oy,ox] · x[n,ci, oy − p + ky, ox − p + kx]
// One subgroup holds the 9 taps of 4 output and 8 input channels, a lane an input channel: 36 sums a lane. It
// runs down a column of y four wide, two rows a step: each lane loads its own two new rows of x (six wide) and
// keeps the two before; of the 4 × 2 runs of four dy each lane loads one and all get it by a shuffle.
// The columns (of an image, four wide) are dealt out over `splits` sums, which conv2d_reduce adds up; a single one
// (splits = 1) is written, or with accumulate added, to its place.
//   …_sums  also Σ dy of each output channel, the gradient of a bias: a run of dy is loaded by one lane
// VEC as in conv2d_3x3_lanes.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, padH: i32, padW: i32,
  splits: i32, columnsPerSplit: i32, accumulate: u32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> dy: array<elem>;
@group(0) @binding(3) var<storage, read> dy4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

override VEC: bool = false;
// Whether the entry point writes them.
override SUMS: bool = false;
// Of what a lane loaded.
var<private> loaded: vec4f;

struct Row { left: f32, middle: vec4f, right: f32 }

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

// The six values from (row, ix) on, where `start` is the index of that first one; zero outside the image.
fn load(start: i32, ix: i32, inRow: bool) -> Row {
  var row: Row;
  row.left = at(start, inRow && ix >= 0 && ix < params.w);
  if (VEC) {
    row.middle = select(vec4f(), vec4f(x4[select(0, (start + 1) / 4, inRow)]), inRow);
  } else {
    row.middle = vec4f(
      at(start + 1, inRow && ix + 1 >= 0 && ix + 1 < params.w), at(start + 2, inRow && ix + 2 < params.w),
      at(start + 3, inRow && ix + 3 < params.w), at(start + 4, inRow && ix + 4 < params.w));
  }
  row.right = at(start + 5, inRow && ix + 5 < params.w);
  return row;
}

fn dy_at(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

fn load_dy(start: i32, ox: i32, inside: bool) -> vec4f {
  if (VEC) { return select(vec4f(), vec4f(dy4[select(0, start / 4, inside)]), inside); }
  return vec4f(
    dy_at(start, inside), dy_at(start + 1, inside && ox + 1 < params.outW),
    dy_at(start + 2, inside && ox + 2 < params.outW), dy_at(start + 3, inside && ox + 3 < params.outW));
}

// The nine sums of an output channel, a row of the window each.
struct Taps { a: vec3f, b: vec3f, c: vec3f }

fn add(sum: vec3f, d: vec4f, r: Row) -> vec3f {
  return sum
    + d.x * vec3f(r.left, r.middle.xy) + d.y * r.middle.xyz
    + d.z * r.middle.yzw + d.w * vec3f(r.middle.zw, r.right);
}

fn add_rows(t: Taps, d: vec4f, r0: Row, r1: Row, r2: Row) -> Taps {
  return Taps(add(t.a, d, r0), add(t.b, d, r1), add(t.c, d, r2));
}

fn store_row(at: i32, t: vec3f) {
  var value = t;
  if (params.accumulate != 0u) { value += vec3f(partial[at], partial[at + 1], partial[at + 2]); }
  partial[at] = value.x;
  partial[at + 1] = value.y;
  partial[at + 2] = value.z;
}

fn store(at: i32, t: Taps) {
  store_row(at, t.a);
  store_row(at + 3, t.b);
  store_row(at + 6, t.c);
}

fn weight_grad(index: i32, lane: i32) {
  let ciBlocks = (params.cin + 7) / 8;
  let coBlocks = (params.cout + 3) / 4;
  if (index >= ciBlocks * coBlocks * params.splits) { return; }
  let ci = (index % ciBlocks) * 8 + lane;
  let co = (index / ciBlocks) % coBlocks * 4;
  let split = index / (ciBlocks * coBlocks);
  let strips = (params.outW + 3) / 4;
  let plane = params.h * params.w;
  let outPlane = params.outH * params.outW;
  let cx = min(ci, params.cin - 1);
  // The run of dy that this lane loads: output channel co + lane / 2, row lane % 2.
  let dyChannel = co + (lane >> 1);
  let dyRow = lane & 1;

  var t0: Taps;
  var t1: Taps;
  var t2: Taps;
  var t3: Taps;
  let last = min(params.n * strips, (split + 1) * params.columnsPerSplit);
  for (var column = split * params.columnsPerSplit; column < last; column++) {
    let image = column / strips;
    let ox = (column % strips) * 4;
    let ix = ox - params.padW;
    var start = (image * params.cin + cx) * plane - params.padH * params.w + ix;
    var dyStart = (image * params.cout + dyChannel) * outPlane + dyRow * params.outW + ox;
    var r0 = load(start, ix, params.padH == 0);
    var r1 = load(start + params.w, ix, 1 - params.padH >= 0 && 1 - params.padH < params.h);
    for (var oy = 0; oy < params.outH; oy += 2) {
      let iy = oy - params.padH;
      let r2 = load(start + 2 * params.w, ix, iy + 2 >= 0 && iy + 2 < params.h);
      let r3 = load(start + 3 * params.w, ix, iy + 3 < params.h);
      let d = load_dy(dyStart, ox, dyChannel < params.cout && oy + dyRow < params.outH);
      if (SUMS) { loaded += d; }
      t0 = add_rows(t0, subgroupShuffle(d, 0u), r0, r1, r2);
      t0 = add_rows(t0, subgroupShuffle(d, 1u), r1, r2, r3);
      t1 = add_rows(t1, subgroupShuffle(d, 2u), r0, r1, r2);
      t1 = add_rows(t1, subgroupShuffle(d, 3u), r1, r2, r3);
      t2 = add_rows(t2, subgroupShuffle(d, 4u), r0, r1, r2);
      t2 = add_rows(t2, subgroupShuffle(d, 5u), r1, r2, r3);
      t3 = add_rows(t3, subgroupShuffle(d, 6u), r0, r1, r2);
      t3 = add_rows(t3, subgroupShuffle(d, 7u), r1, r2, r3);
      r0 = r2;
      r1 = r3;
      start += 2 * params.w;
      dyStart += 2 * params.outW;
    }
  }

  if (ci >= params.cin) { return; }
  let to = ((split * params.cout + co) * params.cin + ci) * 9;
  store(to, t0);
  if (co + 1 < params.cout) { store(to + 9 * params.cin, t1); }
  if (co + 2 < params.cout) { store(to + 18 * params.cin, t2); }
  if (co + 3 < params.cout) { store(to + 27 * params.cin, t3); }
}

@compute @workgroup_size(8)
fn conv2d_3x3_weight_grad_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  weight_grad(i32(group.x + group.y * count.x), i32(invocation));
}

@compute @workgroup_size(8)
fn conv2d_3x3_weight_grad_lanes_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let index = i32(group.x + group.y * count.x);
  weight_grad(index, lane);
  // Two lanes have loaded the rows of a channel, even ones and odd ones.
  let half = dot(loaded, vec4f(1.0));
  let sum = half + subgroupShuffleXor(half, 1u);
  let ciBlocks = (params.cin + 7) / 8;
  let coBlocks = (params.cout + 3) / 4;
  let split = index / (ciBlocks * coBlocks);
  let co = (index / ciBlocks) % coBlocks * 4 + (lane >> 1);
  if ((index % ciBlocks != 0) | ((lane & 1) != 0) | (split >= params.splits) | (co >= params.cout)) { return; }
  let to = split * params.cout + co;
  dbias[to] = sum + select(0.0, dbias[to], params.accumulate != 0u);
}
