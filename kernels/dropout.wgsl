// Inverted dropout: y = x · scale where a random number is at or above the threshold, else 0. The numbers are
// Philox 4×32-10 (Salmon, Moraes, Dror, Shaw 2011): block i of a draw gives those of elements 4 i … 4 i + 3,
// so the backward pass computes the same mask from the same draw.

alias elem4 = vec4f;

struct Params {
  count: u32,        // vec4s
  turns: u32,        // parts/turns.wgsl
  threshold: u32,    // p · 2³²
  scale: f32,        // 1 / (1 - p)
  key_low: u32,
  key_high: u32,
  counter_low: u32,  // first block of the draw
  counter_high: u32,
}

@group(0) @binding(0) var<storage, read> x: array<elem4>;
@group(0) @binding(1) var<storage, read_write> y: array<elem4>;
@group(0) @binding(2) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read_write> bits: array<vec4u>;

// Upper 32 bits of a product, from halves of 16 bits.
fn high(p: u32, q: u32) -> u32 {
  let p0 = p & 0xffffu;
  let p1 = p >> 16u;
  let q0 = q & 0xffffu;
  let q1 = q >> 16u;
  let low = p0 * q0;
  let middle = p1 * q0 + (low >> 16u);
  let other = p0 * q1 + (middle & 0xffffu);
  return p1 * q1 + (middle >> 16u) + (other >> 16u);
}

fn philox(block: vec4u, start: vec2u) -> vec4u {
  var c = block;
  var key = start;
  for (var round = 0u; round < 10u; round++) {
    let p = 0xd2511f53u;
    let q = 0xcd9e8d57u;
    c = vec4u(high(q, c.z) ^ c.y ^ key.x, q * c.z, high(p, c.x) ^ c.w ^ key.y, p * c.x);
    key += vec2u(0x9e3779b9u, 0xbb67ae85u);
  }
  return c;
}

fn random(i: u32) -> vec4u {
  let low = params.counter_low + i;
  let carry = select(0u, 1u, low < i);
  return philox(vec4u(low, params.counter_high + carry, 0u, 0u), vec2u(params.key_low, params.key_high));
}

// include: parts/turns.wgsl

@compute @workgroup_size(64)
fn dropout(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    y[i] = elem4(select(vec4f(0.0), vec4f(x[i]) * params.scale, random(i) >= vec4u(params.threshold)));
  }
}

// The numbers themselves, for tests.
@compute @workgroup_size(64)
fn numbers(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    bits[i] = random(i);
  }
}
