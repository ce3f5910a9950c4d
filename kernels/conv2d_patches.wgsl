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

// ROWS: four neighbouring pixels lie in one row of the output, which divides by four; NARROW: they are all of a row, of x
// too, whose stride is one: each row of x is loaded once for all taps.
override ROWS: bool = false;
override NARROW: bool = false;

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

// Columns ix and three more, so many apart, of a row of x.
fn four(row: i32, inRow: bool, ix: i32) -> vec4f {
  let column = ix + vec4i(0, 1, 2, 3) * params.strideW;
  let inside = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(params.w));
  let p = row + column;
  return vec4f(at(p.x, inside.x), at(p.y, inside.y), at(p.z, inside.z), at(p.w, inside.w));
}

// A row of four as it is seen from `by` columns further on.
fn moved(v: vec4f, by: i32) -> vec4f {
  var m = select(vec4f(), v, by == 0);
  m = select(m, vec4f(v.yzw, 0.0), by == 1);
  m = select(m, vec4f(v.zw, 0.0, 0.0), by == 2);
  m = select(m, vec4f(v.w, 0.0, 0.0, 0.0), by == 3);
  m = select(m, vec4f(0.0, v.xyz), by == -1);
  m = select(m, vec4f(0.0, 0.0, v.xy), by == -2);
  return select(m, vec4f(0.0, 0.0, 0.0, v.x), by == -3);
}

// Four pixels of one channel under all taps.
@compute @workgroup_size(WG)
fn conv2d_patches_pack(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = i32((group.x + group.y * count.x) * WG + lane);
  let quads = params.line / 4;
  let channel = over(i, quads);
  if (channel >= params.n * params.cin) { return; }
  let quad = i - channel * quads;
  let plane = channel * params.h * params.w;
  let p = 4 * quad + vec4i(0, 1, 2, 3);
  var oy = vec4i(over(p.x, params.outW));
  if (!ROWS) { oy = vec4i(oy.x, over(p.y, params.outW), over(p.z, params.outW), over(p.w, params.outW)); }
  let iy = oy * params.strideH - params.padH;
  let ix = (p - oy * params.outW) * params.strideW - params.padW;
  let there = p < vec4i(params.outH * params.outW);

  var to = channel * params.kh * params.kw * quads + quad;
  for (var ky = 0; ky < params.kh; ky++) {
    let line = iy + ky * params.dilationH;
    let inRow = there & (line >= vec4i()) & (line < vec4i(params.h));
    let row = plane + line * params.w;
    var held = vec4f();
    if (NARROW) { held = four(row.x, inRow.x, 0); }
    for (var kx = 0; kx < params.kw; kx++) {
      let by = kx * params.dilationW;
      var v = vec4f();
      if (NARROW) {
        v = moved(held, by - params.padW);
      } else if (ROWS) {
        v = four(row.x, inRow.x, ix.x + by);
      } else {
        let column = ix + by;
        let inside = inRow & (column >= vec4i()) & (column < vec4i(params.w));
        let q = row + column;
        v = vec4f(at(q.x, inside.x), at(q.y, inside.y), at(q.z, inside.z), at(q.w, inside.w));
      }
      patches4[to] = v;
      to += quads;
    }
  }
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
