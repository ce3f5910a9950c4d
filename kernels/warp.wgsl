// Samples images at the positions of a map, and the gradients of doing so. Every warp is this with its own map.
//
//   y[m, c, v, u] = Σ_taps w·x[image(m), c, tap]      taps and weights from map(θ[m], u, v) = (px, py)
//   dx[tap]      += w·dy                               a scatter, or, for boxes, a gather
//   dat           = Σ_c dy·(∂w/∂px, ∂w/∂py)·x
//   dθ[m, k]      = Σ_{v, u} ⟨∂map(θ[m], u, v)/∂θ_k, dat[m, v, u]⟩
//
// `fuse` sums the outputs m that fall on one canvas, y[n] = Σ_{canvas(m) = n} …, without a canvas for each; in
// its gradients (CANVAS) dy is that of the canvas.
//
// A scatter by atomics has to give the same bits in any order, and WGSL has no float atomics. So `scatter` scales each term by
// a power of two that puts max|dy| times the number of terms just under 2^60, cuts it to a 64-bit integer and adds that as
// two words with a carry: integers add in any order to the same sum. Its resolution is max|dy|·2^(⌈log2 terms⌉ − 59): for
// 2^20 samples an image, 2^-39 of the largest gradient. Where atomics are dear, `scatter_alone` gives each invocation a copy
// of a plane for itself: float32, in an order that the shapes fix, and `add_copies` adds the copies up in theirs. Of many planes
// the only copy is dx.

// include: parts/divide.wgsl, parts/over.wgsl, parts/taps.wgsl, parts/warp_maps.wgsl, parts/carried_rows.wgsl

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  images: u32,      // N of x
  channels: u32,
  in_h: u32,
  in_w: u32,
  outputs: u32,     // M
  canvases: u32,    // leading size of y: M, or the number of canvases
  out_h: u32,
  out_w: u32,
  groups: u32,      // invocations that share the channels of one position
  headroom: i32,    // ⌈log2 of the samples that can fall on one image⌉
  parameters: u32,  // K: numbers in θ for one output
  angles: u32,
  radii: u32,
  radius_step: f32, // px between two radii
  grid_h: u32,      // control points of a coarse grid
  grid_w: u32,
  add: u32,         // 1: dx is added to what y holds
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> theta: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read> dy: array<elem>;
@group(0) @binding(4) var<storage, read_write> y: array<elem>;
@group(0) @binding(5) var<storage, read_write> dat: array<vec2f>;
@group(0) @binding(6) var<storage, read> pulls: array<vec2f>;               // dat, once it is written
@group(0) @binding(7) var<storage, read_write> dtheta: array<f32>;
@group(0) @binding(8) var<storage, read_write> sums: array<atomic<u32>>;
@group(0) @binding(9) var<storage, read_write> peak: array<atomic<u32>>;
@group(0) @binding(10) var<storage, read> found_peak: array<u32>;
@group(0) @binding(11) var<storage, read> found_sums: array<vec2u>;
@group(0) @binding(12) var<storage, read> spans: array<vec2u>;              // of each canvas in the index
@group(0) @binding(13) var<uniform> params: Params;
@group(0) @binding(14) var<storage, read_write> own_sums: array<f32>;       // of each copy x, up to a whole vec4
@group(0) @binding(15) var<storage, read_write> y4: array<elem4>;           // y
@group(0) @binding(16) var<storage, read> found_own: array<vec4f>;          // own_sums

override WX: u32 = 8;
override WY: u32 = 8;
override ROWS: u32 = 1;    // pixels of a line that one invocation takes
override RUN: u32 = 1;     // elements that one invocation takes where places do not matter
override EVEN: bool = false; // WX divides the number of lines
override CHANNELS: u32 = 0; // of one invocation, where they are few and known; 0: it counts
override COPIES: u32 = 1;   // of dx, each of one invocation a plane of `scatter_alone`
override INDEXED: u32 = 0; // 1: index[m] names the image of output m; else it is m, or the only one
override CANVAS: u32 = 0;  // 1: index[m] names the canvas of output m, whose image is m

