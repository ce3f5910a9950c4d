// Resizing to twice or half the sides, (planes, h, w) on one side and (planes, 2h, 2w) on the other, planes = N·C, w a
// multiple of four, and the gradients of it: four of the smaller array's pixels at once, without a division for any of them.
//   halve         y[i,j] = scale · Σ x[2i + k, 2j + l], k, l < 2     bilinear ÷2 (scale ¼); gradient of nearest ×2 (1)
//   repeat        y[i,j] = scale · x[⌊i/2⌋, ⌊j/2⌋]                   nearest ×2 (1); gradient of bilinear ÷2 (¼)
//   enlarge       bilinear ×2: the results 2k and 2k + 1 lie a quarter before and behind k
//   enlarge_grad  its gradient: every result's share in k, those of 2k − 1 … 2k + 2
// x and y may be channels of larger arrays: plane p of image n lies offset + n·gap elements further than in a dense one.

// include: parts/over.wgsl

alias elem4 = vec4f;

struct Params {
  planes: i32,
  h: i32, w: i32, // of the smaller array
  channels: i32,
  from_offset: i32, from_gap: i32,
  to_offset: i32, to_gap: i32,
  rows: i32,      // of the smaller array, that an invocation takes
  scale: f32,
}

@group(0) @binding(0) var<storage, read> x4: array<elem4>;
@group(0) @binding(1) var<storage, read_write> y4: array<elem4>;
@group(0) @binding(2) var<uniform> params: Params;

// 1: y += …
override ADDS: u32 = 0;

// Four columns of some rows: the first and the end of rows, the first of columns (counted in fours), and where the vec4s of these
// lie in row 0 of both arrays.
struct Strip { first: i32, end: i32, quad: i32, small: i32, large: i32 }

fn strip(id: vec3u, groups: vec3u, small: vec2i, large: vec2i) -> Strip {
  let i = i32(id.x + id.y * groups.x * 64u);
  let across = params.w / 4;
  let blocks = (params.h + params.rows - 1) / params.rows;
  let line = over(i, across);
  let plane = over(line, blocks);
  let image = over(plane, params.channels);
  let quad = i - line * across;
  let first = (line - plane * blocks) * params.rows;
  let end = select(min(first + params.rows, params.h), first, plane >= params.planes);
  return Strip(
    first,
    end,
    quad,
    plane * params.h * across + quad + (small.x + image * small.y) / 4,
    4 * plane * params.h * across + 2 * quad + (large.x + image * large.y) / 4,
  );
}

fn place_of_x() -> vec2i {
  return vec2i(params.from_offset, params.from_gap);
}

fn place_of_y() -> vec2i {
  return vec2i(params.to_offset, params.to_gap);
}

fn put(at: i32, v: vec4f) {
  if (ADDS == 1u) { y4[at] = elem4(vec4f(y4[at]) + v); } else { y4[at] = elem4(v); }
}

@compute @workgroup_size(64)
fn halve(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = strip(id, groups, place_of_y(), place_of_x());
  let across = params.w / 4;
  for (var i = s.first; i < s.end; i++) {
    let at = s.large + 4 * i * across;
    let a = vec4f(x4[at]);
    let b = vec4f(x4[at + 1]);
    let c = vec4f(x4[at + 2 * across]);
    let d = vec4f(x4[at + 2 * across + 1]);
    let upper = vec4f(a.xz, b.xz) + vec4f(a.yw, b.yw);
    let lower = vec4f(c.xz, d.xz) + vec4f(c.yw, d.yw);
    put(s.small + i * across, params.scale * (upper + lower));
  }
}

@compute @workgroup_size(64)
fn repeat(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = strip(id, groups, place_of_x(), place_of_y());
  let across = params.w / 4;
  for (var i = s.first; i < s.end; i++) {
    let v = params.scale * vec4f(x4[s.small + i * across]);
    let at = s.large + 4 * i * across;
    put(at, v.xxyy);
    put(at + 1, v.zzww);
    put(at + 2 * across, v.xxyy);
    put(at + 2 * across + 1, v.zzww);
  }
}

