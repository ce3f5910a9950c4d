// Convolution, any shape (N, C, H, W): stride, padding, dilation, groups.
//   y[n,co,oy,ox] = b[co] + Σ_ci,ky,kx  weight[co,ci,ky,kx] · x[n, g·cin/G + ci, oy·s − p + ky·d, ox·s − p + kx·d]
// One invocation: one pixel of four output channels of one group, so that a loaded x serves four FMAs.
alias elem = f32;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<elem>;
@group(0) @binding(4) var<uniform> params: Params;

override WG: u32 = 64;

@compute @workgroup_size(WG)
fn conv2d_direct(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let plane = params.outH * params.outW;
  let cinG = params.cin / params.groups;
  let coutG = params.cout / params.groups;
  let blocks = (coutG + 3) / 4;
  if (index >= params.n * params.groups * blocks * plane) { return; }
  let pixel = index % plane;
  let block = (index / plane) % blocks;
  let g = (index / (plane * blocks)) % params.groups;
  let image = index / (plane * blocks * params.groups);
  let oy = pixel / params.outW;
  let ox = pixel % params.outW;

  // Channels beyond the group repeat its last one; they are computed and not stored.
  let co = min(vec4i(block * 4) + vec4i(0, 1, 2, 3), vec4i(coutG - 1)) + g * coutG;
  let window = params.kh * params.kw;
  let row = co * (cinG * window);
  let iy0 = oy * params.strideH - params.padH;
  let ix0 = ox * params.strideW - params.padW;

  var sum = vec4f(0.0);
  for (var ci = 0; ci < cinG; ci++) {
    let source = (image * params.cin + g * cinG + ci) * params.h;
    for (var ky = 0; ky < params.kh; ky++) {
      let iy = iy0 + ky * params.dilationH;
      if (iy < 0 || iy >= params.h) { continue; }
      for (var kx = 0; kx < params.kw; kx++) {
        let ix = ix0 + kx * params.dilationW;
        if (ix < 0 || ix >= params.w) { continue; }
        let tap = row + (ci * window + ky * params.kw + kx);
        let a = vec4f(weight[tap.x], weight[tap.y], weight[tap.z], weight[tap.w]);
        sum += a * f32(x[(source + iy) * params.w + ix]);
      }
    }
  }
  for (var i = 0; i < min(4, coutG - block * 4); i++) {
    var value = sum[i];
    if (params.hasBias != 0u) { value += bias[co[i]]; }
    let at = (image * params.cout + co[i]) * plane + pixel + params.offset + image * params.gap;
    if (params.accumulate != 0u) { value += f32(y[at]); }
    if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
    y[at] = elem(value);
  }
}
