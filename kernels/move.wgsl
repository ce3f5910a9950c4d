// Moves elements without computing: a box of x to a box of y, each with strides and an offset (permute,
// slice, concat, stretching), or x into a larger y with a value around it (pad). By bits, so any dtype of four bytes;
// the half form moves halves.

override AXES: u32 = 1u; // axes that are walked
override GRID: u32 = 0u; // the launch has the walk's own axes, at most three: no division

alias elem = u32;
alias elem4 = vec4u;
alias full = u32; // of the same kind, four bytes: f32 in the half form

struct Params {
  count: u32,    // elements (or vec4s) of the box; pad: of y
  turns: u32,    // parts/turns.wgsl
  x_offset: u32, // of the box in x and in y
  y_offset: u32,
  value: f32,    // pad: the value around x
  n0: u32, n1: u32, n2: u32, n3: u32, n4: u32, n5: u32, // sizes of the box, innermost first; pad: of y
  x0: u32, x1: u32, x2: u32, x3: u32, x4: u32, x5: u32, // strides of x
  y0: u32, y1: u32, y2: u32, y3: u32, y4: u32, y5: u32, // strides of y; pad: positions before x
  m0: u32, m1: u32, m2: u32, m3: u32, m4: u32, m5: u32, // pad: sizes of x
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(0) var<storage, read> wide_x: array<elem4>;
@group(0) @binding(1) var<storage, read_write> y: array<elem>;
@group(0) @binding(1) var<storage, read_write> wide_y: array<elem4>;
@group(0) @binding(2) var<uniform> params: Params;

// include: parts/turns.wgsl

// Which elements (or vec4s) of the box a thread moves; on a grid one or none, which it finds by itself.
fn elements(id: vec3u, groups: vec3u) -> Elements {
  if (GRID == 0u) { return elements_of(id, groups); }
  return Elements(0u, select(0u, 1u, id.x < params.n0));
}

// Positions in x and y of the element of a thread.
fn places(id: vec3u, i: u32) -> vec2u {
  if (GRID == 0u) {
    return unravelled(i);
  }
  return vec2u(params.x_offset, params.y_offset) + id.x * vec2u(params.x0, params.y0)
    + id.y * vec2u(params.x1, params.y1) + id.z * vec2u(params.x2, params.y2);
}

// Positions of element i of the box in x and y.
fn unravelled(i: u32) -> vec2u {
  var left = i;
  var at = vec2u(params.x_offset, params.y_offset);
  if (AXES > 1u) {
    at += (left % params.n0) * vec2u(params.x0, params.y0);
    left /= params.n0;
  }
  if (AXES > 2u) {
    at += (left % params.n1) * vec2u(params.x1, params.y1);
    left /= params.n1;
  }
  if (AXES > 3u) {
    at += (left % params.n2) * vec2u(params.x2, params.y2);
    left /= params.n2;
  }
  if (AXES > 4u) {
    at += (left % params.n3) * vec2u(params.x3, params.y3);
    left /= params.n3;
  }
  if (AXES > 5u) {
    at += (left % params.n4) * vec2u(params.x4, params.y4);
    left /= params.n4;
  }
  switch AXES {
    case 6u: { return at + left * vec2u(params.x5, params.y5); }
    case 5u: { return at + left * vec2u(params.x4, params.y4); }
    case 4u: { return at + left * vec2u(params.x3, params.y3); }
    case 3u: { return at + left * vec2u(params.x2, params.y2); }
    case 2u: { return at + left * vec2u(params.x1, params.y1); }
    default: { return at + left * vec2u(params.x0, params.y0); }
  }
}

@compute @workgroup_size(64)
fn copy(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = places(id, i);
    y[at.y] = x[at.x];
  }
}

// Sizes, strides and offsets count vec4s along the inner axis.
@compute @workgroup_size(64)
fn copy_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = places(id, i);
    wide_y[at.y] = wide_x[at.x];
  }
}

// x has stride 0 along the inner axis: one element fills a vec4 of y.
@compute @workgroup_size(64)
fn spread(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = places(id, i);
    wide_y[at.y] = elem4(x[at.x]);
  }
}

// Index into x of element i of y, and whether it lies in x (else in the pad).
fn inside(i: u32) -> vec2u {
  let n = array<u32, 6>(params.n0, params.n1, params.n2, params.n3, params.n4, params.n5);
  let before = array<u32, 6>(params.y0, params.y1, params.y2, params.y3, params.y4, params.y5);
  let m = array<u32, 6>(params.m0, params.m1, params.m2, params.m3, params.m4, params.m5);
  let stride = array<u32, 6>(params.x0, params.x1, params.x2, params.x3, params.x4, params.x5);
  var left = i;
  var at = 0u;
  var ok = 1u;
  for (var k = 0u; k < AXES; k++) {
    let c = left % n[k] - before[k]; // wraps below 0 to a large number
    left /= n[k];
    ok = select(0u, ok, c < m[k]);
    at += c * stride[k];
  }
  return vec2u(select(0u, at, ok == 1u), ok);
}

@compute @workgroup_size(64)
fn pad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = inside(i);
    y[i] = select(elem(bitcast<full>(params.value)), x[at.x], at.y == 1u);
  }
}

@compute @workgroup_size(64)
fn pad_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = inside(i);
    wide_y[i] = select(elem4(elem(bitcast<full>(params.value))), wide_x[at.x], at.y == 1u);
  }
}