// A row of x at eight columns of the result.
struct Eight { a: vec4f, b: vec4f }

fn widened(at: i32, quad: i32) -> Eight {
  let v = vec4f(x4[at]);
  // Beyond the ends lie the ends: a quarter and three quarters of one value make that value, to the bit.
  let begins = quad == 0;
  let ends = quad + 1 == params.w / 4;
  let before = select(f32(x4[select(at - 1, at, begins)].w), v.x, begins);
  let behind = select(f32(x4[select(at + 1, at, ends)].x), v.w, ends);
  return Eight(
    vec4f(0.25 * before + 0.75 * v.x, 0.75 * v.x + 0.25 * v.y, 0.25 * v.x + 0.75 * v.y, 0.75 * v.y + 0.25 * v.z),
    vec4f(0.25 * v.y + 0.75 * v.z, 0.75 * v.z + 0.25 * v.w, 0.25 * v.z + 0.75 * v.w, 0.75 * v.w + 0.25 * behind),
  );
}

@compute @workgroup_size(64)
fn enlarge(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = strip(id, groups, place_of_x(), place_of_y());
  if (s.first >= s.end) { return; }
  let across = params.w / 4;
  var upper = widened(s.small + max(s.first - 1, 0) * across, s.quad);
  var middle = widened(s.small + s.first * across, s.quad);
  for (var i = s.first; i < s.end; i++) {
    let lower = widened(s.small + min(i + 1, params.h - 1) * across, s.quad);
    let at = s.large + 4 * i * across;
    put(at, 0.25 * upper.a + 0.75 * middle.a);
    put(at + 1, 0.25 * upper.b + 0.75 * middle.b);
    put(at + 2 * across, 0.75 * middle.a + 0.25 * lower.a);
    put(at + 2 * across + 1, 0.75 * middle.b + 0.25 * lower.b);
    upper = middle;
    middle = lower;
  }
}

// Shares in four columns of the eight that lie in them, and of the one before and the one behind.
fn narrowed(at: i32, quad: i32) -> vec4f {
  let a = vec4f(x4[at]);
  let b = vec4f(x4[at + 1]);
  let begins = quad == 0;
  let ends = quad + 1 == params.w / 4;
  let before = select(0.25 * f32(x4[select(at - 1, at, begins)].w) + 0.75 * a.x, a.x, begins);
  let behind = select(0.75 * b.w + 0.25 * f32(x4[select(at + 2, at, ends)].x), b.w, ends);
  return vec4f(
    before + 0.75 * a.y + 0.25 * a.z,
    0.25 * a.y + 0.75 * a.z + 0.75 * a.w + 0.25 * b.x,
    0.25 * a.w + 0.75 * b.x + 0.75 * b.y + 0.25 * b.z,
    0.25 * b.y + 0.75 * b.z + behind,
  );
}

// The gradient of the rows 2k − 1 and 2k, one of which the array lacks at both ends.
struct Pair { odd: vec4f, even: vec4f }

fn rows_before(k: i32, s: Strip) -> Pair {
  let at = s.large + (2 * k - 1) * params.w / 2;
  var pair = Pair(vec4f(0.0), vec4f(0.0));
  if (k > 0) { pair.odd = narrowed(at, s.quad); }
  if (k < params.h) { pair.even = narrowed(at + params.w / 2, s.quad); }
  return pair;
}

@compute @workgroup_size(64)
fn enlarge_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let s = strip(id, groups, place_of_y(), place_of_x());
  if (s.first >= s.end) { return; }
  let across = params.w / 4;
  var before = rows_before(s.first, s);
  for (var k = s.first; k < s.end; k++) {
    let behind = rows_before(k + 1, s);
    let upper = select(0.25 * before.odd + 0.75 * before.even, before.even, k == 0);
    let lower = select(0.75 * behind.odd + 0.25 * behind.even, behind.odd, k + 1 == params.h);
    put(s.small + k * across, upper + lower);
    before = behind;
  }
}
