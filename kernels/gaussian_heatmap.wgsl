// y[n, v, u] = exp(−((u − cx)² + (v − cy)²)·k),  k = 1 / 2σ²;   dcx = Σ dy·y·2k·(u − cx), dcy likewise.
// exp(−a)·exp(−b) for exp(−(a + b)): where a factor underflows, so does the product.

// include: parts/divide.wgsl

struct Params {
  images: u32,
  height: u32,
  width: u32,
  k: f32,
  across: u32, // lanes beside each other of gaussian_heatmap_grad_wide, a divisor of 64
}

@group(0) @binding(0) var<storage, read> centers: array<f32>;
@group(0) @binding(1) var<storage, read> heat: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read_write> y4: array<vec4f>;
@group(0) @binding(6) var<storage, read> dy4: array<vec4f>;

override WX: u32 = 8;
override WY: u32 = 8;
override ROWS: u32 = 1; // below each other that one invocation takes

// One invocation four columns of ROWS rows, as the product of a factor a column and one a row; z counts images. Past the last
// column and row the last again.
@compute @workgroup_size(WX, WY)
fn gaussian_heatmap(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (4u * id.x >= params.width || ROWS * id.y >= params.height) { return; }
  let columns = min(vec4u(4u * id.x) + vec4u(0u, 1u, 2u, 3u), vec4u(params.width - 1u));
  for (var n = id.z; n < params.images; n += groups.z) {
    let across = vec4f(columns) - centers[2u * n];
    let factors = exp(-(across * across) * params.k);
    for (var i = 0u; i < ROWS; i++) {
      let row = min(ROWS * id.y + i, params.height - 1u);
      let down = f32(row) - centers[2u * n + 1u];
      let four = exp(-(down * down) * params.k) * factors;
      let at = (n * params.height + row) * params.width + columns;
      y[at.x] = four.x;
      y[at.y] = four.y;
      y[at.z] = four.z;
      y[at.w] = four.w;
    }
  }
}

// The same where four divides the width: eight columns, as two fours. Past the last four the last again.
@compute @workgroup_size(WX, WY)
fn gaussian_heatmap_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let wide = params.width / 4u;
  if (2u * id.x >= wide || ROWS * id.y >= params.height) { return; }
  let left = 2u * id.x;
  let right = min(left + 1u, wide - 1u);
  for (var n = id.z; n < params.images; n += groups.z) {
    let left_factors = bell(columns_from(left) - centers[2u * n]);
    let right_factors = bell(columns_from(right) - centers[2u * n]);
    for (var i = 0u; i < ROWS; i++) {
      let row = min(ROWS * id.y + i, params.height - 1u);
      let factor = bell(vec4f(f32(row) - centers[2u * n + 1u])).x;
      let at = (n * params.height + row) * wide;
      y4[at + left] = factor * left_factors;
      y4[at + right] = factor * right_factors;
    }
  }
}

fn columns_from(four: u32) -> vec4f { return vec4f(vec4u(4u * four) + vec4u(0u, 1u, 2u, 3u)); }

fn bell(distance: vec4f) -> vec4f { return exp(-(distance * distance) * params.k); }

var<workgroup> partial: array<vec2f, 64>;

// Adds up over the lanes of a workgroup and writes the gradient of the centre of image n.
fn store_gradient(n: u32, lane: u32, sum: vec2f) {
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u && n < params.images) {
    y[2u * n] = 2.0 * params.k * partial[0].x;
    y[2u * n + 1u] = 2.0 * params.k * partial[0].y;
  }
}

// One workgroup an image; y is the gradient of the centres here.
@compute @workgroup_size(64)
fn gaussian_heatmap_grad(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = group.x + group.y * groups.x;
  let area = params.height * params.width;
  var sum = vec2f(0.0);
  if (n < params.images) {
    let center = vec2f(centers[2u * n], centers[2u * n + 1u]);
    for (var j = lane; j < area; j += 64u) {
      let row = divide(j, params.width);
      let at = vec2f(f32(j - row * params.width), f32(row));
      sum += dy[n * area + j] * heat[n * area + j] * (at - center);
    }
  }
  store_gradient(n, lane, sum);
}

// The same where four divides the width, from dy alone: a lane walks down eight columns, as two fours, and sums
// dy·exp(−(v − cy)²·k) and its product with v − cy, of which each column then takes its own factor.
@compute @workgroup_size(64)
fn gaussian_heatmap_grad_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = group.x + group.y * groups.x;
  let wide = params.width / 4u;
  let down = 64u / params.across;
  let first_row = lane / params.across;
  var sum = vec2f(0.0);
  if (n < params.images) {
    let center = vec2f(centers[2u * n], centers[2u * n + 1u]);
    for (var left = lane % params.across; left < wide; left += 2u * params.across) {
      let has_right = left + params.across < wide;
      let right = select(left, left + params.across, has_right);
      var left_sum = vec4f();
      var left_moment = vec4f();
      var right_sum = vec4f();
      var right_moment = vec4f();
      for (var row = first_row; row < params.height; row += down) {
        let distance = f32(row) - center.y;
        let factor = bell(vec4f(distance)).x;
        let at = (n * params.height + row) * wide;
        let left_part = factor * dy4[at + left];
        let right_part = factor * dy4[at + right];
        left_sum += left_part;
        left_moment += distance * left_part;
        right_sum += right_part;
        right_moment += distance * right_part;
      }
      let left_distance = columns_from(left) - center.x;
      let left_factors = bell(left_distance);
      sum += vec2f(dot(left_sum, left_factors * left_distance), dot(left_moment, left_factors));
      let right_distance = columns_from(right) - center.x;
      let right_factors = select(vec4f(), bell(right_distance), has_right);
      sum += vec2f(dot(right_sum, right_factors * right_distance), dot(right_moment, right_factors));
    }
  }
  store_gradient(n, lane, sum);
}
