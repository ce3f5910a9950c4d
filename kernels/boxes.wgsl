// Boxes (left, top, width, height) in pixels: around all foreground of an image, and squared for a crop.

// include: parts/divide.wgsl

struct Params {
  words: u32,         // pieces of 32 pixels of a row, of all images
  row_words: u32,     // ⌈width / 32⌉
  images: u32,
  boxes: u32,
  height: u32,
  width: u32,
  threshold: f32,     // foreground is x > threshold
  padding: f32,       // px, every side
  min_size: f32,      // px
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(0) var<storage, read> wide_x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> extent: array<atomic<u32>>;
@group(0) @binding(2) var<storage, read> given: array<f32>;
@group(0) @binding(3) var<storage, read_write> boxes: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

fn invocation(id: vec3u, groups: vec3u) -> u32 { return id.x + id.y * groups.x * 64u; }

// NaN is background; WGSL may assume that there is none, so it is told by its bits.
fn above(value: vec4f, limit: f32) -> vec4<bool> {
  return (value > vec4f(limit)) & ((bitcast<vec4u>(value) & vec4u(0x7fffffffu)) <= vec4u(0x7f800000u));
}

fn raise(at: u32, value: u32) {
  if (value > atomicLoad(&extent[at])) { atomicMax(&extent[at], value); }
}

// extent: width − left, right, height − top, bottom of each image, all 0 where it is empty.
fn extend(word: u32, ones: u32) {
  if (ones == 0u) { return; }
  let line = divide(word, params.row_words);
  let column = 32u * (word - line * params.row_words);
  let image = divide(line, params.height);
  let at = 4u * image;
  let row = line - image * params.height;
  raise(at, params.width - column - countTrailingZeros(ones));
  raise(at + 1u, column + 32u - countLeadingZeros(ones));
  raise(at + 2u, params.height - row);
  raise(at + 3u, row + 1u);
}

@compute @workgroup_size(64)
fn find_extent(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let row = divide(word, params.row_words);
  let column = 32u * (word - row * params.row_words);
  let n = min(32u, params.width - column);
  var ones = 0u;
  for (var k = 0u; k < n; k++) {
    ones |= select(0u, 1u << k, above(vec4f(x[row * params.width + column + k]), params.threshold).x);
  }
  extend(word, ones);
}

// The same where 32 divides the width.
@compute @workgroup_size(64)
fn find_extent_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  var ones = 0u;
  for (var k = 0u; k < 8u; k++) {
    let four = select(vec4u(), vec4u(1u, 2u, 4u, 8u), above(wide_x[8u * word + k], params.threshold));
    ones |= (four.x | four.y | four.z | four.w) << (4u * k);
  }
  extend(word, ones);
}

// One invocation an image: padded on every side, clipped to the image; the whole image where it is empty.
@compute @workgroup_size(64)
fn box_extent(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = invocation(id, groups);
  if (i >= params.images) { return; }
  let size = vec2f(f32(params.width), f32(params.height));
  var low = vec2f();
  var high = size;
  if (atomicLoad(&extent[4u * i + 1u]) > 0u) {
    let first = vec2u(params.width - atomicLoad(&extent[4u * i]), params.height - atomicLoad(&extent[4u * i + 2u]));
    let last = vec2u(atomicLoad(&extent[4u * i + 1u]), atomicLoad(&extent[4u * i + 3u]));
    low = max(vec2f(first) - params.padding, low);
    high = min(vec2f(last) + params.padding, high);
  }
  put(i, low, high - low);
}

fn put(i: u32, corner: vec2f, size: vec2f) {
  boxes[4u * i] = corner.x;
  boxes[4u * i + 1u] = corner.y;
  boxes[4u * i + 2u] = size.x;
  boxes[4u * i + 3u] = size.y;
}

// Square to the larger side about the centre, pad, shift into the image; larger than it: clip. Dropped: zeros.
@compute @workgroup_size(64)
fn square(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = invocation(id, groups);
  if (i >= params.boxes) { return; }
  let corner = vec2f(given[4u * i], given[4u * i + 1u]);
  let sides = vec2f(given[4u * i + 2u], given[4u * i + 3u]);
  let image = vec2f(f32(params.width), f32(params.height));
  let side = max(sides.x, sides.y) + 2.0 * params.padding;
  let size = min(vec2f(side), image);
  let shifted = clamp(corner + 0.5 * (sides - side), vec2f(), image - size);
  let dropped = !(sides.x > 0.0 && sides.y > 0.0) || min(size.x, size.y) < params.min_size;
  put(i, select(shifted, vec2f(), dropped), select(size, vec2f(), dropped));
}