// The image of output m; −1 if there is none.
fn image_of(m: u32) -> i32 {
  if (INDEXED != 0u) {
    let i = index[m];
    return select(-1, i, (i >= 0) & (i < i32(params.images)));
  }
  return select(i32(m), 0, params.images == 1u && CANVAS == 0u);
}

// Where in dy output m stands; −1 if nowhere.
fn canvas_of(m: u32) -> i32 {
  if (CANVAS != 0u) {
    let i = index[m];
    return select(-1, i, (i >= 0) & (i < i32(params.canvases)));
  }
  return i32(m);
}

// Loads a pixel in any case: branches cost CPU drivers more than a load.
fn pixel_at(at: u32, inside: bool) -> f32 { return select(0.0, f32(x[at]), inside); }

fn blend_row(row: u32, t: Tap) -> f32 {
  return (1.0 - t.t) * pixel_at(row + u32(t.lo), t.has_lo) + t.t * pixel_at(row + u32(t.hi), t.has_hi);
}

fn blend(base: u32, tx: Tap, ty: Tap) -> f32 {
  let lo = base + u32(ty.lo) * params.in_w;
  if (MODE != BILINEAR) { return pixel_at(lo + u32(tx.lo), tx.has_lo & ty.has_lo); }
  let above = select(0.0, blend_row(lo, tx), ty.has_lo);
  let below = select(0.0, blend_row(base + u32(ty.hi) * params.in_w, tx), ty.has_hi);
  return (1.0 - ty.t) * above + ty.t * below;
}

fn tap_x(p: vec2f) -> Tap { return tap(p.x, i32(params.in_w), PAD_X); }
fn tap_y(p: vec2f) -> Tap { return tap(p.y, i32(params.in_h), PAD_Y); }

// One invocation ROWS pixels of a line and a group of channels; z counts outputs and groups.
@compute @workgroup_size(WX, WY)
fn warp(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let sizes = select(vec2u(params.out_w, params.out_h), vec2u(params.out_h, params.out_w), ACROSS);
  if (!EVEN) { if (id.x >= sizes.x) { return; } }
  let area = params.out_h * params.out_w;
  let volume = params.in_h * params.in_w;
  for (var job = id.z; job < params.outputs * params.groups; job += groups.z) {
    let m = divide(job, params.groups);
    let first = job - m * params.groups;
    let mine = divide(params.channels - first + params.groups - 1u, params.groups);
    let image = image_of(m);
    let source = u32(max(image, 0)) * params.channels;
    var line = line_of(m, id.x);
    // Past the end the last pixel again: a number of turns that is known costs CPU drivers less.
    for (var k = 0u; k < ROWS; k++) {
      let step = min(id.y * ROWS + k, sizes.y - 1u);
      let u = select(id.x, step, ACROSS);
      let v = select(step, id.x, ACROSS);
      let p = position(m, &line, u, v);
      let tx = tap_x(p);
      let ty = tap_y(p);
      let to = v * params.out_w + u;
      for (var i = 0u; i < select(mine, CHANNELS, CHANNELS != 0u); i++) {
        let c = first + i * params.groups;
        let value = blend((source + c) * volume, tx, ty);
        y[(m * params.channels + c) * area + to] = elem(select(value, 0.0, (INDEXED != 0u) & (image < 0)));
      }
    }
  }
}

fn value_at(at: i32) -> f32 { return f32(x[at]); }

// The sources of four columns of a crop from one on.
fn sources(m: u32, column: u32) -> Sources {
  let a = tap_x(line_of(m, column).first.xy);
  let b = tap_x(line_of(m, column + 1u).first.xy);
  let c = tap_x(line_of(m, column + 2u).first.xy);
  let d = tap_x(line_of(m, column + 3u).first.xy);
  return Sources(vec4i(a.lo, b.lo, c.lo, d.lo), vec4i(a.hi, b.hi, c.hi, d.hi), vec4f(a.t, b.t, c.t, d.t));
}

