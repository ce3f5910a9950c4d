// Gradient of a convolution with respect to its bias: db[c] = Σ_n,pixel dy[n,c,pixel]. Each plane of dy is cut
// into `splits` runs; a workgroup sums one run of one channel over all images. A single run goes straight to its place,
// several to partial[split][c], which conv2d_reduce adds up. dy may be channels of a larger array: image n lies
// sourceOffset + n·sourceGap further than in a dense one.  VEC: a plane is a multiple of four pixels, read as vec4f, which
// pixels and these two count.
alias elem = f32;
alias elem4 = vec4f;
alias Sum = f32;
override WG: u32 = 64;

struct Params {
  n: u32, cout: u32, pixels: u32, splits: u32, perSplit: u32,
  sourceOffset: u32, sourceGap: u32,
}
@group(0) @binding(0) var<storage, read> dy: array<elem>;
@group(0) @binding(1) var<storage, read> dy4: array<elem4>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

override VEC: bool = false;
override ACCUMULATE: bool = false;

@compute @workgroup_size(WG)
fn conv2d_bias_grad(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = group.x + group.y * count.x;
  let c = index % params.cout;
  let first = index / params.cout * params.perSplit;
  let last = min(params.pixels, first + params.perSplit);
  var total = 0.0;
  for (var image = 0u; image < params.n; image++) {
    let plane = (image * params.cout + c) * params.pixels + params.sourceOffset + image * params.sourceGap;
    var sum = vec4f();
    for (var p = first + lane; p < last; p += WG) {
      if (VEC) { sum += vec4f(dy4[plane + p]); } else { sum.x += f32(dy[plane + p]); }
    }
    total += (sum.x + sum.y) + (sum.z + sum.w);
  }
  total = add_up(lane, total);
  if (lane == 0u && index < params.splits * params.cout) {
    if (ACCUMULATE) { total += partial[index]; }
    partial[index] = total;
  }
}
