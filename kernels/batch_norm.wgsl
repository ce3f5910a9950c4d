// Batch normalisation of (N, C, H, W) over N, H, W, with an optional ReLU:
//   y = relu?( (x − mean[c]) / √(var[c] + eps) · weight[c] + bias[c] )
// and its gradient, with x̂ the normalised x, dz = dy where y > 0 (if ReLU), M = N·H·W:
//   dbias = Σ dz    dweight = Σ dz·x̂    dx = weight/√(var + eps) · (dz − dbias/M − x̂·dweight/M)
// (in evaluation the statistics are constants: dx = weight/√(var + eps) · dz).
//
// Sums are cut into runs: workgroup (c, run) sums `images` images × `blocks` vec4s of a row, each lane its own
// share, without barriers; a second launch adds the lanes' results up in a fixed order. Mean and variance
// are numerically sound: a run's sums are taken about a value of its own, and runs are joined by
//   mean = Σ nᵢ·meanᵢ / M,  M·var = Σ m2ᵢ + nᵢ·(meanᵢ − mean)²   (Chan, Golub, LeVeque).
// A row is the H·W values of one image and channel. Where 4 does not divide it, its first and last vec4
// also hold neighbours, which are masked.

struct Params {
  images: u32,       // N
  channels: u32,     // C
  row: u32,          // H·W
  blocks: u32,       // vec4s of a row that a workgroup takes
  run_images: u32,   // images that a workgroup sums over
  segments: u32,     // runs along a row
  partials: u32,     // results a channel that reduce_… adds up
  unbiased: f32,     // M / (M − 1)
  inverse_count: f32, // 1 / M; 0 in evaluation
  momentum: f32,
  eps: f32,
  relu: u32,
  has_weight: u32,
  has_bias: u32,
  running: u32,      // 1: update the running statistics
  add_weight: u32,   // 1: add to the gradient of weight instead of overwriting it
  add_bias: u32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read> y: array<vec4f>;          // binds x where there is no ReLU
@group(0) @binding(3) var<storage, read> mean: array<f32>;
@group(0) @binding(4) var<storage, read> variance: array<f32>;
@group(0) @binding(5) var<storage, read> weight: array<f32>;       // binds mean where there is none
@group(0) @binding(6) var<storage, read> bias: array<f32>;         // likewise
@group(0) @binding(7) var<storage, read> sums: array<vec2f>;       // dbias, dweight
@group(0) @binding(8) var<storage, read> moments: array<vec4f>;    // of a lane: mean, m2, count
@group(0) @binding(9) var<storage, read> products: array<vec2f>;   // of a lane: Σ dz, Σ dz·x̂
@group(0) @binding(10) var<storage, read_write> result: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> lane_moments: array<vec4f>;
@group(0) @binding(12) var<storage, read_write> lane_products: array<vec2f>;
@group(0) @binding(13) var<storage, read_write> batch_mean: array<f32>;
@group(0) @binding(14) var<storage, read_write> batch_variance: array<f32>;
@group(0) @binding(15) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(16) var<storage, read_write> running_variance: array<f32>;
@group(0) @binding(17) var<storage, read_write> channel_sums: array<vec2f>;
@group(0) @binding(18) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(19) var<storage, read_write> dbias: array<f32>;
@group(0) @binding(20) var<uniform> params: Params;
// The same arrays by single values, for rows that are not whole vec4s.
@group(0) @binding(0) var<storage, read> x1: array<f32>;
@group(0) @binding(1) var<storage, read> dy1: array<f32>;
@group(0) @binding(2) var<storage, read> y1: array<f32>;
@group(0) @binding(10) var<storage, read_write> result1: array<f32>;

override WG: u32 = 64;

const COMPONENTS = vec4u(0u, 1u, 2u, 3u);

fn sum4(v: vec4f) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

// The vec4s [first, last) of the part of a row that a workgroup takes.
struct Part { first: u32, last: u32 }

fn part_of(start: u32, segment: u32) -> Part {
  let first = start / 4u + segment * params.blocks;
  return Part(first, min(first + params.blocks, (start + params.row + 3u) / 4u));
}

fn inside(block: u32, start: u32) -> vec4<bool> {
  let at = 4u * block + COMPONENTS;
  return (at >= vec4u(start)) & (at < vec4u(start + params.row));
}

// ---- training, forward: moments of each lane ----

@compute @workgroup_size(WG)
fn lane_statistics(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  let run = group.y;
  let segment = run % params.segments;
  let image0 = run / params.segments * params.run_images;
  let image1 = min(params.images, image0 + params.run_images);

  // Sums are about a typical value of the run, so that neither a large mean nor an outlier costs digits:
  // the median of its first, middle and last.
  let start0 = (image0 * params.channels + c) * params.row;
  let part0 = part_of(start0, segment);
  let e0 = min(max(start0, 4u * part0.first), start0 + params.row - 1u);
  let e2 = max(e0, min(start0 + params.row, 4u * part0.last) - 1u);
  let e1 = (e0 + e2) / 2u;
  let p0 = x[e0 / 4u][e0 % 4u];
  let p1 = x[e1 / 4u][e1 % 4u];
  let p2 = x[e2 / 4u][e2 % 4u];
  let pivot = max(min(p0, p1), min(max(p0, p1), p2));

  var sum = vec4f(0.0);
  var squares = vec4f(0.0);
  var count = vec4f(0.0);
  for (var image = image0; image < image1; image++) {
    let start = (image * params.channels + c) * params.row;
    let part = part_of(start, segment);
    for (var b = part.first + lane; b < part.last; b += WG) {
      let mask = inside(b, start);
      let d = select(vec4f(0.0), x[b] - pivot, mask);
      sum += d;
      squares = fma(d, d, squares);
      count += select(vec4f(0.0), vec4f(1.0), mask);
    }
  }
  let n = sum4(count);
  let shift = sum4(sum) / max(n, 1.0);
  // About the pivot the squares exceed those about the mean by n·shift².
  let m2 = max(sum4(squares) - n * shift * shift, 0.0);
  lane_moments[(c * (params.partials / WG) + run) * WG + lane] = vec4f(pivot + shift, m2, n, 0.0);
}

var<workgroup> tree: array<vec2f, WG>;

// Sum over the lanes of a workgroup, in a fixed order.
fn add_up(lane: u32, value: vec2f) -> vec2f {
  workgroupBarrier();
  tree[lane] = value;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { tree[lane] += tree[lane + half]; }
    workgroupBarrier();
  }
  return tree[0];
}