// Boxes for CPU drivers: one invocation eight columns of ROWS rows of a crop, where four divides its width. Past the last four
// the last again.
@compute @workgroup_size(8, 8)
fn crop(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let wide = params.out_w / 4u;
  let four = 2u * id.x;
  if (four >= wide || id.y * ROWS >= params.out_h) { return; }
  let next = min(four + 1u, wide - 1u);
  for (var plane = id.z; plane < params.outputs * params.channels; plane += groups.z) {
    let m = divide(plane, params.channels);
    let image = image_of(m);
    let base = i32((u32(max(image, 0)) * params.channels + plane - m * params.channels) * params.in_h * params.in_w);
    let u = sources(m, 4u * four);
    let next_u = sources(m, 4u * next);
    let top = theta[4u * m + 1u];
    let height = theta[4u * m + 3u];
    let nothing = (INDEXED != 0u) & (image < 0);
    var rows = no_rows();
    var next_rows = no_rows();
    for (var k = 0u; k < ROWS; k++) {
      let v = min(id.y * ROWS + k, params.out_h - 1u);
      let ty = tap_y(vec2f(0.0, along_box(v, top, height, params.out_h)));
      var value = vec4f();
      var next_value = vec4f();
      if (MODE == BILINEAR) {
        value = four_between(&rows, base, i32(params.in_w), u, ty.lo, ty.hi, ty.t);
        next_value = four_between(&next_rows, base, i32(params.in_w), next_u, ty.lo, ty.hi, ty.t);
      } else {
        value = four_at(base + ty.lo * i32(params.in_w), u.low);
        next_value = four_at(base + ty.lo * i32(params.in_w), next_u.low);
      }
      let at = (plane * params.out_h + v) * wide;
      y4[at + four] = elem4(select(value, vec4f(), nothing));
      y4[at + next] = elem4(select(next_value, vec4f(), nothing));
    }
  }
}

// One invocation a pixel of a canvas and channel: its outputs in their order.
@compute @workgroup_size(8, 8)
fn fuse(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.out_w || id.y >= params.out_h) { return; }
  for (var plane = id.z; plane < params.canvases * params.channels; plane += groups.z) {
    let n = divide(plane, params.channels);
    let c = plane - n * params.channels;
    let span = spans[n];
    var sum = 0.0;
    for (var m = span.x; m < span.y; m++) {
      if (index[m] != i32(n)) { continue; }
      var line = line_of(m, id.x);
      let p = position(m, &line, id.x, id.y);
      let tx = tap_x(p);
      let ty = tap_y(p);
      sum += blend((m * params.channels + c) * params.in_h * params.in_w, tx, ty);
    }
    y[(plane * params.out_h + id.y) * params.out_w + id.x] = elem(sum);
  }
}

// One invocation a position: dat, summed over the channels in their order.
@compute @workgroup_size(8, 8)
fn slope(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.out_w || id.y >= params.out_h) { return; }
  let area = params.out_h * params.out_w;
  let at = id.y * params.out_w + id.x;
  for (var m = id.z; m < params.outputs; m += groups.z) {
    let image = image_of(m);
    let canvas = canvas_of(m);
    var line = line_of(m, id.x);
    let p = position(m, &line, id.x, id.y);
    let tx = tap_x(p);
    let ty = tap_y(p);
    var sum = vec2f();
    if ((image >= 0) & (canvas >= 0)) {
      for (var c = 0u; c < params.channels; c++) {
        let base = (u32(image) * params.channels + c) * params.in_h * params.in_w;
        let above = base + u32(ty.lo) * params.in_w;
        let below = base + u32(ty.hi) * params.in_w;
        let a = pixel_at(above + u32(tx.lo), ty.has_lo & tx.has_lo);
        let b = pixel_at(above + u32(tx.hi), ty.has_lo & tx.has_hi);
        let d = pixel_at(below + u32(tx.lo), ty.has_hi & tx.has_lo);
        let e = pixel_at(below + u32(tx.hi), ty.has_hi & tx.has_hi);
        let g = f32(dy[(u32(canvas) * params.channels + c) * area + at]);
        sum += g * vec2f(mix(b - a, e - d, ty.t), mix(d - a, e - b, tx.t));
      }
    }
    dat[m * area + at] = sum * vec2f(tx.slope, ty.slope);
  }
}

