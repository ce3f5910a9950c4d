// Samples images at given positions, and the two gradients of doing so. Every warp is this after its own map.
//
//   y[m, c, v, u] = Σ_taps w·x[image(m), c, tap]          taps and weights from at[m, v, u] = (px, py)
//   dx[tap]      += w·dy                                   a scatter
//   dat           = Σ_c dy·(∂w/∂px, ∂w/∂py)·x
//
// The scatter has to give the same bits in any order, and WGSL has no float atomics. So each term is scaled by
// a power of two that puts max|dy| times the number of terms just under 2^62, cut to a 64-bit integer and
// added as two words with a carry: integers add in any order to the same sum. Its resolution is
// max|dy|·2^(⌈log2 terms⌉ − 61): for 2^20 samples an image, 2^-41 of the largest gradient.

struct Params {
  images: u32,   // N of x
  channels: u32,
  in_h: u32,
  in_w: u32,
  outputs: u32,  // M: leading size of `at` and y
  out_h: u32,
  out_w: u32,
  groups: u32,   // invocations that share the channels of one position
  headroom: i32, // ⌈log2 of the samples that can fall on one image⌉
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> at: array<vec2f>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<f32>;
@group(0) @binding(5) var<storage, read_write> dat: array<vec2f>;
@group(0) @binding(6) var<storage, read_write> sums: array<atomic<u32>>;
@group(0) @binding(7) var<storage, read_write> peak: array<atomic<u32>>;
@group(0) @binding(8) var<storage, read> found_peak: array<u32>;
@group(0) @binding(9) var<storage, read> found_sums: array<vec2u>;
@group(0) @binding(10) var<uniform> params: Params;

const ZEROS = 0u;
const BORDER = 1u;
const REFLECT_EDGES = 2u;   // about −0.5 and size − 0.5
const REFLECT_CENTERS = 3u; // about 0 and size − 1
const WRAP = 4u;
override PAD_X: u32 = 0;
override PAD_Y: u32 = 0;

const BILINEAR = 0u;
const NEAREST_EVEN = 1u; // halves to the even pixel, PyTorch's gridSample
const NEAREST_UP = 2u;   // halves to the greater pixel
override MODE: u32 = 0;

override INDEXED: u32 = 0; // 1: index[m] names the image of output m; else it is m, or the only one

// Along one axis: the two pixels (−1: outside, counts as zero), the weight of `hi`, and d weight / d position.
struct Tap { lo: i32, hi: i32, t: f32, slope: f32 }

// The position folded into the image, and d folded / d position.
fn fold(p: f32, size: f32, pad: u32) -> vec2f {
  if (pad == WRAP) { return vec2f(p, 1.0); }
  // Farther out there is nothing but zeros.
  if (pad == ZEROS) { return vec2f(clamp(p, -2.0, size + 1.0), 1.0); }
  if (p > 0.0 && p < size - 1.0) { return vec2f(p, 1.0); }
  var c = p;
  var sign = 1.0;
  if (pad != BORDER) {
    let low = select(0.0, -0.5, pad == REFLECT_EDGES);
    let span = size - select(1.0, 0.0, pad == REFLECT_EDGES);
    if (span <= 0.0) { return vec2f(0.0); }
    var q = p - low;
    if (q < 0.0) { q = -q; sign = -1.0; }
    let flips = floor(q / span);
    q -= flips * span;
    if (flips - 2.0 * floor(flips * 0.5) == 1.0) { q = span - q; sign = -sign; }
    c = q + low;
  }
  let inside = c > 0.0 && c < size - 1.0;
  return vec2f(clamp(c, 0.0, size - 1.0), select(0.0, sign, inside));
}

fn bounded(i: i32, size: i32, pad: u32) -> i32 {
  if (pad == WRAP) {
    let r = i % size;
    return select(r, r + size, r < 0);
  }
  return select(-1, i, i >= 0 && i < size);
}

fn tap(p: f32, size: u32, pad: u32) -> Tap {
  let folded = fold(p, f32(size), pad);
  let c = folded.x;
  if (MODE == NEAREST_EVEN) { return Tap(bounded(i32(round(c)), i32(size), pad), -1, 0.0, 0.0); }
  if (MODE == NEAREST_UP) { return Tap(bounded(i32(floor(c + 0.5)), i32(size), pad), -1, 0.0, 0.0); }
  let low = floor(c);
  return Tap(bounded(i32(low), i32(size), pad), bounded(i32(low) + 1, i32(size), pad), c - low, folded.y);
}

// The image of output m; −1 if there is none.
fn image_of(m: u32) -> i32 {
  if (INDEXED != 0u) {
    let i = index[m];
    return select(-1, i, i >= 0 && i < i32(params.images));
  }
  return select(i32(m), 0, params.images == 1u);
}

fn pixel(base: u32, row: i32, column: i32) -> f32 {
  if (row < 0 || column < 0) { return 0.0; }
  return x[base + u32(row) * params.in_w + u32(column)];
}

// One invocation a position and group of channels.
@compute @workgroup_size(64)
fn sample(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.out_h * params.out_w;
  let count = params.outputs * area;
  if (i >= count * params.groups) { return; }
  let j = i % count;
  let m = j / area;
  let image = image_of(m);
  let p = at[j];
  let tx = tap(p.x, params.in_w, PAD_X);
  let ty = tap(p.y, params.in_h, PAD_Y);
  for (var c = i / count; c < params.channels; c += params.groups) {
    let o = (m * params.channels + c) * area + j % area;
    if (image < 0) {
      y[o] = 0.0;
      continue;
    }
    let base = (u32(image) * params.channels + c) * params.in_h * params.in_w;
    if (MODE != BILINEAR) {
      y[o] = pixel(base, ty.lo, tx.lo);
      continue;
    }
    let above = (1.0 - tx.t) * pixel(base, ty.lo, tx.lo) + tx.t * pixel(base, ty.lo, tx.hi);
    let below = (1.0 - tx.t) * pixel(base, ty.hi, tx.lo) + tx.t * pixel(base, ty.hi, tx.hi);
    y[o] = (1.0 - ty.t) * above + ty.t * below;
  }
}

// One invocation a position: dat, summed over the channels in their order.
@compute @workgroup_size(64)
fn slope(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.out_h * params.out_w;
  if (i >= params.outputs * area) { return; }
  let m = i / area;
  let image = image_of(m);
  var sum = vec2f(0.0);
  if (image >= 0 && MODE == BILINEAR) {
    let p = at[i];
    let tx = tap(p.x, params.in_w, PAD_X);
    let ty = tap(p.y, params.in_h, PAD_Y);
    for (var c = 0u; c < params.channels; c++) {
      let base = (u32(image) * params.channels + c) * params.in_h * params.in_w;
      let a = pixel(base, ty.lo, tx.lo);
      let b = pixel(base, ty.lo, tx.hi);
      let d = pixel(base, ty.hi, tx.lo);
      let e = pixel(base, ty.hi, tx.hi);
      let g = dy[(m * params.channels + c) * area + i % area];
      sum += g * vec2f(mix(b - a, e - d, ty.t), mix(d - a, e - b, tx.t));
    }
    sum *= vec2f(tx.slope, ty.slope);
  }
  dat[i] = sum;
}

var<workgroup> highest: atomic<u32>;

// peak[0] = bits of max|dy|: the bits of floats ≥ 0 are ordered as the floats are, infinity and NaN above all.
@compute @workgroup_size(64)
fn find_peak(
  @builtin(global_invocation_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let count = params.outputs * params.channels * params.out_h * params.out_w;
  var top = 0u;
  for (var i = id.x; i < count; i += groups.x * 64u) {
    top = max(top, bitcast<u32>(dy[i]) & 0x7fffffffu);
  }
  atomicMax(&highest, top);
  workgroupBarrier();
  if (lane == 0u) { atomicMax(&peak[0], atomicLoad(&highest)); }
}

const INFINITY_BITS = 0x7f800000u;

// Fixed point: value·2^exponent counts units of the upper word.
fn exponent() -> i32 {
  return clamp(29 - params.headroom - (i32(found_peak[0] >> 23u) - 127), -126, 126);
}

fn power_of_two(e: i32) -> f32 {
  return bitcast<f32>(u32(e + 127) << 23u);
}

fn add(base: u32, row: i32, column: i32, value: f32, scale: f32) {
  if (row < 0 || column < 0 || value == 0.0) { return; }
  let magnitude = abs(value) * scale;
  let whole = floor(magnitude);
  var hi = u32(whole);
  var lo = u32((magnitude - whole) * 4294967296.0);
  if (value < 0.0) {
    lo = ~lo + 1u;
    hi = ~hi + select(0u, 1u, lo == 0u);
  }
  let word = 2u * (base + u32(row) * params.in_w + u32(column));
  let before = atomicAdd(&sums[word], lo);
  hi += select(0u, 1u, before > ~lo);
  if (hi != 0u) { atomicAdd(&sums[word + 1u], hi); }
}

// One invocation a position and group of channels.
@compute @workgroup_size(64)
fn scatter(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.out_h * params.out_w;
  let count = params.outputs * area;
  if (i >= count * params.groups || found_peak[0] >= INFINITY_BITS) { return; }
  let j = i % count;
  let m = j / area;
  let image = image_of(m);
  if (image < 0) { return; }
  let scale = power_of_two(exponent());
  let p = at[j];
  let tx = tap(p.x, params.in_w, PAD_X);
  let ty = tap(p.y, params.in_h, PAD_Y);
  for (var c = i / count; c < params.channels; c += params.groups) {
    let base = (u32(image) * params.channels + c) * params.in_h * params.in_w;
    let g = dy[(m * params.channels + c) * area + j % area];
    add(base, ty.lo, tx.lo, (1.0 - ty.t) * (1.0 - tx.t) * g, scale);
    if (MODE != BILINEAR) { continue; }
    add(base, ty.lo, tx.hi, (1.0 - ty.t) * tx.t * g, scale);
    add(base, ty.hi, tx.lo, ty.t * (1.0 - tx.t) * g, scale);
    add(base, ty.hi, tx.hi, ty.t * tx.t * g, scale);
  }
}

// y = the sums as floats; NaN everywhere if dy held infinity or NaN.
@compute @workgroup_size(64)
fn finish(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.images * params.channels * params.in_h * params.in_w) { return; }
  let top = found_peak[0];
  if (top >= INFINITY_BITS) {
    y[i] = bitcast<f32>(top | 0x7fc00000u);
    return;
  }
  var lo = found_sums[i].x;
  var hi = found_sums[i].y;
  let negative = hi >= 0x80000000u;
  if (negative) {
    lo = ~lo + 1u;
    hi = ~hi + select(0u, 1u, lo == 0u);
  }
  let magnitude = (f32(hi) + f32(lo) * 2.3283064365386963e-10) * power_of_two(-exponent());
  y[i] = select(magnitude, -magnitude, negative);
}
