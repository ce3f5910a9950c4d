// Gradient of a 3×3 convolution, stride 1, dilation 1, with respect to its weight, where subgroups have 8 lanes
// or more: for CPU drivers.
//   dw[co,ci,ky,kx] = Σ_n,oy,ox  dy[n,co,oy,ox] · x[n,ci, oy − p + ky, ox − p + kx]
// Along a row by Winograd's F(3, 4), points 0, ±NEAR, ±FAR, ∞: six multiplications for four columns instead of twelve.
// One subgroup holds the sums of BLOCK (4 or 8) output and 8 input channels, a lane an input channel: three rows of the
// window at six points for each output channel. It runs down a column of y four wide and at most BAND rows high, two
// rows a step: each lane loads its own two new rows of x (six wide), transforms them and keeps the two before; of the
// 4 × 2 runs of four dy, two times with BLOCK 8, each lane loads and transforms one and all get it by shuffles. The sums
// are transformed back at the end.
// A column is a quarter of a cache line wide. Its lines are to be there still when the next one to the right is run
// down, so an image is cut into bands of BAND rows, which is even.
// The columns are dealt out over `splits` sums, which conv2d_reduce adds up; a single one (splits = 1) is written, or
// with accumulate added, to its place.
//   …_sums  also Σ dy of each output channel, the gradient of a bias: a run of dy is loaded by one lane
// VEC and NARROW as in parts/conv2d_3x3_lanes.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, padH: i32, padW: i32,
  splits: i32, columnsPerSplit: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> dy: array<elem>;
@group(0) @binding(3) var<storage, read> dy4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

override VEC: bool = false;
override NARROW: bool = false;
override BLOCK: i32 = 8;
override BAND: i32 = 32;
override ACCUMULATE: bool = false;
// Whether the entry point writes them.
override SUMS: bool = false;
// Of what a lane loaded, of the first four output channels and of the next four.
var<private> loaded: array<vec4f, 2>;

// include: parts/winograd_rows.wgsl, parts/over.wgsl