// The first element of an invocation, of RUN that lie 64 apart: workgroups take runs side by side.
fn first_of(id: vec3u, groups: vec3u) -> u32 {
  let i = id.x + id.y * groups.x * 64u;
  return RUN * (i & ~63u) + (i & 63u);
}

// Bits of |value|: those of floats ≥ 0 are ordered as the floats are, infinity and NaN above all.
fn magnitude(value: f32) -> u32 { return bitcast<u32>(value) & 0x7fffffffu; }

const INFINITY_BITS = 0x7f800000u;

// peak[0] = bits of max|dy|.
@compute @workgroup_size(64)
fn find_peak(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let count = params.canvases * params.channels * params.out_h * params.out_w;
  var top = 0u;
  let first = first_of(id, groups);
  for (var k = 0u; k < RUN; k++) {
    top = max(top, magnitude(f32(dy[min(first + 64u * k, count - 1u)])));
  }
  if (top > atomicLoad(&peak[0])) { atomicMax(&peak[0], top); }
}

// Fixed point: value·2^exponent counts units of the first of its two numbers, of which 2³⁰ of the second make one.
fn exponent() -> i32 {
  return clamp(29 - params.headroom - (i32(found_peak[0] >> 23u) - 127), -126, 126);
}

fn power_of_two(e: i32) -> f32 {
  return bitcast<f32>(u32(e + 127) << 23u);
}

const HALF = 1073741824; // 2³⁰

// Both have the sign of the value.
fn fixed(value: f32, scale: f32) -> vec2i {
  let scaled = value * scale;
  let units = trunc(scaled);
  return vec2i(vec2f(units, (scaled - units) * f32(HALF)));
}

// a + b, where a.y is, and that of the sum becomes, at least 0 and under 2³⁰: equal sums are equal numbers.
fn plus(a: vec2i, b: vec2i) -> vec2i {
  let lower = a.y + b.y;
  return vec2i(a.x + b.x + (lower >> 30u), lower & (HALF - 1));
}

// By atomics the sums are 64-bit integers of two words, the lower one first.
fn add(at: u32, value: f32, scale: f32, inside: bool) {
  if (!inside | (value == 0.0)) { return; }
  let term = plus(vec2i(), fixed(value, scale));
  let lo = u32(term.y) | (u32(term.x) << 30u);
  let before = atomicAdd(&sums[2u * at], lo);
  let hi = u32(term.x >> 2u) + select(0u, 1u, before > ~lo);
  if (hi != 0u) { atomicAdd(&sums[2u * at + 1u], hi); }
}

fn sum_in(words: vec2u) -> vec2i {
  return vec2i(bitcast<i32>((words.y << 2u) | (words.x >> 30u)), bitcast<i32>(words.x) & (HALF - 1));
}

