// The transpose of a convolution, any shape: its gradient with respect to x, and convTranspose2d.
//   dx[n,ci,iy,ix] = b[ci] + Σ_co,ky,kx  weight[co,ci,ky,kx] · dy[n, co, oy, ox]
//   over the (oy, ox) with oy·s − p + ky·d = iy and ox·s − p + kx·d = ix
// One invocation: one pixel of four input channels of one group.
alias elem = f32;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> dy: array<elem>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx: array<elem>;
@group(0) @binding(4) var<uniform> params: Params;

override WG: u32 = 64;

@compute @workgroup_size(WG)
fn conv2d_input_grad_direct(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let plane = params.h * params.w;
  let cinG = params.cin / params.groups;
  let coutG = params.cout / params.groups;
  let blocks = (cinG + 3) / 4;
  if (index >= params.n * params.groups * blocks * plane) { return; }
  let pixel = index % plane;
  let block = (index / plane) % blocks;
  let g = (index / (plane * blocks)) % params.groups;
  let image = index / (plane * blocks * params.groups);
  let iy = pixel / params.w;
  let ix = pixel % params.w;

  let window = params.kh * params.kw;
  let local = min(vec4i(block * 4) + vec4i(0, 1, 2, 3), vec4i(cinG - 1));
  let column = local * window;

  var sum = vec4f(0.0);
  for (var ky = 0; ky < params.kh; ky++) {
    let sy = iy + params.padH - ky * params.dilationH;
    let oy = sy / params.strideH;
    if (sy < 0 || oy * params.strideH != sy || oy >= params.outH) { continue; }
    for (var kx = 0; kx < params.kw; kx++) {
      let sx = ix + params.padW - kx * params.dilationW;
      let ox = sx / params.strideW;
      if (sx < 0 || ox * params.strideW != sx || ox >= params.outW) { continue; }
      for (var i = 0; i < coutG; i++) {
        let co = g * coutG + i;
        let tap = column + (co * cinG * window + ky * params.kw + kx);
        let a = vec4f(weight[tap.x], weight[tap.y], weight[tap.z], weight[tap.w]);
        sum += a * f32(dy[((image * params.cout + co) * params.outH + oy) * params.outW + ox]);
      }
    }
  }
  for (var i = 0; i < min(4, cinG - block * 4); i++) {
    let ci = g * cinG + local[i];
    var value = sum[i];
    if (params.hasBias != 0u) { value += bias[ci]; }
    let at = (image * params.cin + ci) * plane + pixel + params.offset + image * params.gap;
    if (params.accumulate != 0u) { value += f32(dx[at]); }
    if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
    dx[at] = elem(value);
  }
}