fn dy_at(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

fn load_dy(start: i32, ox: i32, inside: bool) -> vec4f {
  if (VEC) { return select(vec4f(), vec4f(dy4[select(0, start / 4, inside)]), inside); }
  return vec4f(
    dy_at(start, inside), dy_at(start + 1, inside && ox + 1 < params.outW),
    dy_at(start + 2, inside && ox + 2 < params.outW), dy_at(start + 3, inside && ox + 3 < params.outW));
}

// The transform of a run of dy but for the factors −2/3 and 1/6, which the sums take at the end.
fn along(d: vec4f) -> Six {
  let even1 = d.x + 0.5 * d.z;
  let odd1 = NEAR * (d.y + 0.5 * d.w);
  let even2 = d.x + 2.0 * d.z;
  let odd2 = FAR * (d.y + 2.0 * d.w);
  return Six(d.x, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, d.w);
}

// One place of four output channels: three sums each, a row of the window each.
fn add_place(sums: ptr<function, array<vec3f, 48>>, i: u32, d: f32, s0: f32, s1: f32, s2: f32, s3: f32) {
  let a = vec3f(s0, s1, s2);
  let b = vec3f(s1, s2, s3);
  (*sums)[i] += subgroupShuffle(d, 0u) * a + subgroupShuffle(d, 1u) * b;
  (*sums)[i + 1] += subgroupShuffle(d, 2u) * a + subgroupShuffle(d, 3u) * b;
  (*sums)[i + 2] += subgroupShuffle(d, 4u) * a + subgroupShuffle(d, 5u) * b;
  (*sums)[i + 3] += subgroupShuffle(d, 6u) * a + subgroupShuffle(d, 7u) * b;
}

fn add_channels(sums: ptr<function, array<vec3f, 48>>, i: u32, d: Six, s0: Six, s1: Six, s2: Six, s3: Six) {
  add_place(sums, i, d.a, s0.a, s1.a, s2.a, s3.a);
  add_place(sums, i + 4, d.b, s0.b, s1.b, s2.b, s3.b);
  add_place(sums, i + 8, d.c, s0.c, s1.c, s2.c, s3.c);
  add_place(sums, i + 12, d.d, s0.d, s1.d, s2.d, s3.d);
  add_place(sums, i + 16, d.e, s0.e, s1.e, s2.e, s3.e);
  add_place(sums, i + 20, d.f, s0.f, s1.f, s2.f, s3.f);
}

fn store_row(at: i32, t: vec3f) {
  var value = t;
  if (ACCUMULATE) { value += vec3f(partial[at], partial[at + 1], partial[at + 2]); }
  partial[at] = value.x;
  partial[at + 1] = value.y;
  partial[at + 2] = value.z;
}

// The sums at one place of output channel `bits.x + 2·bits.y + 4·bits.z`.
fn pick(sums: ptr<function, array<vec3f, 48>>, place: u32, bits: vec3<bool>) -> vec3f {
  let i = 4u * place;
  let odd = vec3<bool>(bits.x);
  let second = vec3<bool>(bits.y);
  let low = select(select((*sums)[i], (*sums)[i + 1], odd), select((*sums)[i + 2], (*sums)[i + 3], odd), second);
  if (BLOCK == 4) { return low; }
  let j = i + 24u;
  let high = select(select((*sums)[j], (*sums)[j + 1], odd), select((*sums)[j + 2], (*sums)[j + 3], odd), second);
  return select(low, high, vec3<bool>(bits.z));
}

// The sums of output channel k, transformed back.
fn store(sums: ptr<function, array<vec3f, 48>>, k: i32, at: i32) {
  let bits = vec3<bool>((k & 1) != 0, (k & 2) != 0, (k & 4) != 0);
  let near1 = pick(sums, 1u, bits);
  let near2 = pick(sums, 2u, bits);
  let far1 = pick(sums, 3u, bits);
  let far2 = pick(sums, 4u, bits);
  let p = (near1 + near2) / -1.5;
  let q = (near1 - near2) * (NEAR / -1.5);
  let r = (far1 + far2) / 6.0;
  let s = (far1 - far2) * (FAR / 6.0);
  let w0 = pick(sums, 0u, bits) + p + r;
  let w1 = q + s;
  let w2 = 0.5 * p + 2.0 * r + pick(sums, 5u, bits);
  store_row(at, vec3f(w0.x, w1.x, w2.x));
  store_row(at + 3, vec3f(w0.y, w1.y, w2.y));
  store_row(at + 6, vec3f(w0.z, w1.z, w2.z));
}

fn weight_grad(index: i32, lane: i32) {
  let ciBlocks = (params.cin + 7) / 8;
  let coBlocks = (params.cout + BLOCK - 1) / BLOCK;
  if (index >= ciBlocks * coBlocks * params.splits) { return; }
  let block = over(index, ciBlocks);
  let split = over(block, coBlocks);
  let ci = (index - block * ciBlocks) * 8 + lane;
  let co = (block - split * coBlocks) * BLOCK;
  let strips = (params.outW + 3) / 4;
  let plane = params.h * params.w;
  let outPlane = params.outH * params.outW;
  let cx = min(ci, params.cin - 1);
  // The run of dy that this lane loads: output channel co + lane / 2, row lane % 2.
  let dyChannel = co + (lane >> 1);
  let dyRow = lane & 1;

  var sums: array<vec3f, 48>;
  let bands = (params.outH + BAND - 1) / BAND;
  let last = min(params.n * bands * strips, (split + 1) * params.columnsPerSplit);
  for (var column = split * params.columnsPerSplit; column < last; column++) {
    let band = over(column, strips);
    let image = over(band, bands);
    let ox = (column - band * strips) * 4;
    let top = (band - image * bands) * BAND;
    let bottom = min(params.outH, top + BAND);
    let ix = ox - params.padW;
    let above = top - params.padH;
    var start = (image * params.cin + cx) * plane + above * params.w + ix;
    var dyStart = (image * params.cout + dyChannel) * outPlane + (top + dyRow) * params.outW + ox;
    // The first and the last row of a window are passed by where they lie outside: of an image of four rows two of six.
    var s0 = Six();
    if (above >= 0) { s0 = forth(load(start, ix, true)); }
    var s1 = forth(load(start + params.w, ix, above + 1 >= 0 && above + 1 < params.h));
    for (var oy = top; oy < bottom; oy += 2) {
      let iy = oy - params.padH;
      let s2 = forth(load(start + 2 * params.w, ix, iy + 2 >= 0 && iy + 2 < params.h));
      var s3 = Six();
      if (iy + 3 < params.h) { s3 = forth(load(start + 3 * params.w, ix, true)); }
      let inY = oy + dyRow < params.outH;
      let d = load_dy(dyStart, ox, inY && dyChannel < params.cout);
      if (SUMS) { loaded[0] += d; }
      add_channels(&sums, 0u, along(d), s0, s1, s2, s3);
      if (BLOCK == 8) {
        let e = load_dy(dyStart + 4 * outPlane, ox, inY && dyChannel + 4 < params.cout);
        if (SUMS) { loaded[1] += e; }
        add_channels(&sums, 24u, along(e), s0, s1, s2, s3);
      }
      s0 = s2;
      s1 = s3;
      start += 2 * params.w;
      dyStart += 2 * params.outW;
    }
  }

  if (ci >= params.cin) { return; }
  let to = ((split * params.cout + co) * params.cin + ci) * 9;
  let next = 9 * params.cin;
  // A loop that picks its sums: written out, the stores were most of the kernel's code, and small images lost as much
  // to fetching it as to the stores.
  for (var k = 0; k < min(BLOCK, params.cout - co); k++) { store(&sums, k, to + k * next); }
}

fn store_sum(split: i32, co: i32, sum: f32) {
  if (co >= params.cout) { return; }
  let to = split * params.cout + co;
  dbias[to] = sum + select(0.0, dbias[to], ACCUMULATE);
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
  let half = dot(loaded[0], vec4f(1.0));
  let sum = half + subgroupShuffleXor(half, 1u);
  let halfNext = dot(loaded[1], vec4f(1.0));
  let sumNext = halfNext + subgroupShuffleXor(halfNext, 1u);
  let ciBlocks = (params.cin + 7) / 8;
  let coBlocks = (params.cout + BLOCK - 1) / BLOCK;
  let split = index / (ciBlocks * coBlocks);
  let co = (index / ciBlocks) % coBlocks * BLOCK + (lane >> 1);
  if ((index % ciBlocks != 0) | ((lane & 1) != 0) | (split >= params.splits)) { return; }
  store_sum(split, co, sum);
  if (BLOCK == 8) { store_sum(split, co + 4, sumNext); }
}