// One invocation a position and group of channels.
@compute @workgroup_size(8, 8)
fn scatter(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.out_w || id.y >= params.out_h || found_peak[0] >= INFINITY_BITS) { return; }
  let area = params.out_h * params.out_w;
  let scale = power_of_two(exponent());
  for (var job = id.z; job < params.outputs * params.groups; job += groups.z) {
    let m = divide(job, params.groups);
    let image = image_of(m);
    let canvas = canvas_of(m);
    if ((image < 0) | (canvas < 0)) { continue; }
    var line = line_of(m, id.x);
    let p = position(m, &line, id.x, id.y);
    let tx = tap_x(p);
    let ty = tap_y(p);
    for (var c = job - m * params.groups; c < params.channels; c += params.groups) {
      let base = (u32(image) * params.channels + c) * params.in_h * params.in_w;
      let g = f32(dy[(u32(canvas) * params.channels + c) * area + id.y * params.out_w + id.x]);
      let above = base + u32(ty.lo) * params.in_w;
      if (MODE != BILINEAR) {
        add(above + u32(tx.lo), g, scale, ty.has_lo & tx.has_lo);
        continue;
      }
      let below = base + u32(ty.hi) * params.in_w;
      add(above + u32(tx.lo), (1.0 - ty.t) * (1.0 - tx.t) * g, scale, ty.has_lo & tx.has_lo);
      add(above + u32(tx.hi), (1.0 - ty.t) * tx.t * g, scale, ty.has_lo & tx.has_hi);
      add(below + u32(tx.lo), ty.t * (1.0 - tx.t) * g, scale, ty.has_hi & tx.has_lo);
      add(below + u32(tx.hi), ty.t * tx.t * g, scale, ty.has_hi & tx.has_hi);
    }
  }
}

// First and end of the outputs among which those of image n are.
fn outputs_of(n: u32) -> vec2u {
  if (INDEXED != 0u) { return spans[n]; }
  return select(vec2u(n, n + 1u), vec2u(0u, params.outputs), params.images == 1u);
}

// What lies outside adds zero to some pixel.
fn add_alone(at: u32, value: f32, inside: bool) { own_sums[at] += select(0.0, value, inside); }

// vec4s of a copy.
fn copy_size() -> u32 { return (params.images * params.channels * params.in_h * params.in_w + 3u) / 4u; }

// One invocation a copy of a plane: its share of the lines of all outputs of that image. If dy holds infinity or NaN, `peak`
// gets its bits.
@compute @workgroup_size(WX)
fn scatter_alone(@builtin(global_invocation_id) id: vec3u) {
  let planes = params.images * params.channels;
  if (id.x >= COPIES * planes) { return; }
  let copy = divide(id.x, planes);
  let plane = id.x - copy * planes;
  let n = divide(plane, params.channels);
  let base = copy * 4u * copy_size() + plane * params.in_h * params.in_w;
  let span = outputs_of(n);
  let sizes = select(vec2u(params.out_w, params.out_h), vec2u(params.out_h, params.out_w), ACROSS);
  var top = 0u;
  for (var m = span.x; m < span.y; m++) {
    let canvas = canvas_of(m);
    if ((image_of(m) != i32(n)) | (canvas < 0)) { continue; }
    let upstream = (u32(canvas) * params.channels + plane - n * params.channels) * params.out_h * params.out_w;
    for (var i = copy; i < sizes.x; i += COPIES) {
      var line = line_of(m, i);
      for (var step = 0u; step < sizes.y; step++) {
        let u = select(i, step, ACROSS);
        let v = select(step, i, ACROSS);
        let p = position(m, &line, u, v);
        let tx = tap_x(p);
        let ty = tap_y(p);
        let g = f32(dy[upstream + v * params.out_w + u]);
        top = max(top, magnitude(g));
        let above = base + u32(ty.lo) * params.in_w;
        if (MODE != BILINEAR) {
          add_alone(above + u32(tx.lo), g, ty.has_lo & tx.has_lo);
          continue;
        }
        let below = base + u32(ty.hi) * params.in_w;
        let g_above = select(0.0, (1.0 - ty.t) * g, ty.has_lo);
        let g_below = select(0.0, ty.t * g, ty.has_hi);
        add_alone(above + u32(tx.lo), (1.0 - tx.t) * g_above, tx.has_lo);
        add_alone(above + u32(tx.hi), tx.t * g_above, tx.has_hi);
        add_alone(below + u32(tx.lo), (1.0 - tx.t) * g_below, tx.has_lo);
        add_alone(below + u32(tx.hi), tx.t * g_below, tx.has_hi);
      }
    }
  }
  if (top >= INFINITY_BITS) { atomicMax(&peak[0], top); }
}

