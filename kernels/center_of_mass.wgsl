// Centre of mass of images, from moments about the image's centre (smaller numbers, smaller rounding).
//
//   M00 = Σ x,  M10 = Σ x·(u − mu),  M01 = Σ x·(v − mv),   (mu, mv) = ((W − 1)/2, (H − 1)/2)
//   y = (mu + M10/M00, mv + M01/M00), or (mu, mv) if M00 = 0
//   dx = (dy₀·(u − y₀) + dy₁·(v − y₁)) / M00, or 0 if M00 = 0

// include: parts/divide.wgsl

struct Params {
  images: u32,
  height: u32,
  width: u32,
  runs: u32, // workgroups that share an image
  run: u32,  // pixels of each
  add: u32,  // 1: dx is added to what y holds
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> moments_in: array<f32>;
@group(0) @binding(2) var<storage, read> center: array<f32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> moments: array<f32>; // (images, runs, 3)
@group(0) @binding(5) var<storage, read_write> y: array<f32>;
@group(0) @binding(6) var<storage, read_write> mass: array<f32>;
@group(0) @binding(7) var<uniform> params: Params;
@group(0) @binding(8) var<storage, read> x4: array<vec4f>;        // x and y, four at once
@group(0) @binding(9) var<storage, read_write> y4: array<vec4f>;

fn middle() -> vec2f {
  return vec2f(f32(params.width - 1u), f32(params.height - 1u)) * 0.5;
}

alias Sum = vec3f;
override WG: u32 = 64;

// One workgroup a run of an image.
@compute @workgroup_size(WG)
fn sum_moments(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let g = group.x + group.y * groups.x;
  let area = params.height * params.width;
  let image = g / params.runs;
  let first = g % params.runs * params.run;
  var sum = vec3f(0.0);
  if (image < params.images) {
    for (var j = first + lane; j < min(first + params.run, area); j += WG) {
      let row = divide(j, params.width);
      let at = vec2f(f32(j - row * params.width), f32(row)) - middle();
      sum += x[image * area + j] * vec3f(1.0, at);
    }
  }
  sum = add_up(lane, sum);
  if (lane == 0u && image < params.images) {
    moments[3u * g] = sum.x;
    moments[3u * g + 1u] = sum.y;
    moments[3u * g + 2u] = sum.z;
  }
}

// On CPU drivers, where barriers cost much: one invocation a run, which is a row.
@compute @workgroup_size(64)
fn sum_rows(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let g = id.x + id.y * groups.x * 64u;
  if (g >= params.images * params.height) { return; }
  var sum = vec2f();
  for (var u = 0u; u < params.width; u++) {
    sum += x[g * params.width + u] * vec2f(1.0, f32(u) - middle().x);
  }
  store_row(g, sum);
}

// The same where four divides the width.
@compute @workgroup_size(64)
fn sum_rows_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let g = id.x + id.y * groups.x * 64u;
  if (g >= params.images * params.height) { return; }
  let wide = params.width / 4u;
  var column = vec4f(0.0, 1.0, 2.0, 3.0) - middle().x;
  var mass_of = vec4f();
  var moment = vec4f();
  for (var u = 0u; u < wide; u++) {
    let four = x4[g * wide + u];
    mass_of += four;
    moment += four * column;
    column += 4.0;
  }
  store_row(g, vec2f(dot(mass_of, vec4f(1.0)), dot(moment, vec4f(1.0))));
}

// The moments of row g of all images, of its mass and its moment along x.
fn store_row(g: u32, sum: vec2f) {
  let row = g - divide(g, params.height) * params.height;
  moments[3u * g] = sum.x;
  moments[3u * g + 1u] = sum.y;
  moments[3u * g + 2u] = sum.x * (f32(row) - middle().y);
}

// One invocation an image: the runs in their order.
@compute @workgroup_size(64)
fn find_center(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.images) { return; }
  var sum = vec3f(0.0);
  for (var r = 0u; r < params.runs; r++) {
    let k = 3u * (i * params.runs + r);
    sum += vec3f(moments_in[k], moments_in[k + 1u], moments_in[k + 2u]);
  }
  var at = middle();
  if (sum.x != 0.0) { at += sum.yz / sum.x; }
  y[2u * i] = at.x;
  y[2u * i + 1u] = at.y;
  mass[i] = sum.x;
}

override WX: u32 = 8;
override WY: u32 = 8;
override ROWS: u32 = 1; // below each other that one invocation takes

// The gradient at four columns of a row of image n; moments_in are the masses here.
fn gradient(n: u32, columns: vec4u, row: u32) -> vec4f {
  let total = moments_in[n];
  let across = (vec4f(columns) - center[2u * n]) * dy[2u * n];
  let slope = across + (f32(row) - center[2u * n + 1u]) * dy[2u * n + 1u];
  return select(slope / total, vec4f(), total == 0.0);
}

// One invocation four columns of ROWS rows, z counts images; y is dx here. Past the last column the last again.
@compute @workgroup_size(WX, WY)
fn spread(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = ROWS * id.y;
  if (4u * id.x >= params.width || first >= params.height) { return; }
  let columns = min(vec4u(4u * id.x) + vec4u(0u, 1u, 2u, 3u), vec4u(params.width - 1u));
  for (var n = id.z; n < params.images; n += groups.z) {
    for (var row = first; row < min(first + ROWS, params.height); row++) {
      var four = gradient(n, columns, row);
      let at = (n * params.height + row) * params.width + columns;
      if (params.add != 0u) { four += vec4f(y[at.x], y[at.y], y[at.z], y[at.w]); }
      y[at.x] = four.x;
      y[at.y] = four.y;
      y[at.z] = four.z;
      y[at.w] = four.w;
    }
  }
}

// The same where four divides the width.
@compute @workgroup_size(WX, WY)
fn spread_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = ROWS * id.y;
  let wide = params.width / 4u;
  if (id.x >= wide || first >= params.height) { return; }
  let columns = vec4u(4u * id.x) + vec4u(0u, 1u, 2u, 3u);
  for (var n = id.z; n < params.images; n += groups.z) {
    for (var row = first; row < min(first + ROWS, params.height); row++) {
      var four = gradient(n, columns, row);
      let at = (n * params.height + row) * wide + id.x;
      if (params.add != 0u) { four += y4[at]; }
      y4[at] = four;
    }
  }
}
