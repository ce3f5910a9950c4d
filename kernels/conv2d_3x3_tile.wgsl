// Convolution 3×3, stride 1, dilation 1, padding 0 to 2, by register tiles alone: for CPU drivers without
// subgroups of 8.
//   y[n,co,oy,ox] = b[co] + Σ_ci,ky,kx  weight[co,ci,ky,kx] · x[n,ci, oy − p + ky, ox − p + kx]
// One invocation: 8 channels of 2 rows × 4 columns, 64 sums. Of an input channel it loads 4 rows of six values
// and 72 weights for 576 FMAs.  Weights, TURN and VEC as in parts/conv2d_3x3_lanes.
alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, padH: i32, padW: i32,
  weightOut: i32, weightIn: i32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<uniform> params: Params;

override VEC: bool = false;
override TURN: bool = false;
override WG: u32 = 64;
override BIAS: bool = false;
override RELU: bool = false;
override ACCUMULATE: bool = false;

// A row of six values of x, as the four columns see it through each column of the window.
struct Row { s0: vec4f, s1: vec4f, s2: vec4f }

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

// Masks are joined by `&`, not `&&`: with branches for these loads SwiftShader's compiler does not come to an end.
fn load(start: i32, ix: i32, inRow: bool) -> Row {
  let left = at(start, inRow & (ix >= 0) & (ix < params.w));
  let right = at(start + 5, inRow & (ix + 5 < params.w));
  var middle = vec4f();
  if (VEC) {
    middle = select(vec4f(), vec4f(x4[select(0, (start + 1) / 4, inRow)]), inRow);
  } else {
    let column = ix + vec4i(1, 2, 3, 4);
    let inside = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(params.w));
    middle = vec4f(
      at(start + 1, inside.x), at(start + 2, inside.y), at(start + 3, inside.z), at(start + 4, inside.w));
  }
  return Row(vec4f(left, middle.xyz), middle, vec4f(middle.yzw, right));
}

fn add_channel(
  sums: ptr<function, array<vec4f, 16>>, c: u32, first: i32, r0: Row, r1: Row, r2: Row, r3: Row,
) {
  var upper = (*sums)[2 * c];
  var lower = (*sums)[2 * c + 1];
  let w0 = weight[select(first, first + 8, TURN)];
  upper += w0 * r0.s0;
  lower += w0 * r1.s0;
  let w1 = weight[select(first + 1, first + 7, TURN)];
  upper += w1 * r0.s1;
  lower += w1 * r1.s1;
  let w2 = weight[select(first + 2, first + 6, TURN)];
  upper += w2 * r0.s2;
  lower += w2 * r1.s2;
  let w3 = weight[select(first + 3, first + 5, TURN)];
  upper += w3 * r1.s0;
  lower += w3 * r2.s0;
  let w4 = weight[first + 4];
  upper += w4 * r1.s1;
  lower += w4 * r2.s1;
  let w5 = weight[select(first + 5, first + 3, TURN)];
  upper += w5 * r1.s2;
  lower += w5 * r2.s2;
  let w6 = weight[select(first + 6, first + 2, TURN)];
  upper += w6 * r2.s0;
  lower += w6 * r3.s0;
  let w7 = weight[select(first + 7, first + 1, TURN)];
  upper += w7 * r2.s1;
  lower += w7 * r3.s1;
  let w8 = weight[select(first + 8, first, TURN)];
  upper += w8 * r2.s2;
  lower += w8 * r3.s2;
  (*sums)[2 * c] = upper;
  (*sums)[2 * c + 1] = lower;
}

@compute @workgroup_size(WG)
fn conv2d_3x3_tile(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32((group.x + group.y * count.x) * WG + lane);
  let blocks = (params.cout + 7) / 8;
  let strips = (params.outW + 3) / 4;
  let bands = (params.outH + 1) / 2;
  if (index >= params.n * bands * strips * blocks) { return; }
  let tile = index % (strips * bands);
  let ox = tile % strips * 4;
  let oy = tile / strips * 2;
  let block = index / (strips * bands) % blocks * 8;
  let image = index / (strips * bands * blocks);

  let plane = params.h * params.w;
  let ix = ox - params.padW;
  let iy = oy - params.padH;
  let in0 = iy >= 0 && iy < params.h;
  let in1 = iy + 1 >= 0 && iy + 1 < params.h;
  let in2 = iy + 2 < params.h;
  let in3 = iy + 3 < params.h;
  // Channels beyond the last repeat it; they are computed and not stored.
  let beyond = (params.cout - 1 - block) * params.weightOut;
  let step = params.weightOut;

  var sums = array<vec4f, 16>();
  for (var ci = 0; ci < params.cin; ci++) {
    let start = (image * params.cin + ci) * plane + iy * params.w + ix;
    let r0 = load(start, ix, in0);
    let r1 = load(start + params.w, ix, in1);
    let r2 = load(start + 2 * params.w, ix, in2);
    let r3 = load(start + 3 * params.w, ix, in3);
    let first = block * step + ci * params.weightIn;
    add_channel(&sums, 0u, first, r0, r1, r2, r3);
    add_channel(&sums, 1u, first + min(step, beyond), r0, r1, r2, r3);
    add_channel(&sums, 2u, first + min(2 * step, beyond), r0, r1, r2, r3);
    add_channel(&sums, 3u, first + min(3 * step, beyond), r0, r1, r2, r3);
    add_channel(&sums, 4u, first + min(4 * step, beyond), r0, r1, r2, r3);
    add_channel(&sums, 5u, first + min(5 * step, beyond), r0, r1, r2, r3);
    add_channel(&sums, 6u, first + min(6 * step, beyond), r0, r1, r2, r3);
    add_channel(&sums, 7u, first + min(7 * step, beyond), r0, r1, r2, r3);
  }

  for (var c = 0; c < min(8, params.cout - block); c++) {
    let co = block + c;
    let add = select(0.0, bias[select(0, co, BIAS)], BIAS);
    for (var j = 0; j < min(2, params.outH - oy); j++) {
      let to = ((image * params.cout + co) * params.outH + oy + j) * params.outW + ox + params.offset + image * params.gap;
      for (var i = 0; i < min(4, params.outW - ox); i++) {
        var value = sums[2 * c + j][i] + add;
        if (ACCUMULATE) { value += f32(y[to + i]); }
        if (RELU) { value = select(value, 0.0, value < 0.0); }
        y[to + i] = elem(value);
      }
    }
  }
}
