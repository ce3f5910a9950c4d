// Dynamic loss scaling without a read-back (Micikevicius et al., 2018; PyTorch's GradScaler): whether gradients
// are finite, whether the optimiser steps, and how the scale moves are all decided here.

struct Params {
  count: u32,     // find, unscale: elements of the block
  slot: u32,      // find: where this block's flags begin;  decide: number of flags
  unscaled: u32,  // decide: the gradients were divided by the scale before
  fresh1: f32,    // decide: 1 - beta of Adam's moments
  fresh2: f32,
  growth: f32, backoff: f32, interval: f32,  // update
}

// 0 scale, 1 steps since it last moved, 2 whether an optimiser met gradients that are not finite
@group(0) @binding(0) var<storage, read_write> scaler: array<f32>;
// Of one optimiser: 0 factor of the gradients, 1 whether to skip, 2 and 3 Adam's 1 - beta^t, 4 steps taken
@group(0) @binding(1) var<storage, read_write> progress: array<f32>;
@group(0) @binding(2) var<storage, read_write> flags: array<u32>;
@group(0) @binding(3) var<storage, read> grad4: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> grad: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

// Invocations that search a block, a flag each.
const SEARCHERS = 4096u;

// By bits: WGSL may assume that there is neither infinity nor NaN.
fn not_finite(v: vec4f) -> vec4<bool> { return (bitcast<vec4u>(v) & vec4u(0x7f800000u)) == vec4u(0x7f800000u); }

@compute @workgroup_size(64)
fn find(@builtin(global_invocation_id) id: vec3u) {
  var found = vec4<bool>();
  for (var i = id.x; 4u * i < params.count; i += SEARCHERS) {
    let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.count);
    found |= not_finite(grad4[i]) & inside;
  }
  flags[params.slot + id.x] = select(0u, 1u, any(found));
}

var<workgroup> lanes: array<u32, 64>;

@compute @workgroup_size(64)
fn decide(@builtin(local_invocation_index) lane: u32) {
  var mine = 0u;
  for (var i = lane; i < params.slot; i += 64u) { mine |= flags[i]; }
  lanes[lane] = mine;
  workgroupBarrier();
  if (lane != 0u) { return; }
  var found = 0u;
  for (var i = 0u; i < 64u; i++) { found |= lanes[i]; }
  progress[0] = select(1.0 / scaler[0], 1.0, params.unscaled == 1u);
  progress[1] = f32(found);
  if (found == 1u) {
    scaler[2] = 1.0;
    return;
  }
  // 1 - beta^t by its recurrence: without the digits that 1 - pow(beta, t) loses while t is small.
  progress[2] += params.fresh1 * (1.0 - progress[2]);
  progress[3] += params.fresh2 * (1.0 - progress[3]);
  progress[4] += 1.0;
}

@compute @workgroup_size(64)
fn unscale(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) { grad[i] *= 1.0 / scaler[0]; }
}

@compute @workgroup_size(1)
fn update() {
  let scale = scaler[0];
  let calm = scaler[1] + 1.0;
  if (scaler[2] != 0.0) {
    scaler[0] = scale * params.backoff;
    scaler[1] = 0.0;
  } else if (calm >= params.interval) {
    // 2^126: one more doubling is still a float.
    scaler[0] = select(scale * params.growth, scale, scale * params.growth > 8.507059e37);
    scaler[1] = 0.0;
  } else {
    scaler[1] = calm;
  }
  scaler[2] = 0.0;
}