// Samples along one axis of a box, among `size` pixels.
struct Axis { first: f32, length: f32, count: u32, size: u32 }

fn sample(i: i32, axis: Axis) -> Sample {
  let t = tap(along_box(u32(i), axis.first, axis.length, axis.count), i32(axis.size), BORDER);
  return Sample(t.lo, select(0.0, t.t, MODE == BILINEAR));
}

// First and end of the outputs along one axis of a box that touch a pixel k … l of the image, which repeats at the border;
// perhaps some beside.
fn touching(k: i32, l: i32, axis: Axis) -> vec2i {
  let count = f32(axis.count);
  if (axis.length == 0.0) {
    let t = tap(along_box(0u, axis.first, axis.length, axis.count), i32(axis.size), BORDER);
    return vec2i(0, select(0, i32(axis.count), (t.lo <= l) & (t.hi >= k)));
  }
  // The outputs at k − 1 and l + 1, and what rounding may shift them.
  let a = (f32(k) - 0.5 - axis.first) * count / axis.length - 0.5;
  let b = (f32(l) + 1.5 - axis.first) * count / axis.length - 0.5;
  let slack = 0.01 + 2e-6 * (abs(axis.first) + f32(axis.size)) * count / abs(axis.length);
  let at_first = k == 0;
  let at_last = l + 1 == i32(axis.size);
  let before = select(at_last, at_first, axis.length > 0.0);
  let after = select(at_first, at_last, axis.length > 0.0);
  let low = select(ceil(min(a, b) - slack), 0.0, before);
  let high = select(floor(max(a, b) + slack) + 1.0, count, after);
  return vec2i(vec2f(clamp(low, 0.0, count), clamp(high, 0.0, count)));
}

fn upstream_at(at: i32, m: i32) -> f32 { return f32(dy[at]); }

// include: parts/summed_rows.wgsl

// dx of boxes, where each pixel finds the outputs that touched it: nothing is scattered. One invocation four columns of ROWS
// rows; the first box writes them, the others add to them.
@compute @workgroup_size(WX, WY)
fn gather(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let width = i32(params.in_w);
  let column = 4 * i32(id.x);
  let first = i32(id.y * ROWS);
  let end = min(first + i32(ROWS), i32(params.in_h));
  if (column >= width || first >= end) { return; }
  let pixels = four_from(column, width);
  for (var plane = id.z; plane < params.images * params.channels; plane += groups.z) {
    let n = divide(plane, params.channels);
    let c = plane - n * params.channels;
    let to = i32(plane * params.in_h * params.in_w);
    let span = outputs_of(n);
    var fresh = params.add == 0u;
    for (var m = span.x; m < span.y; m++) {
      if (image_of(m) != i32(n)) { continue; }
      let across = Axis(theta[4u * m], theta[4u * m + 2u], params.out_w, params.in_w);
      let down = Axis(theta[4u * m + 1u], theta[4u * m + 3u], params.out_h, params.in_h);
      let samples = touching(pixels.x, pixels.w, across);
      if (samples.x >= samples.y && !fresh) { continue; }
      let rows = touching(first, end - 1, down);
      let source = i32((m * params.channels + c) * params.out_h * params.out_w);
      let reversed = down.length < 0.0;
      let stride = i32(params.out_w);
      let k = columns_at(samples.x, samples.y, pixels, across);
      sum_rows(k, first, end, rows, down, reversed, source, stride, to, width, !ADDS || fresh, 0);
      for (var at = samples.x + SAMPLES; at < samples.y; at += SAMPLES) {
        let more = columns_at(at, samples.y, pixels, across);
        sum_rows(more, first, end, rows, down, reversed, source, stride, to, width, false, 0);
      }
      fresh = false;
    }
    for (var row = first; fresh & (row < end); row++) { put(pixels + (to + row * width), vec4f(), true); }
  }
}

