// A batch norm in evaluation, folded into the convolution before it, by output channel c:
//   scale = gamma[c] / √(variance[c] + eps)
//   folded_weight[c,…] = weight[c,…] · scale     folded_bias[c] = (bias[c] − mean[c]) · scale + beta[c]

struct Params {
  count: u32,    // weights of an output channel
  has_bias: u32, // of the convolution
  eps: f32,
}

@group(0) @binding(0) var<storage, read> weight: array<f32>;
@group(0) @binding(1) var<storage, read> bias: array<f32>;   // binds beta where there is none
@group(0) @binding(2) var<storage, read> gamma: array<f32>;
@group(0) @binding(3) var<storage, read> beta: array<f32>;
@group(0) @binding(4) var<storage, read> mean: array<f32>;
@group(0) @binding(5) var<storage, read> variance: array<f32>;
@group(0) @binding(6) var<storage, read_write> folded_weight: array<f32>;
@group(0) @binding(7) var<storage, read_write> folded_bias: array<f32>;
@group(0) @binding(8) var<uniform> params: Params;

override WG: u32 = 64;

// One workgroup an output channel.
@compute @workgroup_size(WG)
fn fold_batch_norm(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  let scale = gamma[c] / sqrt(variance[c] + params.eps);
  for (var i = c * params.count + lane; i < (c + 1u) * params.count; i += WG) {
    folded_weight[i] = weight[i] * scale;
  }
  if (lane == 0u) {
    var b = -mean[c];
    if (params.has_bias == 1u) { b += bias[c]; }
    folded_bias[c] = fma(b, scale, beta[c]);
  }
}
