// What the adapter gives at most: multiply-adds that need no memory, and a copy that needs nothing else.

struct Params {
  count: u32,  // vec4s to copy
  rounds: u32, // fma: rounds of 32 multiply-adds a lane
  scale: f32,
  shift: f32,
}

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

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

@compute @workgroup_size(64)
fn copy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) { y[i] = x[i]; }
}

// A launch that does nothing (count is 0): what a launch costs.
@compute @workgroup_size(64)
fn nothing(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.count) { y[id.x] = vec4f(); }
}