fn not_a_number() -> f32 { return bitcast<f32>(found_peak[0] | 0x7fc00000u); }

// y = the sums as floats; NaN everywhere if dy held infinity or NaN.
@compute @workgroup_size(64)
fn finish(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let count = params.images * params.channels * params.in_h * params.in_w;
  let unit = power_of_two(-exponent());
  for (var i = id.x + id.y * groups.x * 64u; i < count; i += groups.x * groups.y * 64u) {
    var sum = sum_in(found_sums[i]);
    // Numbers of one sign, so that no digit cancels.
    if ((sum.x < 0) & (sum.y > 0)) { sum += vec2i(1, -HALF); }
    let total = (f32(sum.x) + f32(sum.y) / f32(HALF)) * unit;
    let value = select(total, not_a_number(), found_peak[0] >= INFINITY_BITS);
    if (params.add != 0u) { y[i] = elem(f32(y[i]) + value); } else { y[i] = elem(value); }
  }
}

// After a `scatter_alone` into dx: NaN everywhere if dy held infinity or NaN.
@compute @workgroup_size(64)
fn spoil(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (found_peak[0] < INFINITY_BITS) { return; }
  let count = params.images * params.channels * params.in_h * params.in_w;
  for (var i = id.x; i < count; i += groups.x * 64u) { y[i] = elem(not_a_number()); }
}

// y = the sum of the copies; NaN everywhere if dy held infinity or NaN.
@compute @workgroup_size(64)
fn add_copies(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let size = copy_size();
  let count = params.images * params.channels * params.in_h * params.in_w;
  let first = first_of(id, groups);
  for (var k = 0u; k < RUN; k++) {
    let i = first + 64u * k;
    if (i >= size) { return; }
    var sum = found_own[i];
    for (var copy = 1u; copy < COPIES; copy++) { sum += found_own[copy * size + i]; }
    if (found_peak[0] >= INFINITY_BITS) { sum = vec4f(not_a_number()); }
    if (WIDE) {
      put(vec4i(4 * i32(i)), sum, params.add == 0u);
      continue;
    }
    for (var at = 4u * i; at < min(4u * i + 4u, count); at++) {
      let value = sum[at & 3u];
      if (params.add != 0u) { y[at] = elem(f32(y[at]) + value); } else { y[at] = elem(value); }
    }
  }
}

var<workgroup> partial: array<f32, 64>;

// One workgroup an element of dθ; lanes stride over the pixels, then a tree in fixed order.
@compute @workgroup_size(64)
fn pull(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = group.x + group.y * groups.x;
  let m = i / params.parameters;
  let k = i % params.parameters;
  var sum = 0.0;
  if (m < params.outputs) {
    let columns = reached(k % params.grid_w, params.out_w, params.grid_w);
    let rows = reached(k / params.grid_w % params.grid_h, params.out_h, params.grid_h);
    let width = columns.y - columns.x;
    let count = width * (rows.y - rows.x);
    for (var j = lane; j < count; j += 64u) {
      let row = divide(j, width);
      let u = columns.x + j - row * width;
      let v = rows.x + row;
      sum += dot(jacobian(k, m, u, v), pulls[(m * params.out_h + v) * params.out_w + u]);
    }
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u && m < params.outputs) { dtheta[i] = partial[0]; }
}

// The same for a grid, where each position has its own two parameters.
@compute @workgroup_size(64)
fn pull_grid(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.outputs * params.out_h * params.out_w) { return; }
  let size = vec2f(f32(params.in_w), f32(params.in_h));
  let g = pulls[i] * 0.5 * select(size, size - 1.0, MAP == GRID_CENTERS);
  dtheta[2u * i] = g.x;
  dtheta[2u * i + 1u] = g.y;
}
