// Convolutions as products with patches, for CPU drivers: images in rows that a product reads or wrote.
//   conv2d_patches_pack  patches[n, k, p] = x[n, ci, oy·s − pad + ky·d, ox·s − pad + kx·d]       (zero outside)
//   conv2d_patches_sum   dx[n, ci, q] = b[ci] + Σ_ky,kx patches[n, k, p]  over the p whose tap (ky, kx) is q
// with k = (ci, ky, kx), p = (oy, ox). To be packed, patches have `line` elements a row, a multiple of four, zeros behind
// the last pixel; to be summed outH·outW, as a product writes them. Either reads each value once a tap and multiplies
// nothing: beside a product with some dozens of channels that is little.
alias elem = f32;

struct Params {
  n: i32, cin: i32, h: i32, w: i32, outH: i32, outW: i32, line: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read_write> patches4: array<vec4f>;
@group(0) @binding(2) var<storage, read> patches: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<uniform> params: Params;

override WG: u32 = 64;

// include: parts/over.wgsl

struct Tap { channel: i32, y: i32, x: i32 }

// The k-th of a patch: channel of all images, and where its tap lies from a window's corner.
fn tap_of(k: i32) -> Tap {
  let taps = params.kh * params.kw;
  let channel = over(k, taps);
  let tap = k - channel * taps;
  let ky = over(tap, params.kw);
  return Tap(channel, ky * params.dilationH - params.padH, (tap - ky * params.kw) * params.dilationW - params.padW);
}

fn value_at(tap: Tap, p: i32) -> f32 {
  let oy = over(p, params.outW);
  let iy = oy * params.strideH + tap.y;
  let ix = (p - oy * params.outW) * params.strideW + tap.x;
  let inside = (p < params.outH * params.outW) & (iy >= 0) & (iy < params.h) & (ix >= 0) & (ix < params.w);
  if (!inside) { return 0.0; }
  return f32(x[(tap.channel * params.h + iy) * params.w + ix]);
}

@compute @workgroup_size(WG)
fn conv2d_patches_pack(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = i32((group.x + group.y * count.x) * WG + lane);
  let quads = params.line / 4;
  let k = over(i, quads);
  if (k >= params.n * params.cin * params.kh * params.kw) { return; }
  let tap = tap_of(k);
  let p = (i - k * quads) * 4;
  patches4[i] = vec4f(value_at(tap, p), value_at(tap, p + 1), value_at(tap, p + 2), value_at(tap, p + 3));
}

@compute @workgroup_size(WG)
fn conv2d_patches_sum(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = i32((group.x + group.y * count.x) * WG + lane);
  let row = over(i, params.w);
  let channel = over(row, params.h);
  if (channel >= params.n * params.cin) { return; }
  let qx = i - row * params.w + params.padW;
  let qy = row - channel * params.h + params.padH;
  let image = over(channel, params.cin);
  var sum = 0.0;
  for (var ky = 0; ky < params.kh; ky++) {
    let fromY = qy - ky * params.dilationH;
    let oy = over(max(fromY, 0), params.strideH);
    let inY = (fromY >= 0) & (oy * params.strideH == fromY) & (oy < params.outH);
    for (var kx = 0; kx < params.kw; kx++) {
      let fromX = qx - kx * params.dilationW;
      let ox = over(max(fromX, 0), params.strideW);
      if (inY & (fromX >= 0) & (ox * params.strideW == fromX) & (ox < params.outW)) {
        sum += patches[(((channel * params.kh + ky) * params.kw + kx) * params.outH + oy) * params.outW + ox];
      }
    }
  }
  if (params.hasBias != 0u) { sum += bias[channel - image * params.cin]; }
  let to = i + params.offset + image * params.gap;
  if (params.accumulate != 0u) { sum += f32(y[to]); }
  if (params.relu != 0u) { sum = select(sum, 0.0, sum < 0.0); }
  y[to] = elem(sum);
}
