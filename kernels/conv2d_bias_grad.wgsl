// The gradient of a convolution with respect to its bias: db[c] = Σ_n,pixel dy[n,c,pixel], cut into
// `splits` runs of images and rows like the weight gradient: partial[split][c], which conv2d_reduce adds up.
struct Params {
  n: i32, cout: i32, outH: i32, outW: i32, splits: i32, rowsPerSplit: i32,
}
@group(0) @binding(0) var<storage, read> dy: array<f32>;
@group(0) @binding(1) var<storage, read_write> partial: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

override WG: u32 = 64;

@compute @workgroup_size(WG)
fn conv2d_bias_grad(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  if (index >= params.splits * params.cout) { return; }
  let c = index % params.cout;
  let split = index / params.cout;
  let rows = params.n * params.outH;
  var total = 0.0;
  for (var r = split * params.rowsPerSplit; r < min(rows, (split + 1) * params.rowsPerSplit); r++) {
    let at = ((r / params.outH * params.cout + c) * params.outH + r % params.outH) * params.outW;
    var sum = 0.0;
    for (var ox = 0; ox < params.outW; ox++) { sum += dy[at + ox]; }
    total += sum;
  }
  partial[index] = total;
}
