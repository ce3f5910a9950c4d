// conv2d_reduce and beside it a second split sum, of `sums` values: a bias' gradient beside the weight's. For CPU drivers, whose
// kernels of weights' gradients sum up what they read.

// include: parts/reduce_runs.wgsl

@group(0) @binding(3) var<storage, read> partial_dbias: array<f32>;
@group(0) @binding(4) var<storage, read_write> dbias: array<f32>;

@compute @workgroup_size(WG)
fn conv2d_reduce_both(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = (group.x + group.y * count.x) * WG + lane;
  reduce_to_result(i);
  if (i >= params.sums) { return; }
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) { sum += partial_dbias[s * params.sums + i]; }
  if (params.accumulate != 0u) { sum += dbias[i]; }
  dbias[i] = sum;
}
