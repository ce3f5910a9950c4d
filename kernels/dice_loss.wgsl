// Soft Dice loss over a whole batch: 1 - (2 Σ p t + λ) / (Σ p + Σ t + λ). `partials` sums p t and p + t,
// a run of vec4s a workgroup; `finish` folds the partials; `grad` is
// dp = dy (N / D² - 2 t / D), where N and D are numerator and denominator, and the same in t with p for t.

struct Params {
  count: u32,    // elements
  groups: u32,   // workgroups of `partials`
  lambda: f32,
}

@group(0) @binding(0) var<storage, read> p: array<vec4f>;
@group(0) @binding(1) var<storage, read> t: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec2f>;
@group(0) @binding(3) var<storage, read> partial_sums: array<vec2f>;
@group(0) @binding(4) var<storage, read_write> ratio: array<f32>; // N, D
@group(0) @binding(5) var<storage, read_write> loss: array<f32>;
@group(0) @binding(6) var<storage, read> ratio_in: array<f32>;
@group(0) @binding(7) var<storage, read> dy: array<f32>;
@group(0) @binding(8) var<storage, read_write> dp: array<vec4f>;
@group(0) @binding(9) var<uniform> params: Params;

alias Sum = vec2f;
override WG: u32 = 64;

@compute @workgroup_size(WG)
fn partials(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  var product = vec4f(0.0);
  var total = vec4f(0.0);
  let quads = params.count / 4u;
  for (var i = group.x * WG + lane; i < quads; i += params.groups * WG) {
    product += p[i] * t[i];
    total += p[i] + t[i];
  }
  if (group.x == 0u && lane == 0u) {
    // What is left over of the last vec4 is undefined past the end.
    for (var k = 0u; k < params.count % 4u; k++) {
      product.x += p[quads][k] * t[quads][k];
      total.x += p[quads][k] + t[quads][k];
    }
  }
  let sum = add_up(lane, vec2f(dot(product, vec4f(1.0)), dot(total, vec4f(1.0))));
  if (lane == 0u) {
    sums[group.x] = sum;
  }
}

@compute @workgroup_size(WG)
fn finish(@builtin(local_invocation_index) lane: u32) {
  var mine = vec2f(0.0);
  for (var i = lane; i < params.groups; i += WG) {
    mine += partial_sums[i];
  }
  let sum = add_up(lane, mine);
  if (lane == 0u) {
    let n = 2.0 * sum.x + params.lambda;
    let d = sum.y + params.lambda;
    ratio[0] = n;
    ratio[1] = d;
    loss[0] = (d - n) / d;
  }
}

@compute @workgroup_size(64)
fn grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < (params.count + 3u) / 4u) {
    let n = ratio_in[0];
    let d = ratio_in[1];
    dp[i] = dy[0] / d * (n / d - 2.0 * t[i]);
  }
}
