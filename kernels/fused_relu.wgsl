// The gradient through a ReLU that was fused into the op before it, by the op's output:
//   dz = dy where y > 0, else 0

alias elem4 = vec4f;

struct Params { count: u32, turns: u32 }  // vec4s, parts/turns.wgsl

@group(0) @binding(0) var<storage, read> y: array<elem4>;
@group(0) @binding(1) var<storage, read> dy: array<elem4>;
@group(0) @binding(2) var<storage, read_write> dz: array<elem4>;
@group(0) @binding(3) var<uniform> params: Params;

// include: parts/turns.wgsl

@compute @workgroup_size(64)
fn fused_relu_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    dz[i] = elem4(select(vec4f(0.0), vec4f(dy[i]), vec4f(y[i]) > vec4f(0.0)));
  }
}
