// All of conv2d_3x3_lanes and conv2d_3x3_lanes_wide but what stores a row: `store_row(first, inside, ox, v)` of the kernel that includes
// this writes v, four pixels of y from element `first` and column ox on, if the row is inside the image. They are two files, not two entry
// points: where two entry points call one function for the sums, lavapipe's code for the gradient of x takes 1.05 to 1.13 of the time.
//   y[n,co,oy,ox] = b[co] + Σ_ci,ky,kx  weight[co,ci,ky,kx] · x[n,ci, oy − p + ky, ox − p + kx]
// Along a row by Winograd's F(4, 3), points 0, ±NEAR, ±FAR, ∞: six multiplications for four columns instead of twelve.
// One subgroup computes 8 output channels (a lane each) of a tile of 8 rows × 8 columns, or × 4. Lane r loads patch row
// r + 1 and transforms it, and for four channels at once the eight lanes do rows 0 and 9. Each transformed value then
// goes to all lanes by a shuffle, each lane multiplies it with its own weights, transformed along their rows; the sums
// are transformed back at the end.
// PAIR: images of at most four rows, two of them in a tile (rows 0 to 3 and 4 to 7), no taps between them.
// SIDE: a second half tile, so that a weight that is loaded serves 64 pixels: 1, the four columns to the right; 2, the
// next two images (with PAIR); 0, none.
// VEC: x is as wide as y and a multiple of four wide, so that a row's middle four are one vec4f. NARROW: four wide.
// The weights of (co, ci) start at co·weightOut + ci·weightIn. TURN reads them turned by 180°: with the channels
// exchanged, this is the gradient with respect to x, dx = conv(dy, turned weight) with padding 2 − p.
enable subgroups;

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
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read> weight4: array<vec4f>;

override VEC: bool = false;
override NARROW: bool = false;
override PAIR: bool = false;
override TURN: bool = false;
override SIDE: i32 = 0;
override BIAS: bool = false;
override RELU: bool = false;
override ACCUMULATE: bool = false;

// include: rolled.wgsl, winograd_rows.wgsl, winograd_weights.wgsl

// The nine weights of a channel, a row each.
struct Taps { a: vec3f, b: vec3f, c: vec3f }

fn taps(sum: vec4f, w: vec3f, s0: vec4f, s1: vec4f, s2: vec4f) -> vec4f {
  return sum + w.x * s0 + w.y * s1 + w.z * s2;
}

// Four rows a vec4f: of the half tile whose sums of one place stand at sums[i] and sums[i + 1].
fn add_place(sums: ptr<function, array<vec4f, 24>>, i: u32, w: vec3f, row: f32, outer: f32, channel: u32) {
  let a = vec4f(subgroupShuffle(row, 0u), subgroupShuffle(row, 1u), subgroupShuffle(row, 2u), subgroupShuffle(row, 3u));
  let b = vec4f(subgroupShuffle(row, 4u), subgroupShuffle(row, 5u), subgroupShuffle(row, 6u), subgroupShuffle(row, 7u));
  if (PAIR) {
    (*sums)[i] += w.y * a + vec4f(0.0, w.x * a.xyz) + vec4f(w.z * a.yzw, 0.0);
    (*sums)[i + 1] += w.y * b + vec4f(0.0, w.x * b.xyz) + vec4f(w.z * b.yzw, 0.0);
    return;
  }
  (*sums)[i] = taps((*sums)[i], w, vec4f(subgroupShuffle(outer, 2u * channel), a.xyz), a, vec4f(a.yzw, b.x));
  (*sums)[i + 1] = taps((*sums)[i + 1], w, vec4f(a.w, b.xyz), b, vec4f(b.yzw, subgroupShuffle(outer, 2u * channel + 1u)));
}

// The six places of a half tile, whose first stands at sums[i] and sums[i + 1].
fn add_half(sums: ptr<function, array<vec4f, 24>>, i: u32, a: Six, b: Six, c: Six, s: Six, o: Six, channel: u32) {
  add_place(sums, i, vec3f(a.a, b.a, c.a), s.a, o.a, channel);
  add_place(sums, i + 4, vec3f(a.b, b.b, c.b), s.b, o.b, channel);
  add_place(sums, i + 8, vec3f(a.c, b.c, c.c), s.c, o.c, channel);
  add_place(sums, i + 12, vec3f(a.d, b.d, c.d), s.d, o.d, channel);
  add_place(sums, i + 16, vec3f(a.e, b.e, c.e), s.e, o.e, channel);
  add_place(sums, i + 20, vec3f(a.f, b.f, c.f), s.f, o.f, channel);
}

