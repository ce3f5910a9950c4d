// Resizing of (planes, h, w) to (planes, outH, outW), planes = N·C, nearest or bilinear. By two, where rows are whole vec4s, it
// is kernels/interpolate_twofold.wgsl's.
// Output i lies at the source coordinate max(0, a·i + b) / d along its axis, in exact integers:
//   nearest        a = h,      b = 0,         d = outH            takes row ⌊·⌋
//   half pixel     a = 2h,     b = h − outH,  d = 2·outH          (i + ½)·h/outH − ½
//   aligned corners a = h − 1, b = 0,         d = max(1, outH − 1)
// and with q its whole part and t the rest, y = (1 − t)·x[q] + t·x[min(q + 1, h − 1)].
// x, y and dy may be channels of larger arrays: plane p of image n lies offset + n·gap further than in a dense one.
// The gradient gathers: dx[row] = Σ dy[i] times the weight of `row` in i, over the i that touch it.

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  planes: u32,
  h: i32, w: i32,
  outH: i32, outW: i32,
  aH: i32, bH: i32, dH: i32,
  aW: i32, bW: i32, dW: i32,
  nearest: u32,
  channels: i32,
  // Of x, or of dy.
  from_offset: i32, from_gap: i32,
  to_offset: i32, to_gap: i32,
  // Planes whose invocations lie side by side along x, of maps narrower than a subgroup of a CPU driver. Not in `interpolate`.
  abreast: i32,
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> y: array<elem>; // of interpolate_grad: dx
@group(0) @binding(4) var<uniform> params: Params;
@group(0) @binding(5) var<storage, read_write> y4: array<elem4>;

struct Axis { size: i32, out: i32, a: i32, b: i32, d: i32 }

fn rows() -> Axis {
  return Axis(params.h, params.outH, params.aH, params.bH, params.dH);
}

fn columns() -> Axis {
  return Axis(params.w, params.outW, params.aW, params.bW, params.dW);
}

// Where an output takes its value: lower and upper neighbour, and the weight of the upper one.
struct Source { low: i32, high: i32, t: f32 }

// ⌊p / q⌋ for 0 ≤ p < 2²⁹ and quotients below 2¹⁶: float division is off by one at most, and CPU drivers
// divide integers one lane at a time.
fn divide(p: i32, q: i32) -> i32 {
  let guess = i32(f32(p) / f32(q));
  let rest = p - guess * q;
  return guess + select(0, 1, rest >= q) - select(0, 1, rest < 0);
}

fn source(i: i32, axis: Axis) -> Source {
  let scaled = max(0, axis.a * i + axis.b);
  let low = divide(scaled, axis.d);
  if (params.nearest == 1u) { return Source(low, low, 0.0); }
  return Source(low, min(low + 1, axis.size - 1), f32(scaled - low * axis.d) / f32(axis.d));
}

// Where planes begin.
fn plane_of_x(p: i32) -> i32 {
  return p * params.h * params.w + params.from_offset + divide(p, params.channels) * params.from_gap;
}
fn plane_of_y(p: i32) -> i32 {
  return p * params.outH * params.outW + params.to_offset + divide(p, params.channels) * params.to_gap;
}

// Rows of the result below each other that one invocation computes.
override ROWS: i32 = 1;
override WX: u32 = 8;
override WY: u32 = 8;

// Of a plane that takes so many invocations along x: its number among those side by side, and the invocation in it.
struct Beside { plane: i32, first: i32 }

fn beside(i: u32, across: i32) -> Beside {
  let plane = divide(i32(i), across);
  return Beside(plane, i32(i) - plane * across);
}

// A row of x blended at a column of the result; `row` is the index of its first element.
fn along(row: i32, u: Source) -> f32 {
  return (1.0 - u.t) * f32(x[row + u.low]) + u.t * f32(x[row + u.high]);
}

// One invocation a column of ROWS rows. Blended rows of x are kept for the rows of the result that share them.
@compute @workgroup_size(64)
fn interpolate(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let column = i32(id.x);
  if (column >= params.outW) { return; }
  let u = source(column, columns());
  let first = i32(id.y) * ROWS;
  let end = min(first + ROWS, params.outH);
  for (var p = i32(id.z); p < i32(params.planes); p += i32(groups.z)) {
    let plane = plane_of_x(p);
    let out = plane_of_y(p) + column;
    if (params.nearest == 1u) {
      for (var i = first; i < end; i++) {
        y[out + i * params.outW] = elem(f32(x[plane + source(i, rows()).low * params.w + u.low]));
      }
      continue;
    }
    var low = -1;
    var high = -1;
    var top = 0.0;
    var bottom = 0.0;
    for (var i = first; i < end; i++) {
      let v = source(i, rows());
      if (v.low != low) {
        if (v.low == high) { top = bottom; } else { top = along(plane + v.low * params.w, u); }
        low = v.low;
        high = v.high;
        bottom = along(plane + high * params.w, u);
      }
      y[out + i * params.outW] = elem((1.0 - v.t) * top + v.t * bottom);
    }
  }
}

// include: parts/carried_rows.wgsl

fn value_at(at: i32) -> f32 { return f32(x[at]); }

// Where outputs one after the other take their values, without a division for each: (a·i + b) / d is low and rest / d, and
// grows by whole and part / d.
struct Walk { low: i32, rest: i32, whole: i32, part: i32 }

