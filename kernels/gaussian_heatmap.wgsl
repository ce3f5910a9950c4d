// y[n, v, u] = exp(−((u − cx)² + (v − cy)²)·k),  k = 1 / 2σ²;   dcx = Σ dy·y·2k·(u − cx), dcy likewise.
// exp(−a)·exp(−b) for exp(−(a + b)): where a factor underflows, so does the product.

// include: parts/divide.wgsl

struct Params { images: u32, height: u32, width: u32, k: f32 }

@group(0) @binding(0) var<storage, read> centers: array<f32>;
@group(0) @binding(1) var<storage, read> heat: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

override WX: u32 = 8;
override WY: u32 = 8;
override ROWS: u32 = 1; // below each other that one invocation takes

// One invocation four columns of ROWS rows, as the product of a factor a column and one a row; z counts images. Past the last
// column and row the last again.
@compute @workgroup_size(WX, WY)
fn gaussian_heatmap(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (4u * id.x >= params.width || ROWS * id.y >= params.height) { return; }
  let columns = min(vec4u(4u * id.x) + vec4u(0u, 1u, 2u, 3u), vec4u(params.width - 1u));
  for (var n = id.z; n < params.images; n += groups.z) {
    let across = vec4f(columns) - centers[2u * n];
    let factors = exp(-(across * across) * params.k);
    for (var i = 0u; i < ROWS; i++) {
      let row = min(ROWS * id.y + i, params.height - 1u);
      let down = f32(row) - centers[2u * n + 1u];
      let four = exp(-(down * down) * params.k) * factors;
      let at = (n * params.height + row) * params.width + columns;
      y[at.x] = four.x;
      y[at.y] = four.y;
      y[at.z] = four.z;
      y[at.w] = four.w;
    }
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
