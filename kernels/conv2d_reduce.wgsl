// Adds up the runs of a split sum in their order, so that the same inputs give the same bits.
//   conv2d_reduce        result[i] = (accumulate ? result[i] : 0) + Σ_s partial[s][i]
//   conv2d_reduce_image  y the same, with bias and ReLU; image n lies offset + n·gap further than in a dense y
//   conv2d_reduce_both   also a second split sum, of `sums` values: a bias' gradient beside the weight's
alias elem = f32;

struct Params {
  count: u32, splits: u32, accumulate: u32,
  hasBias: u32, relu: u32, cout: u32, plane: u32, offset: u32, gap: u32, sums: u32,
}
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<storage, read> partial_dbias: array<f32>;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

override WG: u32 = 64;

fn sum_of(i: u32) -> f32 {
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) { sum += partial[s * params.count + i]; }
  return sum;
}

fn reduce_to_result(i: u32) {
  if (i >= params.count) { return; }
  var sum = sum_of(i);
  if (params.accumulate != 0u) { sum += result[i]; }
  result[i] = sum;
}

@compute @workgroup_size(WG)
fn conv2d_reduce(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  reduce_to_result((group.x + group.y * count.x) * WG + lane);
}

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
