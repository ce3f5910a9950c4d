// Adds up the runs of a split sum in their order, so that the same inputs give the same bits.
//   conv2d_reduce        result[i] = (accumulate ? result[i] : 0) + Σ_s partial[s][i]
//   conv2d_reduce_image  y the same, with bias and ReLU; image n lies offset + n·gap further than in a dense y
alias elem = f32;

// include: parts/reduce_runs.wgsl

@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;

@compute @workgroup_size(WG)
fn conv2d_reduce(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  reduce_to_result((group.x + group.y * count.x) * WG + lane);
}

@compute @workgroup_size(WG)
fn conv2d_reduce_image(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.x + group.y * count.x) * WG + lane;
  if (i >= params.count) { return; }
  let channel = i / params.plane;
  let to = i + params.offset + channel / params.cout * params.gap;
  var sum = sum_of(i);
  if (params.hasBias != 0u) { sum += bias[channel % params.cout]; }
  if (params.accumulate != 0u) { sum += f32(y[to]); }
  if (params.relu != 0u) { sum = select(sum, 0.0, sum < 0.0); }
  y[to] = elem(sum);
}