// One place of both half tiles.
fn add_both(sums: ptr<function, array<vec4f, 24>>, i: u32, w: vec3f, s: f32, o1: f32, t: f32, o2: f32, channel: u32) {
  add_place(sums, i, w, s, o1, channel);
  if (SIDE > 0) { add_place(sums, i + 2, w, t, o2, channel); }
}

fn add_channel(sums: ptr<function, array<vec4f, 24>>, w: Taps, r1: Row, o1: Six, r2: Row, o2: Six, channel: u32) {
  let a = along(w.a);
  let b = along(w.b);
  let c = along(w.c);
  let s = forth(r1);
  let t = forth(r2);
  // By halves the forward sums take 0.87 to 0.96 of the time of place by place, those of the gradient of x 1.08 (lavapipe).
  if (TURN) {
    add_both(sums, 0u, vec3f(a.a, b.a, c.a), s.a, o1.a, t.a, o2.a, channel);
    add_both(sums, 4u, vec3f(a.b, b.b, c.b), s.b, o1.b, t.b, o2.b, channel);
    add_both(sums, 8u, vec3f(a.c, b.c, c.c), s.c, o1.c, t.c, o2.c, channel);
    add_both(sums, 12u, vec3f(a.d, b.d, c.d), s.d, o1.d, t.d, o2.d, channel);
    add_both(sums, 16u, vec3f(a.e, b.e, c.e), s.e, o1.e, t.e, o2.e, channel);
    add_both(sums, 20u, vec3f(a.f, b.f, c.f), s.f, o1.f, t.f, o2.f, channel);
  } else {
    add_half(sums, 0u, a, b, c, s, o1, channel);
    if (SIDE > 0) { add_half(sums, 2u, a, b, c, t, o2, channel); }
  }
}

struct Two { a: Row, b: Row }

// The rows of both half tiles; side by side they share the columns between them.
fn load_two(start: i32, next: i32, ix: i32, inRow: bool, inNext: bool) -> Two {
  if (SIDE == 2) { return Two(load(start, ix, inRow), load(next, ix, inNext)); }
  if (SIDE == 0) { return Two(load(start, ix, inRow), Row()); }
  let left = at(start, inRow && ix >= 0 && ix < params.w);
  let right = at(start + 9, inRow && ix + 9 < params.w);
  let m1 = middle(start + 1, ix + 1, inRow);
  let m2 = middle(start + 5, ix + 5, inRow & (ix + 5 < params.w));
  return Two(Row(left, m1, m2.x), Row(m1.w, m2, right));
}

// v[i] or, if the window begins so much later, v[i + 1].
fn later(v: vec4f, next: f32, by: bool) -> vec4f { return select(v, vec4f(v.yzw, next), by); }

fn window_at(first: i32) -> Taps {
  if (TURN) {
    // Lanes read windows that lie side by side: three vec4s hold one, wherever in the first it begins. (In the forward pass
    // the windows of two lanes lie 9·cin values apart, and this is slower than single values.)
    let at = first / 4;
    let odd = (first & 1) != 0;
    let end = weight4[at + 2];
    let p = weight4[at];
    let q = weight4[at + 1];
    let p1 = later(p, q.x, odd);
    let q1 = later(q, end.x, odd);
    let end1 = later(end, 0.0, odd);
    let two = vec4<bool>((first & 2) != 0);
    let a = select(p1, vec4f(p1.zw, q1.xy), two);
    let b = select(q1, vec4f(q1.zw, end1.xy), two);
    let last = select(end1.x, end1.z, two.x);
    return Taps(vec3f(last, b.wz), vec3f(b.yx, a.w), a.zyx);
  }
  return Taps(
    vec3f(weight[first], weight[first + 1], weight[first + 2]),
    vec3f(weight[first + 3], weight[first + 4], weight[first + 5]),
    vec3f(weight[first + 6], weight[first + 7], weight[first + 8]));
}

// Sums k, of the first half tile or of the second.
fn pick(sums: ptr<function, array<vec4f, 24>>, k: u32, second: bool) -> vec4f {
  if (SIDE == 0) { return (*sums)[k]; }
  return select((*sums)[k], (*sums)[k + 2], second);
}

