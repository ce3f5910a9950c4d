// Weights as the lane kernels want them: packed[o][i][t], o < outputs, i < inputsPad, zero for i ≥ inputs.
// transpose = 0: packed[o][i][t] = weight[o][i][t], for the convolution;
// transpose = 1: packed[o][i][t] = weight[i][o][taps − 1 − t], for its transpose: the gradient with respect to
// x of a stride-1 convolution is a convolution of dy with the window turned by 180°.
struct Params {
  outputs: u32, inputs: u32, inputsPad: u32, taps: u32, transpose: u32,
}
@group(0) @binding(0) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read_write> packed: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

override WG: u32 = 64;

@compute @workgroup_size(WG)
fn conv2d_pack(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * count.x) * WG + lane;
  if (index >= params.outputs * params.inputsPad * params.taps) { return; }
  let t = index % params.taps;
  let i = (index / params.taps) % params.inputsPad;
  let o = index / (params.taps * params.inputsPad);
  var value = 0.0;
  if (i < params.inputs) {
    if (params.transpose != 0u) {
      value = weight[(i * params.outputs + o) * params.taps + params.taps - 1 - t];
    } else {
      value = weight[(o * params.inputs + i) * params.taps + t];
    }
  }
  packed[index] = value;
}
