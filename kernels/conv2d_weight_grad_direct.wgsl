// The gradient of a convolution with respect to its weight, any shape.
//   dw[co,ci,ky,kx] = Σ_n,oy,ox  dy[n,co,oy,ox] · x[n, g·cin/G + ci, oy·s − p + ky·d, ox·s − p + kx·d]
// The sum over the N·outH rows of dy is cut into `splits` runs of `rowsPerSplit` rows; one invocation sums one
// run for one weight into partial[split][weight]. conv2d_reduce adds the runs up in a fixed order.
alias elem = f32;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  splits: i32, rowsPerSplit: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

override WG: u32 = 64;

@compute @workgroup_size(WG)
fn conv2d_weight_grad_direct(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let window = params.kh * params.kw;
  let cinG = params.cin / params.groups;
  let coutG = params.cout / params.groups;
  let weights = params.cout * cinG * window;
  if (index >= params.splits * weights) { return; }
  let kx = index % params.kw;
  let ky = (index / params.kw) % params.kh;
  let i = (index / window) % cinG;
  let co = (index / (window * cinG)) % params.cout;
  let split = index / weights;
  let ci = (co / coutG) * cinG + i;

  // The columns ox whose ix = ox·s + shift lies in the image.
  let shift = kx * params.dilationW - params.padW;
  let first = max(0, (params.strideW - 1 - shift) / params.strideW);
  let last = min(params.outW - 1, select(-1, (params.w - 1 - shift) / params.strideW, params.w - 1 >= shift));

  var total = 0.0;
  let rows = params.n * params.outH;
  for (var r = split * params.rowsPerSplit; r < min(rows, (split + 1) * params.rowsPerSplit); r++) {
    let image = r / params.outH;
    let oy = r % params.outH;
    let iy = oy * params.strideH - params.padH + ky * params.dilationH;
    if (iy < 0 || iy >= params.h) { continue; }
    let source = ((image * params.cin + ci) * params.h + iy) * params.w + shift;
    let grad = ((image * params.cout + co) * params.outH + oy) * params.outW;
    var sum = 0.0;
    for (var ox = first; ox <= last; ox++) {
      sum += f32(dy[grad + ox]) * f32(x[source + ox * params.strideW]);
    }
    total += sum;
  }
  partial[index] = total;
}