// Four rows of four pixels, transformed back.
fn store_rows(sums: ptr<function, array<vec4f, 24>>, i: u32, second: bool, image: i32, co: i32, oy: i32, ox: i32) {
  let dest = min(image, params.n - 1);
  let rows = select(select(0, params.outH - oy, image < params.n), 0, (co >= params.cout) | (ox >= params.outW));
  var add = 0.0;
  if (BIAS) { add = bias[min(co, params.cout - 1)]; }
  let s1 = pick(sums, i + 4, second);
  let s2 = pick(sums, i + 8, second);
  let s3 = pick(sums, i + 12, second);
  let s4 = pick(sums, i + 16, second);
  let p = (s1 + s2) / -1.5;
  let q = (s1 - s2) * (NEAR / -1.5);
  let r = (s3 + s4) / 6.0;
  let s = (s3 - s4) * (FAR / 6.0);
  let y0 = pick(sums, i, second) + p + r + add;
  let y1 = q + s + add;
  let y2 = 0.5 * p + 2.0 * r + add;
  let y3 = 0.5 * q + 2.0 * s + pick(sums, i + 20, second) + add;
  let first = ((dest * params.cout + co) * params.outH + oy) * params.outW + ox + params.offset + dest * params.gap;
  store_row(first, rows > 0, ox, vec4f(y0.x, y1.x, y2.x, y3.x));
  store_row(first + params.outW, rows > 1, ox, vec4f(y0.y, y1.y, y2.y, y3.y));
  store_row(first + 2 * params.outW, rows > 2, ox, vec4f(y0.z, y1.z, y2.z, y3.z));
  store_row(first + 3 * params.outW, rows > 3, ox, vec4f(y0.w, y1.w, y2.w, y3.w));
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
  let wide = select(4, 8, SIDE == 1);
  let strips = (params.outW + wide - 1) / wide;
  let bands = select((params.outH + 7) / 8, 1, PAIR);
  let together = select(1, 2, PAIR) * select(1, 2, SIDE == 2);
  let images = (params.n + together - 1) / together;
  if (index >= images * bands * strips * blocks) { return; }
  let co = (index % blocks) * 8 + lane;
  let tile = index / blocks;
  let ox = (tile % strips) * wide;
  let oy = (tile / strips) % bands * 8;
  let image = tile / (strips * bands) * together;

  // This lane's row of x, and its share of the outer rows: row 0 or 9 of channel c + lane / 2.
  let plane = params.h * params.w;
  let ix = ox - params.padW;
  let iy = select(oy - params.padH + 1 + lane, lane & 3, PAIR);
  let source = select(image, image + (lane >> 2), PAIR);
  let inY = iy >= 0 && iy < params.h;
  let inRow = inY && source < params.n;
  let inNext = inY && source + 2 < params.n;
  let start = source * params.cin * plane + iy * params.w + ix;
  let next = start + 2 * params.cin * plane;
  let outerY = oy - params.padH + (lane & 1) * 9;
  let inOuter = outerY >= 0 && outerY < params.h;
  let outerStart = (image * params.cin + (lane >> 1)) * plane + outerY * params.w + ix;

  let weights = min(co, params.cout - 1) * params.weightOut;
  var sums: array<vec4f, 24>;
  for (var c = 0; c < params.cin; c += 4) {
    var o1 = Six();
    var o2 = Six();
    if (!PAIR) {
      let outer = load_two(outerStart + c * plane, 0, ix, inOuter && c + (lane >> 1) < params.cin, false);
      o1 = forth(outer.a);
      if (SIDE > 0) { o2 = forth(outer.b); }
    }
    // Not unrolled: four bodies no longer fit the instruction cache and take twice as long.
    let channels = min(4, params.cin - c);
    for (var k = 0; k < channels; k++) {
      let window = window_at(weights + (c + k) * params.weightIn);
      let rows = load_two(start + (c + k) * plane, next + (c + k) * plane, ix, inRow, inNext);
      add_channel(&sums, window, rows.a, o1, rows.b, o2, u32(k));
    }
  }

  for (var t = 0; t < rolled(select(1, 2, SIDE > 0)); t++) {
    let first = image + select(0, 2 * t, SIDE == 2);
    let column = ox + select(0, 4 * t, SIDE == 1);
    store_rows(&sums, 0u, t > 0, first, co, oy, column);
    store_rows(&sums, 1u, t > 0, first + select(0, 1, PAIR), co, oy + select(4, 0, PAIR), column);
  }
}
