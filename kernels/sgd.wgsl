// One step of stochastic gradient descent over a whole block of parameters: `count` is in vec4fs. What is bound is whole vec4fs;
// behind a tensor's last element nobody reads what they hold.
//   m = μ m + (1-τ) g (the first step: m = g),  w -= lr · (nesterov ? g + μ m : m)

struct Params {
  count: u32,
  turns: u32, // parts/turns.wgsl
  lr: f32, decay: f32, momentum: f32, dampening: f32, nesterov: u32, first: u32,
}

@group(0) @binding(0) var<storage, read_write> weight: array<vec4f>;
@group(0) @binding(1) var<storage, read> grad: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> m: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;
// With loss scaling (kernels/grad_scaler.wgsl): 0 factor of the gradients, 1 whether to skip, 4 steps taken, this one counted.
@group(0) @binding(4) var<storage, read> progress: array<f32>;

// include: parts/turns.wgsl

fn step_at(i: u32, gradient: vec4f, first: bool) {
  let w = weight[i];
  var g = gradient + params.decay * w;
  if (params.momentum != 0.0) {
    let buf = select(params.momentum * m[i] + (1.0 - params.dampening) * g, g, first);
    m[i] = buf;
    g = select(buf, g + params.momentum * buf, params.nesterov == 1u);
  }
  weight[i] = w - params.lr * g;
}

@compute @workgroup_size(64)
fn update(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) { step_at(i, grad[i], params.first == 1u); }
}

@compute @workgroup_size(64)
fn update_scaled(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (progress[1] != 0.0) { return; }
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) { step_at(i, grad[i] * progress[0], progress[4] == 1.0); }
}
