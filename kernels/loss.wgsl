// Losses that are a sum over elements: squared error and binary cross-entropy from logits. `partials` sums
// a run of vec4s a workgroup, `finish` folds the partials in a fixed order, `grad` is the gradient in x.
//
// squared error:  l = (x - t)²                          dl/dx = 2 (x - t)
// cross-entropy:  l = max(x, 0) - x t + log(1 + e^-|x|)  dl/dx = σ(x) - t          dl/dt = -x

override LOSS: u32; // 0 squared error, 1 cross-entropy, 2 cross-entropy's gradient in t

struct Params {
  count: u32,  // elements
  groups: u32, // workgroups of `partials`
  scale: f32,  // 1, or 1 / count for a mean
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> t: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;
@group(0) @binding(3) var<storage, read> partial_sums: array<f32>;
@group(0) @binding(4) var<storage, read> dy: array<f32>;
@group(0) @binding(5) var<storage, read_write> dx: array<vec4f>;
@group(0) @binding(6) var<uniform> params: Params;

alias Sum = f32;
override WG: u32 = 64;

// log(1 + z) for z in [0, 1]: 2 artanh(s), s = z / (2 + z) ≤ 1/3.
fn log1p(z: vec4f) -> vec4f {
  let s = z / (2.0 + z);
  let q = s * s;
  let series = 1.0 + q * (0.33333333 + q * (0.2 + q * (0.14285715 + q * (0.11111111 + q * (0.09090909 + q * 0.07692308)))));
  return 2.0 * s * series;
}

fn loss(v: vec4f, target_value: vec4f) -> vec4f {
  if (LOSS == 0u) {
    let d = v - target_value;
    return d * d;
  }
  return select(vec4f(0.0), v, v > vec4f(0.0)) - v * target_value + log1p(exp(-abs(v)));
}

@compute @workgroup_size(WG)
fn partials(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var total = vec4f(0.0);
  let quads = params.count / 4u;
  for (var i = group.x * WG + lane; i < quads; i += params.groups * WG) {
    total += loss(x[i], t[i]);
  }
  let rest = params.count % 4u;
  if (group.x == 0u && lane == 0u && rest > 0u) {
    // Past the end the last vec4 is undefined.
    let last = loss(x[quads], t[quads]);
    total += select(vec4f(0.0), last, vec4u(0u, 1u, 2u, 3u) < vec4u(rest));
  }
  let sum = add_up(lane, dot(total, vec4f(1.0)));
  if (lane == 0u) {
    sums[group.x] = sum;
  }
}

@compute @workgroup_size(WG)
fn finish(@builtin(local_invocation_index) lane: u32) {
  var mine = 0.0;
  for (var i = lane; i < params.groups; i += WG) {
    mine += partial_sums[i];
  }
  let sum = add_up(lane, mine);
  if (lane == 0u) {
    sums[0] = sum * params.scale;
  }
}

fn slope(v: vec4f, target_value: vec4f) -> vec4f {
  if (LOSS == 0u) {
    return 2.0 * (v - target_value);
  }
  if (LOSS == 2u) {
    return -v;
  }
  let z = exp(-abs(v));
  return select(z, vec4f(1.0), v >= vec4f(0.0)) / (1.0 + z) - target_value;
}

@compute @workgroup_size(64)
fn grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < (params.count + 3u) / 4u) {
    dx[i] = dy[0] * params.scale * slope(x[i], t[i]);
  }
}
