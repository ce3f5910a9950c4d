// What the adapter gives at most: multiply-adds that need no memory, a copy that needs nothing else, and values loaded one
// by one from places that move on evenly, as a warp of an image does.

struct Params {
  count: u32,  // vec4s to copy
  rounds: u32, // what a lane does: 32 multiply-adds each, a pixel that it gathers, a vec4 that it copies
  scale: f32,
  shift: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;
@group(0) @binding(3) var<storage, read> pixels: array<f32>;
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;

// 32 independent accumulators (eight vec4s): enough to hide the latency of a multiply-add.
@compute @workgroup_size(64)
fn fma_loop(@builtin(global_invocation_id) id: vec3u) {
  let s = vec4f(params.scale);
  let t = vec4f(params.shift);
  let v = vec4f(f32(id.x));
  var a = v; var b = v + 1.0; var c = v + 2.0; var d = v + 3.0;
  var e = v + 4.0; var f = v + 5.0; var g = v + 6.0; var h = v + 7.0;
  for (var i = 0u; i < params.rounds; i++) {
    a = fma(a, s, t); b = fma(b, s, t); c = fma(c, s, t); d = fma(d, s, t);
    e = fma(e, s, t); f = fma(f, s, t); g = fma(g, s, t); h = fma(h, s, t);
  }
  y[id.x] = a + b + c + d + e + f + g + h;
}

// A workgroup `rounds` runs of 64 vec4s, one behind the other. An invocation costs a CPU driver as much as a vec4 does, so that one
// vec4 each is no ceiling there.
@compute @workgroup_size(64)
fn copy(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  var i = (group.x + group.y * groups.x) * params.rounds * 64u + lane;
  for (var k = 0u; k < params.rounds; k++) {
    if (i < params.count) { y[i] = x[i]; }
    i += 64u;
  }
}

// One invocation `rounds` pixels below each other of a turned image of 256²: the sum of the four pixels about each.
@compute @workgroup_size(64)
fn gather(@builtin(global_invocation_id) id: vec3u) {
  let plane = i32(id.z) * 65536;
  let v = i32(id.y * params.rounds);
  var row = 13056 + 245 * v - 51 * i32(id.x); // in 1/256 px, as the column
  var column = 51 * v + 243 * i32(id.x);
  var to = plane + 256 * v + i32(id.x);
  for (var k = 0u; k < params.rounds; k++) {
    let at = plane + (((row & -256) + (column >> 8u)) & 65535);
    sums[to] = pixels[at] + pixels[at + 1] + pixels[at + 256] + pixels[at + 257];
    row += 245;
    column += 51;
    to += 256;
  }
}

// A launch that does nothing (count is 0): what a launch costs.
@compute @workgroup_size(64)
fn nothing(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = vec4f(); }
}