fn walk_from(i: i32, axis: Axis) -> Walk {
  let scaled = axis.a * i + axis.b;
  let low = select(divide(max(scaled, 0), axis.d), -1, scaled < 0); // b > −d
  let whole = divide(axis.a, axis.d);
  return Walk(low, scaled - low * axis.d, whole, axis.a - whole * axis.d);
}

fn step(walk: Walk, d: i32) -> Walk {
  let rest = walk.rest + walk.part;
  let carry = rest >= d;
  return Walk(walk.low + walk.whole + select(0, 1, carry), rest - select(0, d, carry), walk.whole, walk.part);
}

// The sources of four columns from one on.
fn sources(column: i32) -> Sources {
  let a = source(column, columns());
  let b = source(column + 1, columns());
  let c = source(column + 2, columns());
  let d = source(column + 3, columns());
  return Sources(vec4i(a.low, b.low, c.low, d.low), vec4i(a.high, b.high, c.high, d.high), vec4f(a.t, b.t, c.t, d.t));
}

// The same for eight columns, where the width of the result is a multiple of four: CPU drivers store four values at
// the price of one, and find the source of a row for all of them. Past the last four the last again.
@compute @workgroup_size(WX, WY)
fn interpolate_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let wide = params.outW / 4;
  let b = beside(id.x, (wide + 1) / 2);
  let four = 2 * b.first;
  let first = i32(id.y) * ROWS;
  if (b.plane >= params.abreast || first >= params.outH) { return; }
  let next = min(four + 1, wide - 1);
  let u = sources(4 * four);
  let next_u = sources(4 * next);
  for (var p = b.plane + i32(id.z) * params.abreast; p < i32(params.planes); p += i32(groups.z) * params.abreast) {
    let plane = plane_of_x(p);
    let out = plane_of_y(p) / 4;
    var walk = walk_from(first, rows());
    var kept = no_rows();
    var next_kept = no_rows();
    for (var k = 0; k < ROWS; k++) {
      let i = min(first + k, params.outH - 1);
      let low = max(walk.low, 0);
      var value = vec4f();
      var next_value = vec4f();
      if (params.nearest == 1u) {
        if (low != kept.low) {
          kept = Rows(low, low, four_at(plane + low * params.w, u.low), vec4f());
          next_kept.top = four_at(plane + low * params.w, next_u.low);
        }
        value = kept.top;
        next_value = next_kept.top;
      } else {
        let t = select(f32(walk.rest) / f32(params.dH), 0.0, walk.low < 0);
        let high = min(low + 1, params.h - 1);
        value = four_between(&kept, plane, params.w, u, low, high, t);
        next_value = four_between(&next_kept, plane, params.w, next_u, low, high, t);
      }
      y4[out + i * wide + four] = elem4(value);
      y4[out + i * wide + next] = elem4(next_value);
      // Past the end the last row again: a number of turns that is known costs less.
      if (i + 1 < params.outH) { walk = step(walk, params.dH); }
    }
  }
}

// ⌈p / q⌉ for q > 0 and any p, within the bounds of `divide`.
fn divide_up(p: i32, q: i32) -> i32 {
  return select(-divide(-p, q), divide(p + q - 1, q), p > 0);
}

// The outputs whose source lies in (k − 1, l + 1), for nearest in [k, l + 1).
fn touching(k: i32, l: i32, axis: Axis) -> vec2i {
  if (axis.a == 0) { return vec2i(0, axis.out); }
  let from_place = select(k - 1, k, params.nearest == 1u);
  var first = 0;
  if (from_place >= 0) { first = max(0, divide_up(from_place * axis.d - axis.b, axis.a)); }
  return vec2i(first, min(divide_up((l + 1) * axis.d - axis.b, axis.a), axis.out));
}

fn sample(i: i32, axis: Axis) -> Sample {
  let s = source(i, axis);
  return Sample(s.low, select(0.0, s.t, s.high > s.low));
}

fn upstream_at(at: i32, m: i32) -> f32 { return f32(dy[at]); }

// include: parts/summed_rows.wgsl

// One invocation four columns of ROWS rows of all its planes.
@compute @workgroup_size(WX, WY)
fn interpolate_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let b = beside(id.x, (params.w + 3) / 4);
  let column = 4 * b.first;
  let first = ROWS * i32(id.y);
  if (b.plane >= params.abreast || first >= params.h) { return; }
  let end = min(first + ROWS, params.h);
  let pixels = four_from(column, params.w);
  let samples = touching(pixels.x, pixels.w, columns());
  let places = touching(first, end - 1, rows());
  let k = columns_at(samples.x, samples.y, pixels, columns());
  for (var p = b.plane + i32(id.z) * params.abreast; p < i32(params.planes); p += i32(groups.z) * params.abreast) {
    let image = divide(p, params.channels);
    let source = p * params.outH * params.outW + params.from_offset + image * params.from_gap;
    let to = p * params.h * params.w + params.to_offset + image * params.to_gap;
    sum_rows(k, first, end, places, rows(), false, source, params.outW, to, params.w, !ADDS, 0);
    for (var at = samples.x + SAMPLES; at < samples.y; at += SAMPLES) {
      let more = columns_at(at, samples.y, pixels, columns());
      sum_rows(more, first, end, places, rows(), false, source, params.outW, to, params.w, false, 0);
    }
  }
}
