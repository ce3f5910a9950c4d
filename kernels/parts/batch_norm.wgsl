// What the kernels of batch normalisation share: bindings, shares of the work, moments, the numbers of a channel, gradients of
// single values. `add_up` of the kernel that includes this adds up the lanes of a workgroup (src/gpu/summing.ts).

alias elem = f32;
alias elem4 = vec4f;
alias Sum = vec3f;
override WG: u32 = 64;
// Whether the lanes of a workgroup add up their sums. If not, partial sums are a lane's, and in the kernels that take whole
// channels each lane takes one: WG divides their number.
override JOIN: bool = true;

struct Params {
  images: u32,       // N
  channels: u32,     // C
  row: u32,          // H·W
  w: u32,
  blocks: u32,       // vec4s of a row that a workgroup takes
  run_images: u32,   // images that a workgroup takes
  segments: u32,     // runs along a row
  across: u32,       // lanes along a row, 1 << shift; the others take further images
  shift: u32,
  partials: u32,     // partial sums a channel
  offset: u32,       // of y or dy, in vec4s
  gap: u32,
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
  add_input: u32,    // 1: add to the gradient of x
}

// What a channel is computed with: mean + rest, 1/√(var + eps), and z = (x − mean) · scale + shift.
struct Channel { mean: f32, rest: f32, inverse: f32, scale: f32, shift: f32 }

@group(0) @binding(0) var<storage, read> x: array<elem4>;
@group(0) @binding(1) var<storage, read> dy: array<elem4>;
@group(0) @binding(4) var<storage, read> weight: array<f32>;       // binds `moments` or `mean` where there is none
@group(0) @binding(5) var<storage, read> bias: array<f32>;         // likewise
@group(0) @binding(8) var<storage, read> saved: array<Channel>;
@group(0) @binding(9) var<storage, read_write> result: array<elem4>;
@group(0) @binding(12) var<storage, read_write> save: array<Channel>;
@group(0) @binding(13) var<storage, read_write> running_mean: array<f32>;
@group(0) @binding(14) var<storage, read_write> running_variance: array<f32>;
@group(0) @binding(15) var<storage, read_write> dweight: array<f32>;
@group(0) @binding(16) var<storage, read_write> dbias: array<f32>;
@group(0) @binding(17) var<uniform> params: Params;

const COMPONENTS = vec4u(0u, 1u, 2u, 3u);

fn sum4(v: vec4f) -> f32 {
  return (v.x + v.y) + (v.z + v.w);
}

// The share of workgroup (c, segment, run): images [first_image, last_image), of each a segment of its row.
struct Share { c: u32, segment: u32, first_image: u32, last_image: u32 }

fn share_of(group: vec3u) -> Share {
  let image = group.z * params.run_images;
  return Share(group.x, group.y, image, min(params.images, image + params.run_images));
}

// The vec4s [first, last) of a segment of the row that begins at element `start`.
struct Part { first: u32, last: u32 }

fn part_of(start: u32, segment: u32) -> Part {
  let first = start / 4u + segment * params.blocks;
  return Part(first, min(first + params.blocks, (start + params.row + 3u) / 4u));
}

fn row_start(image: u32, c: u32) -> u32 {
  return (image * params.channels + c) * params.row;
}

fn inside(block: u32, start: u32) -> vec4<bool> {
  let at = 4u * block + COMPONENTS;
  return (at >= vec4u(start)) & (at < vec4u(start + params.row));
}

// ---- forward ----

fn value_at(at: u32) -> f32 { return f32(x[at / 4u][at % 4u]); }

