// The transpose of an image's stretching along its axes: each pixel sums up the samples that it went into, so nothing is
// scattered. One invocation four columns of some rows of the image, SAMPLES columns of samples at a time: it walks down their
// rows, sums each along x with weights that it found once, and adds it to the two rows of the image between which it lies.
//
// A kernel that includes this gives
//   Axis                          along which samples lie
//   sample(i, axis) -> Sample     where sample i lies
//   upstream_at(at, m) -> f32     element `at` of dy; m is what it passed to `sum_rows`
//   y, y4                         where the gradient goes: in fours (WIDE) to y4 where four divides the image's width

// The share t falls on pixel low + 1, the rest on pixel low.
struct Sample { low: i32, t: f32 }

override SAMPLES: i32 = 8; // 4, 8 or 12
override WIDE: bool = false;
override ADDS: bool = false; // a sum may be added to what is there

// SAMPLES columns of samples, and their weights in four pixels.
struct Columns {
  pixels: vec4i, at: i32, end: i32,
  a: vec4f, b: vec4f, c: vec4f, d: vec4f, e: vec4f, f: vec4f, g: vec4f, h: vec4f, i: vec4f, j: vec4f, k: vec4f, l: vec4f,
}

// Four pixels from the first on; past the last of `size` the last again.
fn four_from(first: i32, size: i32) -> vec4i { return min(vec4i(first) + vec4i(0, 1, 2, 3), vec4i(size - 1)); }

fn shares(i: i32, end: i32, pixels: vec4i, across: Axis) -> vec4f {
  let s = sample(i, across);
  let low = select(vec4f(), vec4f(1.0 - s.t), pixels == vec4i(s.low));
  return select(vec4f(), select(low, vec4f(s.t), pixels == vec4i(s.low + 1)), i < end);
}

// The samples from `at` on, of which those from `end` on count for nothing.
fn columns_at(at: i32, end: i32, pixels: vec4i, across: Axis) -> Columns {
  var k = Columns();
  k.pixels = pixels;
  k.at = at;
  k.end = end;
  k.a = shares(at, end, pixels, across);
  k.b = shares(at + 1, end, pixels, across);
  k.c = shares(at + 2, end, pixels, across);
  k.d = shares(at + 3, end, pixels, across);
  if (SAMPLES > 4) {
    k.e = shares(at + 4, end, pixels, across);
    k.f = shares(at + 5, end, pixels, across);
    k.g = shares(at + 6, end, pixels, across);
    k.h = shares(at + 7, end, pixels, across);
  }
  if (SAMPLES > 8) {
    k.i = shares(at + 8, end, pixels, across);
    k.j = shares(at + 9, end, pixels, across);
    k.k = shares(at + 10, end, pixels, across);
    k.l = shares(at + 11, end, pixels, across);
  }
  return k;
}

// Stores four sums, or adds them to what is there. Of a place that stands twice both are read before one is written.
fn put(at: vec4i, value: vec4f, fresh: bool) {
  var sum = value;
  if (WIDE) {
    if (!fresh) { sum += vec4f(y4[at.x / 4]); }
    y4[at.x / 4] = elem4(sum);
    return;
  }
  if (!fresh) { sum += vec4f(f32(y[at.x]), f32(y[at.y]), f32(y[at.z]), f32(y[at.w])); }
  y[at.x] = elem(sum.x);
  y[at.y] = elem(sum.y);
  y[at.z] = elem(sum.z);
  y[at.w] = elem(sum.w);
}

fn row_sums(row: i32, k: Columns, m: i32) -> vec4f {
  let at = row + k.at;
  let last = row + k.end - 1;
  var sum = k.a * upstream_at(at, m) + k.b * upstream_at(min(at + 1, last), m)
    + k.c * upstream_at(min(at + 2, last), m) + k.d * upstream_at(min(at + 3, last), m);
  if (SAMPLES > 4) {
    sum += k.e * upstream_at(min(at + 4, last), m) + k.f * upstream_at(min(at + 5, last), m)
      + k.g * upstream_at(min(at + 6, last), m) + k.h * upstream_at(min(at + 7, last), m);
  }
  if (SAMPLES > 8) {
    sum += k.i * upstream_at(min(at + 8, last), m) + k.j * upstream_at(min(at + 9, last), m)
      + k.k * upstream_at(min(at + 10, last), m) + k.l * upstream_at(min(at + 11, last), m);
  }
  return sum;
}

// Rows [first, end) of four columns, of rows of samples [rows.x, rows.y), which lie upwards if `backwards`. dy's plane begins
// at `source`, its rows are `stride` apart, the image's plane begins at `to`, its rows are `width` apart.
//
// Each turn finishes a row of the image or takes a row of samples, mostly both: loops within cost CPU drivers more, as do loads
// that no lane needs (`fresh` a constant).
fn sum_rows(
  k: Columns, first: i32, end: i32, rows: vec2i, down: Axis, backwards: bool,
  source: i32, stride: i32, to: i32, width: i32, fresh: bool, m: i32,
) {
  var row = first - 1;
  var i = rows.x;
  // Of columns without samples no row counts.
  let stop = select(rows.y, rows.x, k.at >= k.end);
  var here = vec4f();
  var below = vec4f();
  loop {
    let v = select(i, rows.x + rows.y - 1 - i, backwards);
    let s = sample(v, down);
    let done = (i >= stop) | (s.low > row);
    if (done & (row >= first)) { put(k.pixels + (to + row * width), here, fresh); }
    here = select(here, below, done);
    below = select(below, vec4f(), done);
    row += select(0, 1, done);
    if (row >= end) { break; }
    let takes = (i < stop) & (s.low <= row);
    let sum = select(vec4f(), row_sums(source + v * stride, k, m), takes);
    here += (select(0.0, 1.0 - s.t, s.low == row) + select(0.0, s.t, s.low + 1 == row)) * sum;
    below += select(0.0, s.t, s.low == row) * sum;
    i += select(0, 1, takes);
  }
}
