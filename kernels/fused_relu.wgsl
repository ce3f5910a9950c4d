// The gradient through a ReLU that was fused into the op before it, by the op's output:
//   dz = dy where y > 0, else 0

struct Params { count: u32 }  // vec4s

@group(0) @binding(0) var<storage, read> y: array<vec4f>;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dz: array<vec4f>;
@group(0) @binding(3) var<uniform> params: Params;

@compute @workgroup_size(64)
fn fused_relu_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) {
    dz[i] = select(vec4f(0.0), dy[i], y[i] > vec4f(0.0));
  }
}