// One workgroup a channel: joins the lanes' moments and moves the running statistics on.
@compute @workgroup_size(WG)
fn reduce_statistics(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  let first = c * params.partials;
  let reference = moments[first].x;
  var s = vec2f(0.0);
  for (var i = lane; i < params.partials; i += WG) {
    let m = moments[first + i];
    s += vec2f(m.z * (m.x - reference), m.z);
  }
  let total = add_up(lane, s);
  let n = total.y;
  let mean_c = reference + total.x / n;
  s = vec2f(0.0);
  for (var i = lane; i < params.partials; i += WG) {
    let m = moments[first + i];
    let d = m.x - mean_c;
    s.x += m.y + m.z * d * d;
  }
  let variance_c = add_up(lane, s).x / n;
  if (lane == 0u) {
    batch_mean[c] = mean_c;
    batch_variance[c] = variance_c;
    if (params.running == 1u) {
      let keep = 1.0 - params.momentum;
      running_mean[c] = keep * running_mean[c] + params.momentum * mean_c;
      running_variance[c] = keep * running_variance[c] + params.momentum * (variance_c * params.unbiased);
    }
  }
}

// ---- forward ----

fn deviation(c: u32) -> f32 {
  return 1.0 / sqrt(variance[c] + params.eps);
}

fn weight_of(c: u32) -> f32 {
  if (params.has_weight == 1u) { return weight[c]; }
  return 1.0;
}

fn bias_of(c: u32) -> f32 {
  if (params.has_bias == 1u) { return bias[c]; }
  return 0.0;
}

// A NaN stays one: it is not below 0.
fn activate(v: vec4f) -> vec4f {
  if (params.relu == 1u) { return select(v, vec4f(0.0), v < vec4f(0.0)); }
  return v;
}

