// Gradient of a convolution with respect to its bias: db[c] = Σ_n,pixel dy[n,c,pixel]. Each plane of dy is cut
// into `splits` runs; an invocation sums one run of one channel over all images into partial[split][c], and
// conv2d_reduce adds the runs up.  VEC: a plane is a multiple of four pixels, read as vec4f (pixels counts these).
alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: u32, cout: u32, pixels: u32, splits: u32, perSplit: u32,
}
@group(0) @binding(0) var<storage, read> dy: array<elem>;
@group(0) @binding(1) var<storage, read> dy4: array<elem4>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

override WG: u32 = 64;
override VEC: bool = false;

@compute @workgroup_size(WG)
fn conv2d_bias_grad(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = (group.x + group.y * count.x) * WG + lane;
  if (index >= params.splits * params.cout) { return; }
  let c = index / params.splits;
  let split = index % params.splits;
  let first = split * params.perSplit;
  let last = min(params.pixels, first + params.perSplit);
  var total = 0.0;
  for (var image = 0u; image < params.n; image++) {
    let plane = (image * params.cout + c) * params.pixels;
    var sum = vec4f();
    for (var p = first; p < last; p++) {
      if (VEC) { sum += vec4f(dy4[plane + p]); } else { sum.x += f32(dy[plane + p]); }
    }
    total += (sum.x + sum.y) + (sum.z + sum.w);
  }
  partial[split * params.cout + c] = total;
}
