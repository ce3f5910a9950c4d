// Convolution in groups, stride 1 or 2, windows up to 7 × 7, where subgroups have 8 lanes or more: for CPU drivers.
//   y[n,o,oy,ox] = b[o] + Σ_i,ky,kx  weight[o,i,ky,kx] · x[n, g·inG + i, oy·s − p + ky, ox·s − p + kx]
// A lane walks down a strip of four columns as in conv2d_depthwise_lanes, at each step through the channels of x: up to four
// channels of y share what it loads of them.
// Weights of (o, i) start at g·weightGroup + o·weightOut + i·weightIn. TURN: the gradient with respect to x without stride, with
// padding k − 1 − p and the channels' parts exchanged.
// x and y may be channels of larger arrays: image n lies (source)offset + n·(source)gap further than in a dense one.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, inG: i32, outG: i32, padH: i32, dilationH: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  strips: i32, rows: i32, band: i32, bands: i32, residues: i32, blocks: i32, relu: u32, accumulate: u32,
  offset: i32, gap: i32, sourceOffset: i32, sourceGap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<storage, read_write> y4: array<elem4>; // y, in the entry that writes whole vec4s
@group(0) @binding(6) var<uniform> params: Params;

override KH: u32 = 7;
override CHANNELS: u32 = 4;
override VEC: bool = false;
override ENDS: bool = false;

fn value_at(i: i32) -> f32 { return f32(x[i]); }
fn four_at(i: i32) -> vec4f { return vec4f(x4[i]); }

// include: parts/over.wgsl, parts/rolled.wgsl, parts/strided_rows.wgsl, parts/depthwise_strips.wgsl, parts/walk.wgsl, parts/store_strips.wgsl

alias Blocks = array<Sums, 4>;

// What a lane's block of channels is: how many, the first one, where it begins in x, in y and in the weight.
struct Block { channels: i32, o: i32, plane: i32, to: i32, first: i32 }

fn block_of(s: Strip) -> Block {
  let g = over(s.o, params.blocks);
  let c = (s.o - g * params.blocks) * i32(CHANNELS);
  let o = g * params.outG + c;
  return Block(
    min(i32(CHANNELS), params.outG - c), o,
    (s.image * params.cin + g * params.inG) * params.h * params.w + params.sourceOffset + s.image * params.sourceGap,
    (s.image * params.cout + o) * params.outH * params.outW + params.offset + s.image * params.gap,
    g * params.weightGroup + c * params.weightOut);
}

// Channels that take a step one after the other; two are faster unrolled.
fn turns() -> i32 { return select(i32(CHANNELS), rolled(i32(CHANNELS)), CHANNELS > 2u); }

// Channel c of a block, which stands first, takes a step; the others move up and it goes last. Channels beyond the last repeat
// it; they are computed and not stored.
fn step_down(sums: ptr<function, Blocks>, c: i32, b: Block, i: i32, v: Step, lane: i32) {
  let first = b.first + min(c, b.channels - 1) * params.weightOut + i * params.weightIn;
  let stepped = under((*sums)[0], window_of(first, lane), v);
  if (CHANNELS > 1u) { (*sums)[0] = (*sums)[1]; }
  if (CHANNELS > 2u) { (*sums)[1] = (*sums)[2]; }
  if (CHANNELS > 3u) { (*sums)[2] = (*sums)[3]; }
  (*sums)[CHANNELS - 1u] = stepped;
}

fn step_on(sums: ptr<function, Blocks>, s: Strip, b: Block, a: i32, lane: i32) {
  (*sums)[0] = moved_on((*sums)[0]);
  (*sums)[1] = moved_on((*sums)[1]);
  (*sums)[2] = moved_on((*sums)[2]);
  (*sums)[3] = moved_on((*sums)[3]);
  for (var i = 0; i < params.inG; i++) {
    let v = step_of(b.plane + i * params.h * params.w, s, a, lane);
    for (var c = 0; c < turns(); c++) { step_down(sums, c, b, i, v, lane); }
  }
}

fn result(sums: ptr<function, Blocks>, c: u32, b: Block) -> vec4f {
  var add = 0.0;
  if (BIAS) { add = bias[b.o + i32(c)]; }
  return whole((*sums)[c]) + add;
}

fn store_channel(sums: ptr<function, Blocks>, c: u32, b: Block, row: i32, ox: i32) {
  if (i32(c) >= b.channels) { return; }
  store(b.to + (i32(c) * params.outH + row) * params.outW + ox, ox, result(sums, c, b));
}

fn store_channel_wide(sums: ptr<function, Blocks>, c: u32, b: Block, row: i32, ox: i32) {
  if (i32(c) >= b.channels) { return; }
  store_wide(b.to + (i32(c) * params.outH + row) * params.outW + ox, result(sums, c, b));
}

@compute @workgroup_size(8)
fn conv2d_groups_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane, over(params.cout, params.outG) * params.blocks);
  let b = block_of(s);
  let before = i32((KH - 1u) / STRIDE);
  var sums = Blocks();
  for (var a = 0; a < params.band + before; a++) {
    step_on(&sums, s, b, a, lane);
    let done = a - before;
    if ((done >= 0) & (done < s.rows)) {
      store_channel(&sums, 0u, b, s.first + done, s.ox);
      store_channel(&sums, 1u, b, s.first + done, s.ox);
      store_channel(&sums, 2u, b, s.first + done, s.ox);
      store_channel(&sums, 3u, b, s.first + done, s.ox);
    }
  }
}

// Where rows of y hold whole vec4s.
@compute @workgroup_size(8)
fn conv2d_groups_lanes_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane, over(params.cout, params.outG) * params.blocks);
  let b = block_of(s);
  let before = i32((KH - 1u) / STRIDE);
  var sums = Blocks();
  for (var a = 0; a < params.band + before; a++) {
    step_on(&sums, s, b, a, lane);
    let done = a - before;
    if ((done >= 0) & (done < s.rows)) {
      store_channel_wide(&sums, 0u, b, s.first + done, s.ox);
      store_channel_wide(&sums, 1u, b, s.first + done, s.ox);
      store_channel_wide(&sums, 2u, b, s.first + done, s.ox);
      store_channel_wide(&sums, 3u, b, s.first + done, s.ox);
    }
  }
}
