// One step of Adam or AdamW over a whole block of parameters: `count` is in vec4fs. What is bound is whole vec4fs; behind a tensor's
// last element nobody reads what they hold.
//   m = β1 m + (1-β1) g,  v = β2 v + (1-β2) g²,  w -= lr/(1-β1^t) · m / (sqrt(v)/sqrt(1-β2^t) + eps)

struct Params {
  count: u32,
  turns: u32, // parts/turns.wgsl
  // What is near 0 or 1 is computed by the host in float64: 1 - beta in float32 would be off by 1e-5.
  // fresh = 1 - beta, correction = 1 - beta^t.
  lr: f32, beta1: f32, beta2: f32, fresh1: f32, fresh2: f32, eps: f32, decay: f32,
  correction1: f32, correction2: f32,
  decoupled: u32, // AdamW: decay shrinks the weight itself instead of joining the gradient
}

@group(0) @binding(0) var<storage, read_write> weight: array<vec4f>;
@group(0) @binding(1) var<storage, read> grad: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> v: array<vec4f>;
@group(0) @binding(4) var<uniform> params: Params;
// With loss scaling (kernels/grad_scaler.wgsl): 0 factor of the gradients, 1 whether to skip, 2 and 3 1 - beta^t.
@group(0) @binding(5) var<storage, read> progress: array<f32>;

// include: parts/turns.wgsl

fn step_at(i: u32, gradient: vec4f, correction1: f32, correction2: f32) {
  var w = weight[i];
  var g = gradient;
  if (params.decoupled == 1u) {
    w *= 1.0 - params.lr * params.decay;
  } else {
    g += params.decay * w;
  }
  let mi = params.beta1 * m[i] + params.fresh1 * g;
  let vi = params.beta2 * v[i] + params.fresh2 * g * g;
  m[i] = mi;
  v[i] = vi;
  let denominator = sqrt(vi) / sqrt(correction2) + params.eps;
  weight[i] = w - (params.lr / correction1) * mi / denominator;
}

@compute @workgroup_size(64)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) { step_at(i, grad[i], params.correction1, params.correction2); }
}

@compute @workgroup_size(64)
fn update_scaled(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (progress[1] != 0.0) { return; }
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) { step_at(i, grad[i] * progress[0], progress[2], progress[3]); }
}
