// Depthwise convolution, stride 1 or 2, windows up to 7 × 7, where subgroups have 8 lanes or more: for CPU drivers.
//   y[n,o,oy,ox] = b[o] + Σ_ky,kx  weight[o,ky,kx] · x[n, o / outG, oy·s − p + ky·d, ox·s − p + kx·d]
// A lane walks down a strip of four columns, along the rows of a band that are equal modulo the dilation: a row of x, of which
// it loads four columns and has what lies beside them from its neighbours, meets all taps, and the rows of y above it hold what
// they have so far. With stride 2, which has no dilation, it comes upon two rows a step, of which it loads eight columns: the
// first meets every other row of the window, the second the others.
// TURN: the gradient with respect to x without stride, with padding (k − 1)·d − p.
// x and y may be channels of larger arrays: image n lies (source)offset + n·(source)gap further than in a dense one.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, outG: i32, padH: i32, dilationH: i32,
  strips: i32, rows: i32, band: i32, bands: i32, residues: i32, relu: u32, accumulate: u32,
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
override VEC: bool = false;
override ENDS: bool = false;

fn value_at(i: i32) -> f32 { return f32(x[i]); }
fn four_at(i: i32) -> vec4f { return vec4f(x4[i]); }

// include: parts/over.wgsl, parts/strided_rows.wgsl, parts/depthwise_strips.wgsl, parts/walk.wgsl, parts/store_strips.wgsl

@compute @workgroup_size(8)
fn conv2d_depthwise_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane, params.cout);
  let walk = walk_of(s);
  let w = window_of(walk.first, lane);
  let before = i32((KH - 1u) / STRIDE);
  var sums = Sums();
  for (var a = 0; a < params.band + before; a++) {
    sums = under(moved_on(sums), w, step_of(walk.plane, s, a, lane));
    let done = a - before;
    if ((done >= 0) & (done < s.rows)) {
      store(walk.to + s.ox + (s.first + done * params.dilationH) * params.outW, s.ox, whole(sums) + walk.add);
    }
  }
}

// Where rows of y hold whole vec4s.
@compute @workgroup_size(8)
fn conv2d_depthwise_lanes_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let s = strip_of(i32(group.x + group.y * count.x), lane, params.cout);
  let walk = walk_of(s);
  let w = window_of(walk.first, lane);
  let before = i32((KH - 1u) / STRIDE);
  var sums = Sums();
  for (var a = 0; a < params.band + before; a++) {
    sums = under(moved_on(sums), w, step_of(walk.plane, s, a, lane));
    let done = a - before;
    if ((done >= 0) & (done < s.rows)) {
      store_wide(walk.to + s.ox + (s.first + done * params.dilationH) * params.outW, whole(sums) + walk.add);
    }
  }
}