// Workgroup (segment, row): rows of whole vec4s.
@compute @workgroup_size(WG)
fn normalize(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row_blocks = params.row / 4u;
  for (var r = group.y; r < params.images * params.channels; r += groups.y) {
    let c = r % params.channels;
    let m = mean[c];
    let scale = deviation(c) * weight_of(c);
    let shift = bias_of(c);
    let last = min((group.x + 1u) * params.blocks, row_blocks);
    for (var b = group.x * params.blocks + lane; b < last; b += WG) {
      let i = r * row_blocks + b;
      result[i] = activate((x[i] - m) * scale + shift);
    }
  }
}

// The same, value by value: rows of any length.
@compute @workgroup_size(WG)
fn normalize_any(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let span = 4u * params.blocks;
  for (var r = group.y; r < params.images * params.channels; r += groups.y) {
    let c = r % params.channels;
    let m = mean[c];
    let scale = deviation(c) * weight_of(c);
    let shift = bias_of(c);
    let last = min((group.x + 1u) * span, params.row);
    for (var e = group.x * span + lane; e < last; e += WG) {
      let i = r * params.row + e;
      result1[i] = activate(vec4f((x1[i] - m) * scale + shift)).x;
    }
  }
}

// ---- backward: Σ dz and Σ dz·x̂ of each lane ----

fn masked(i: u32) -> vec4f {
  if (params.relu == 1u) { return select(vec4f(0.0), dy[i], y[i] > vec4f(0.0)); }
  return dy[i];
}

@compute @workgroup_size(WG)
fn lane_gradients(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  let run = group.y;
  let segment = run % params.segments;
  let image0 = run / params.segments * params.run_images;
  let image1 = min(params.images, image0 + params.run_images);
  let m = mean[c];
  var sum = vec4f(0.0);
  var product = vec4f(0.0);
  for (var image = image0; image < image1; image++) {
    let start = (image * params.channels + c) * params.row;
    let part = part_of(start, segment);
    for (var b = part.first + lane; b < part.last; b += WG) {
      let mask = inside(b, start);
      let dz = select(vec4f(0.0), masked(b), mask);
      sum += dz;
      product = fma(dz, select(vec4f(0.0), x[b] - m, mask), product);
    }
  }
  let at = (c * (params.partials / WG) + run) * WG + lane;
  lane_products[at] = vec2f(sum4(sum), sum4(product) * deviation(c));
}

@compute @workgroup_size(WG)
fn reduce_gradients(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  let first = c * params.partials;
  var s = vec2f(0.0);
  for (var i = lane; i < params.partials; i += WG) { s += products[first + i]; }
  let total = add_up(lane, s);
  if (lane == 0u) {
    channel_sums[c] = total;
    dbias[c] = total.x + select(0.0, dbias[c], params.add_bias == 1u);
    dweight[c] = total.y + select(0.0, dweight[c], params.add_weight == 1u);
  }
}

@compute @workgroup_size(WG)
fn input_gradient(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row_blocks = params.row / 4u;
  for (var r = group.y; r < params.images * params.channels; r += groups.y) {
    let c = r % params.channels;
    let m = mean[c];
    let inverse = deviation(c);
    let scale = inverse * weight_of(c);
    let s = sums[c] * params.inverse_count;
    let slope = inverse * s.y;
    let last = min((group.x + 1u) * params.blocks, row_blocks);
    for (var b = group.x * params.blocks + lane; b < last; b += WG) {
      let i = r * row_blocks + b;
      result[i] = scale * (masked(i) - s.x - (x[i] - m) * slope);
    }
  }
}

@compute @workgroup_size(WG)
fn input_gradient_any(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let span = 4u * params.blocks;
  for (var r = group.y; r < params.images * params.channels; r += groups.y) {
    let c = r % params.channels;
    let m = mean[c];
    let inverse = deviation(c);
    let scale = inverse * weight_of(c);
    let s = sums[c] * params.inverse_count;
    let slope = inverse * s.y;
    let last = min((group.x + 1u) * span, params.row);
    for (var e = group.x * span + lane; e < last; e += WG) {
      let i = r * params.row + e;
      var dz = dy1[i];
      if (params.relu == 1u && !(y1[i] > 0.0)) { dz = 0.0; }
      result1[i] = scale * (dz - s.x - (x1[i] - m) * slope);
    }
  }
}
