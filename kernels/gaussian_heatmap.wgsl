// y[n, v, u] = exp(−((u − cx)² + (v − cy)²)·k),  k = 1 / 2σ²;   dcx = Σ dy·y·2k·(u − cx), dcy likewise.

// include: parts/divide.wgsl

struct Params { images: u32, height: u32, width: u32, k: f32 }

@group(0) @binding(0) var<storage, read> centers: array<f32>;
@group(0) @binding(1) var<storage, read> heat: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

// One invocation a pixel; z counts images.
@compute @workgroup_size(8, 8)
fn gaussian_heatmap(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.width || id.y >= params.height) { return; }
  for (var n = id.z; n < params.images; n += groups.z) {
    let d = vec2f(f32(id.x), f32(id.y)) - vec2f(centers[2u * n], centers[2u * n + 1u]);
    y[(n * params.height + id.y) * params.width + id.x] = exp(-dot(d, d) * params.k);
  }
}

var<workgroup> partial: array<vec2f, 64>;

// One workgroup an image; y is the gradient of the centres here.
@compute @workgroup_size(64)
fn gaussian_heatmap_grad(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = group.x + group.y * groups.x;
  let area = params.height * params.width;
  var sum = vec2f(0.0);
  if (n < params.images) {
    let center = vec2f(centers[2u * n], centers[2u * n + 1u]);
    for (var j = lane; j < area; j += 64u) {
      let row = divide(j, params.width);
      let at = vec2f(f32(j - row * params.width), f32(row));
      sum += dy[n * area + j] * heat[n * area + j] * (at - center);
    }
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u && n < params.images) {
    y[2u * n] = 2.0 * params.k * partial[0].x;
    y[2u * n + 1u] = 2.0 * params.k * partial[0].y;
  }
}
