// A walk down strips: a step comes upon a row of x, with stride 2 upon two, and adds what they give to the rows of y above them,
// of which it holds the sums. A kernel that includes this has windows KH high and what parts/strided_rows.wgsl and
// parts/depthwise_strips.wgsl want.

fn along(sum: vec4f, w: Taps, v: Seen) -> vec4f {
  var s = sum + w.a * under_tap(v, 0u);
  if (KW > 1u) { s += w.b * under_tap(v, 1u); }
  if (KW > 2u) { s += w.c * under_tap(v, 2u); }
  if (KW > 3u) { s += w.d * under_tap(v, 3u); }
  if (KW > 4u) { s += w.e * under_tap(v, 4u); }
  if (KW > 5u) { s += w.f * under_tap(v, 5u); }
  if (KW > 6u) { s += w.g * under_tap(v, 6u); }
  return s;
}

// The rows of x of a step, without stride one.
struct Step { a: Seen, b: Seen }

// Of a row of y that is j steps further up.
fn meet(sum: vec4f, w: array<Taps, 7>, j: u32, v: Step) -> vec4f {
  let s = along(sum, w[STRIDE * j], v.a);
  if (STRIDE == 1u || 2u * j + 1u >= KH) { return s; }
  return along(s, w[2u * j + 1u], v.b);
}

struct Sums { a: vec4f, b: vec4f, c: vec4f, d: vec4f, e: vec4f, f: vec4f, g: vec4f }

// At the next step each row is one further up.
fn moved_on(s: Sums) -> Sums { return Sums(vec4f(), s.a, s.b, s.c, s.d, s.e, s.f); }

// A step of one channel; the row that is furthest up is whole then.
fn under(s: Sums, w: array<Taps, 7>, v: Step) -> Sums {
  var t = s;
  t.a = meet(s.a, w, 0u, v);
  if (KH > STRIDE) { t.b = meet(s.b, w, 1u, v); }
  if (KH > 2u * STRIDE) { t.c = meet(s.c, w, 2u, v); }
  if (KH > 3u * STRIDE) { t.d = meet(s.d, w, 3u, v); }
  if (KH > 4u * STRIDE) { t.e = meet(s.e, w, 4u, v); }
  if (KH > 5u * STRIDE) { t.f = meet(s.f, w, 5u, v); }
  if (KH > 6u * STRIDE) { t.g = meet(s.g, w, 6u, v); }
  return t;
}

fn whole(s: Sums) -> vec4f {
  if (KH <= STRIDE) { return s.a; }
  if (KH <= 2u * STRIDE) { return s.b; }
  if (KH <= 3u * STRIDE) { return s.c; }
  if (KH <= 4u * STRIDE) { return s.d; }
  if (KH <= 5u * STRIDE) { return s.e; }
  if (KH <= 6u * STRIDE) { return s.f; }
  return s.g;
}

fn row_of(plane: i32, iy: i32, ox: i32, lane: i32) -> Seen {
  return seen_of(plane + iy * params.w, params.w, (iy >= 0) & (iy < params.h), ox, lane);
}

// Step a down a strip of the plane of x that begins at `plane`.
fn step_of(plane: i32, s: Strip, a: i32, lane: i32) -> Step {
  let iy = (s.first + a * params.dilationH) * i32(STRIDE) - params.padH;
  var second = Seen();
  if (STRIDE == 2u && KH > 1u) { second = row_of(plane, iy + 1, s.ox, lane); }
  return Step(row_of(plane, iy, s.ox, lane), second);
}
