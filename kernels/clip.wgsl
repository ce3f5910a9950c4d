// Gradient clipping over blocks of gradients, in a fixed order of summation.

struct Params {
  count: u32,
  slot: u32,   // sum_squares: where this block's partial sums begin;  norm: number of partial sums
  limit: f32,  // largest norm, or largest absolute value
}

@group(0) @binding(0) var<storage, read_write> grad: array<f32>;
@group(0) @binding(1) var<storage, read_write> partials: array<f32>;
@group(0) @binding(2) var<storage, read_write> norm_and_scale: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

alias Sum = f32;
override WG: u32 = 64;
const GROUPS = 64u;

// GROUPS workgroups a block: partial sums of squares.
@compute @workgroup_size(WG)
fn sum_squares(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = group.x * WG + lane; i < params.count; i += WG * GROUPS) {
    sum += grad[i] * grad[i];
  }
  let total = add_up(lane, sum);
  if (lane == 0u) { partials[params.slot + group.x] = total; }
}

// One workgroup: the norm, and the factor min(1, limit / (norm + 1e-6)) as PyTorch has it.
@compute @workgroup_size(WG)
fn norm(@builtin(local_invocation_index) lane: u32) {
  var sum = 0.0;
  for (var i = lane; i < params.slot; i += WG) { sum += partials[i]; }
  let total = add_up(lane, sum);
  if (lane == 0u) {
    let n = sqrt(total);
    norm_and_scale[0] = n;
    norm_and_scale[1] = min(1.0, params.limit / (n + 1e-6));
  }
}

@compute @workgroup_size(64)
fn scale(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) { grad[i] *= norm_and_scale[1]; }
}

@compute @workgroup_size(64)
fn clamp_value(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) { grad[i] = clamp(grad[i], -params.limit, params.limit); }
}