// Of the values of a workgroup, or of a lane of it: mean (in x and w), m2, count.
fn moment_of(group: vec3u, lane: u32) -> vec4f {
  let mine = share_of(group);
  // Sums are about a typical value, so that neither a large mean nor an outlier costs digits: the median, of the run's images, of
  // the first one's first, the middle one's middle and the last one's last.
  let p0 = value_at(row_start(mine.first_image, mine.c));
  let p1 = value_at(row_start((mine.first_image + mine.last_image) / 2u, mine.c) + params.row / 2u);
  let p2 = value_at(row_start(mine.last_image - 1u, mine.c) + params.row - 1u);
  let pivot = max(min(p0, p1), min(max(p0, p1), p2));

  var sum = vec4f(0.0);
  var squares = vec4f(0.0);
  var count = vec4f(0.0);
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let start = row_start(image, mine.c);
    let part = part_of(start, mine.segment);
    for (var b = part.first + column; b < part.last; b += params.across) {
      let mask = inside(b, start);
      let d = select(vec4f(0.0), vec4f(x[b]) - pivot, mask);
      sum += d;
      squares = fma(d, d, squares);
      count += vec4f(mask);
    }
  }
  var total = vec3f(sum4(sum), sum4(squares), sum4(count));
  if (JOIN) { total = add_up(lane, total); }
  let shift = total.x / max(total.z, 1.0);
  // About the pivot the squares exceed those about the mean by n·shift². A NaN stays one.
  let m2 = total.y - total.x * shift;
  return vec4f(pivot, select(m2, 0.0, m2 < 0.0), total.z, shift);
}

// The numbers of a channel; its first workgroup keeps them for the backward pass.
fn channel(c: u32, mean_c: f32, rest: f32, variance_c: f32, first: bool) -> Channel {
  let inverse = 1.0 / sqrt(variance_c + params.eps);
  var scale = inverse;
  if (params.has_weight == 1u) { scale *= weight[c]; }
  var shift = -rest * scale;
  if (params.has_bias == 1u) { shift += bias[c]; }
  let k = Channel(mean_c, rest, inverse, scale, shift);
  if (first) { save[c] = k; }
  return k;
}

// z from x.
fn affine(v: vec4f, k: Channel) -> vec4f {
  return fma(v - k.mean, vec4f(k.scale), vec4f(k.shift));
}

// A NaN stays one: it is not below 0.
fn activate(v: vec4f) -> vec4f {
  if (params.relu == 1u) { return select(v, vec4f(0.0), v < vec4f(0.0)); }
  return v;
}

// A channel by its moments; its first workgroup moves the running statistics on.
fn batch_channel(c: u32, m: vec4f, first: bool) -> Channel {
  let variance_c = m.y / m.z;
  // A number close to the mean, and what is left of it. By bits: (m.x + m.w) − m.x a compiler may take for m.w.
  let mean_c = m.x + m.w;
  let near = bitcast<f32>(bitcast<u32>(mean_c) & 0xfffffff0u);
  let rest = (m.x - near) + m.w;
  if (first && params.running == 1u) {
    let keep = 1.0 - params.momentum;
    running_mean[c] = keep * running_mean[c] + params.momentum * mean_c;
    running_variance[c] = keep * running_variance[c] + params.momentum * (variance_c * params.unbiased);
  }
  return channel(c, near, rest, variance_c, first);
}

// Workgroup and lane that take a channel by themselves.
fn own(group: vec3u, lane: u32) -> vec4u {
  return select(vec4u(group.x * WG + lane, vec3u()), vec4u(group, lane), JOIN);
}

// ---- backward ----

fn masked(d: vec4f, z: vec4f) -> vec4f {
  if (params.relu == 1u) { return select(vec4f(0.0), d, z > vec4f(0.0)); }
  return d;
}

// Σ dz and Σ dz·x̂ of a workgroup, or of a lane of it.
fn joined(sum: vec4f, product: vec4f, k: Channel, lane: u32) -> vec2f {
  var total = vec3f(sum4(sum), sum4(product), 0.0);
  if (JOIN) { total = add_up(lane, total); }
  return vec2f(total.x, (total.y - k.rest * total.x) * k.inverse);
}

// dbias and dweight of channel c.
fn store_sums(c: u32, s: vec2f) {
  dbias[c] = s.x + select(0.0, dbias[c], params.add_bias == 1u);
  dweight[c] = s.y + select(0.0, dweight[c], params.add_weight == 1u);
}

// dx of four values v of x with dz: k of the channel, m its sums over M.
fn gradient(v: vec4f, dz: vec4f, k: Channel, m: vec2f) -> vec4f {
  return k.scale * (dz - m.x - ((v - k.mean) - k.rest) * (k.inverse * m.y));
}

fn put_gradient(at: u32, gradient: vec4f) {
  var dx = gradient;
  if (params.add_input == 1u) { dx += vec4f(result[at]); }
  result[at] = elem4(dx);
}
