// float32 to half precision (rounded to the nearest, in the adapter's way) and back (exact), by vec4s. Runs
// in its half form only: in the file as it stands both sides are float32.

alias elem4 = vec4f;

struct Params { count: u32, turns: u32 }  // vec4s, parts/turns.wgsl

@group(0) @binding(0) var<storage, read> x: array<vec4f>;
@group(0) @binding(1) var<storage, read_write> half_y: array<elem4>;
@group(0) @binding(0) var<storage, read> half_x: array<elem4>;
@group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

// include: parts/turns.wgsl

@compute @workgroup_size(64)
fn to_half(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) { half_y[i] = elem4(x[i]); }
}

@compute @workgroup_size(64)
fn from_half(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) { y[i] = vec4f(half_x[i]); }
}
