// The sum of a gradient's patches, as conv2d_patches_sum, where rows of pixels hold whole vec4s and x is as wide, or with stride
// 2 twice as wide; windows up to seven wide: for CPU drivers whose subgroups have 8 lanes or more.
//   dx[n, ci, q] = b[ci] + Σ_ky,kx patches[n, k, p]  over the p whose tap (ky, kx) is q
// A lane sums what its four columns of each tap fall on: four columns of a row of x, moved by PAD − kx·DILATION, or with stride 2
// the even or the odd ones of eight.
enable subgroups;

alias elem = f32;

struct Params {
  n: i32, cin: i32, h: i32, outH: i32, outW: i32, kh: i32, padH: i32, dilationH: i32,
  relu: u32, accumulate: u32, hasBias: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> patches: array<f32>;
@group(0) @binding(1) var<storage, read> patches4: array<vec4f>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<elem>;
@group(0) @binding(4) var<uniform> params: Params;

override KW: i32 = 7;
override PAD: i32 = 3;
override STRIDE: i32 = 2; // of rows and columns; a dilation only with 1
override DILATION: i32 = 1;
override VEC: bool = true;
override ENDS: bool = false;

fn value_at(i: i32) -> f32 { return patches[i]; }
fn four_at(i: i32) -> vec4f { return patches4[i]; }

// include: parts/over.wgsl, parts/strips.wgsl

// Where a lane's taps lie: the first one's row, the distance to the next one's.
struct Place { row: i32, size: i32, inRow: bool, ox: i32, lane: i32 }

// Even and odd columns, with stride 1 all in `even`.
struct Pair { even: vec4f, odd: vec4f }

fn add_tap(sums: Pair, kx: i32, p: Place) -> Pair {
  if (kx >= KW) { return sums; }
  let odd = STRIDE == 2 && ((kx + PAD) & 1) == 1;
  let shift = (PAD - kx * DILATION + select(0, 1, odd)) / STRIDE;
  let v = from_column(columns_of(p.row + kx * p.size, params.outW, p.inRow, p.ox, p.lane), u32(4 + shift));
  if (odd) { return Pair(sums.even, sums.odd + v); }
  return Pair(sums.even + v, sums.odd);
}

fn store(to: i32, sum: f32) {
  var value = sum;
  if (params.accumulate != 0u) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elem(value);
}

@compute @workgroup_size(8)
fn conv2d_patches_sum_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let strips = params.outW / 4;
  let i = 8 * i32(group.x + group.y * count.x) + lane;
  let line = over(i, strips);
  let channel = min(over(line, params.h), params.n * params.cin - 1);
  let there = line < params.n * params.cin * params.h;
  let q = line - channel * params.h;
  let ox = (i - line * strips) * 4;
  let size = params.outH * params.outW;

  var sums = Pair();
  let fromY = q + params.padH;
  for (var a = 0; a < (params.kh + STRIDE - 1) / STRIDE; a++) {
    var ky = a;
    if (STRIDE == 2) { ky = 2 * a + (fromY & 1); }
    let up = fromY - ky * params.dilationH;
    let oy = up / STRIDE;
    let inRow = there & (up >= 0) & (oy < params.outH) & (ky < params.kh);
    let p = Place((channel * params.kh + ky) * KW * size + oy * params.outW, size, inRow, ox, lane);
    sums = add_tap(sums, 0, p);
    sums = add_tap(sums, 1, p);
    sums = add_tap(sums, 2, p);
    sums = add_tap(sums, 3, p);
    sums = add_tap(sums, 4, p);
    sums = add_tap(sums, 5, p);
    sums = add_tap(sums, 6, p);
  }
  if (!there) { return; }
  let image = over(channel, params.cin);
  let add = select(0.0, bias[select(0, channel - image * params.cin, params.hasBias != 0u)], params.hasBias != 0u);
  let to = (channel * params.h + q) * STRIDE * params.outW + STRIDE * ox + params.offset + image * params.gap;
  store(to, sums.even.x + add);
  store(to + STRIDE, sums.even.y + add);
  store(to + 2 * STRIDE, sums.even.z + add);
  store(to + 3 * STRIDE, sums.even.w + add);
  if (STRIDE == 2) {
    store(to + 1, sums.odd.x + add);
    store(to + 3, sums.odd.y + add);
    store(to + 5, sums.odd.z + add);
    store(to + 7, sums.odd.w + add);
  }
}
