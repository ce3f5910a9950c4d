// Adds up the runs of a split sum in their order, so that the same inputs give the same bits.
//   result[i] = (accumulate ? result[i] : 0) + Σ_s partial[s][i]
struct Params {
  count: u32, splits: u32, accumulate: u32,
}
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

override WG: u32 = 64;

@compute @workgroup_size(WG)
fn conv2d_reduce(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.x + group.y * count.x) * WG + lane;
  if (i >= params.count) { return; }
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) { sum += partial[s * params.count + i]; }
  if (params.accumulate != 0u) { sum += result[i]; }
  result[i] = sum;
}
