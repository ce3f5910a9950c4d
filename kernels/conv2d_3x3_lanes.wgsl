// Convolution 3×3, stride 1, dilation 1, padding 0 to 2, where subgroups have 8 lanes or more: for CPU drivers.
//   y[n,co,oy,ox] = b[co] + Σ_ci,ky,kx  weight[co,ci,ky,kx] · x[n,ci, oy − p + ky, ox − p + kx]
// One subgroup computes 8 output channels (a lane each) of a tile of 8 rows × 4 columns. Its patch of x is
// 10 rows × 6 columns a channel: lane r loads patch row r + 1, and for four channels at once the eight lanes
// load rows 0 and 9. Each value then goes to all lanes by a shuffle, each lane multiplies it with its own
// weights: 288 FMAs for 60 values of x and 9 weights a lane.
// PAIR: images of at most four rows, two of them in a tile (rows 0 to 3 and 4 to 7), no taps between them.
// VEC: x is as wide as y and a multiple of four wide, so that a row's middle four are one vec4f.
// The weights of (co, ci) start at co·weightOut + ci·weightIn. TURN reads them turned by 180°: with the channels
// exchanged, this is the gradient with respect to x, dx = conv(dy, turned weight) with padding 2 − p.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, padH: i32, padW: i32,
  weightOut: i32, weightIn: i32, hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<uniform> params: Params;

override VEC: bool = false;
override PAIR: bool = false;
override TURN: bool = false;

// The nine weights of a channel, a row each.
struct Taps { a: vec3f, b: vec3f, c: vec3f }

// Six neighbours of a row: one on the left, four, one on the right.
struct Row { left: f32, middle: vec4f, right: f32 }

fn taps(sum: vec4f, w: vec3f, s0: vec4f, s1: vec4f, s2: vec4f) -> vec4f {
  return sum + w.x * s0 + w.y * s1 + w.z * s2;
}

// Patch row j feeds output rows j − 2, j − 1 and j, which stand at sums[row + 2].
fn add_row(sums: ptr<function, array<vec4f, 12>>, j: u32, w: Taps, row: Row, lane: u32) {
  let s1 = subgroupShuffle(row.middle, lane);
  let s0 = vec4f(subgroupShuffle(row.left, lane), s1.xyz);
  let s2 = vec4f(s1.yzw, subgroupShuffle(row.right, lane));
  if (!(PAIR && j == 5u)) { (*sums)[j] = taps((*sums)[j], w.c, s0, s1, s2); }
  (*sums)[j + 1] = taps((*sums)[j + 1], w.b, s0, s1, s2);
  if (!(PAIR && j == 4u)) { (*sums)[j + 2] = taps((*sums)[j + 2], w.a, s0, s1, s2); }
}

fn add_channel(sums: ptr<function, array<vec4f, 12>>, w: Taps, row: Row, outer: Row, channel: u32) {
  if (!PAIR) { add_row(sums, 0u, w, outer, 2u * channel); }
  add_row(sums, 1u, w, row, 0u);
  add_row(sums, 2u, w, row, 1u);
  add_row(sums, 3u, w, row, 2u);
  add_row(sums, 4u, w, row, 3u);
  add_row(sums, 5u, w, row, 4u);
  add_row(sums, 6u, w, row, 5u);
  add_row(sums, 7u, w, row, 6u);
  add_row(sums, 8u, w, row, 7u);
  if (!PAIR) { add_row(sums, 9u, w, outer, 2u * channel + 1u); }
}

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

// The six values from (row, ix) on, where `start` is the index of that first one; zero outside the image.
fn load(start: i32, ix: i32, inRow: bool) -> Row {
  var row: Row;
  row.left = at(start, inRow && ix >= 0 && ix < params.w);
  if (VEC) {
    row.middle = select(vec4f(), vec4f(x4[select(0, (start + 1) / 4, inRow)]), inRow);
  } else {
    row.middle = vec4f(
      at(start + 1, inRow && ix + 1 >= 0 && ix + 1 < params.w), at(start + 2, inRow && ix + 2 < params.w),
      at(start + 3, inRow && ix + 3 < params.w), at(start + 4, inRow && ix + 4 < params.w));
  }
  row.right = at(start + 5, inRow && ix + 5 < params.w);
  return row;
}

fn window_at(first: i32) -> Taps {
  if (TURN) {
    return Taps(
      vec3f(weight[first + 8], weight[first + 7], weight[first + 6]),
      vec3f(weight[first + 5], weight[first + 4], weight[first + 3]),
      vec3f(weight[first + 2], weight[first + 1], weight[first]));
  }
  return Taps(
    vec3f(weight[first], weight[first + 1], weight[first + 2]),
    vec3f(weight[first + 3], weight[first + 4], weight[first + 5]),
    vec3f(weight[first + 6], weight[first + 7], weight[first + 8]));
}

@compute @workgroup_size(8)
fn conv2d_3x3_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) invocation: u32,
) {
  let lane = i32(invocation);
  let index = i32(group.x + group.y * count.x);
  let blocks = (params.cout + 7) / 8;
  let strips = (params.outW + 3) / 4;
  let bands = select((params.outH + 7) / 8, 1, PAIR);
  let images = select(params.n, (params.n + 1) / 2, PAIR);
  if (index >= images * bands * strips * blocks) { return; }
  let co = (index % blocks) * 8 + lane;
  let tile = index / blocks;
  let ox = (tile % strips) * 4;
  let oy = (tile / strips) % bands * 8;
  let image = tile / (strips * bands) * select(1, 2, PAIR);

  // This lane's row of x, and its share of the outer rows: row 0 or 9 of channel c + lane / 2.
  let plane = params.h * params.w;
  let ix = ox - params.padW;
  let iy = select(oy - params.padH + 1 + lane, lane & 3, PAIR);
  let source = select(image, image + (lane >> 2), PAIR);
  let inRow = iy >= 0 && iy < params.h && source < params.n;
  let start = source * params.cin * plane + iy * params.w + ix;
  let outerY = oy - params.padH + (lane & 1) * 9;
  let inOuter = outerY >= 0 && outerY < params.h;
  let outerStart = (image * params.cin + (lane >> 1)) * plane + outerY * params.w + ix;

  let weights = min(co, params.cout - 1) * params.weightOut;
  var sums: array<vec4f, 12>;
  for (var c = 0; c < params.cin; c += 4) {
    var outer = Row();
    if (!PAIR) { outer = load(outerStart + c * plane, ix, inOuter && c + (lane >> 1) < params.cin); }
    // Not unrolled: four bodies no longer fit the instruction cache and take twice as long.
    let channels = min(4, params.cin - c);
    for (var k = 0; k < channels; k++) {
      let window = window_at(weights + (c + k) * params.weightIn);
      add_channel(&sums, window, load(start + (c + k) * plane, ix, inRow), outer, u32(k));
    }
  }

  if (co >= params.cout) { return; }
  for (var j = 0; j < 8; j++) {
    let dest = select(image, image + (j >> 2), PAIR);
    let row = select(oy + j, j & 3, PAIR);
    if (row >= params.outH || dest >= params.n) { continue; }
    let first = ((dest * params.cout + co) * params.outH + row) * params.outW + ox + params.offset + dest * params.gap;
    for (var i = 0; i < min(4, params.outW - ox); i++) {
      var value = sums[j + 2][i];
      if (params.hasBias != 0u) { value += bias[co]; }
      if (params.accumulate != 0u) { value += f32(y[first + i]); }
      if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
      y[first + i] = elem(value);
    }
  }
}
