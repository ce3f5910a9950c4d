// y = f(a, b) with NumPy's broadcasting. `same`, `number`, `wide` and `spread` go by four neighbours,
// `general` by one along any strides.

override OP: u32;
override SWAP: u32 = 0u; // f(b, a) instead, for `number` and `spread`
override AXES: u32 = 1u; // axes that are walked
override GRID: u32 = 0u; // the launch has the walk's own axes, at most three: no division

const ADD = 0u;
const SUB = 1u;
const MUL = 2u;
const DIV = 3u;
const MAXIMUM = 4u;
const MINIMUM = 5u;
const GT = 6u;
const GE = 7u;
const LT = 8u;
const LE = 9u;
const EQ = 10u;
const NE = 11u;
const NEG_MUL = 12u;     // -(a b)
const SHARE_MAX = 13u;   // share of a in the gradient of max(a, b): 1, 0, or a half where they are equal
const SHARE_MIN = 14u;
const SHARE_REST = 15u;  // a - b, where b is a's share of it: exact, since shares are 0, ½ and 1
const AND = 16u;
const OR = 17u;
const ADD_RELU = 18u;    // max(a + b, 0), by comparison: a NaN stays one

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  count: u32,  // vec4s of y; `general`: elements
  turns: u32,  // parts/turns.wgsl
  number: f32, // `number`: the second operand
  n0: u32, n1: u32, n2: u32, n3: u32, n4: u32, n5: u32, // sizes of y, innermost first; n0 in vec4s where y is
  a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32, // strides of a
  b0: u32, b1: u32, b2: u32, b3: u32, b4: u32, b5: u32, // strides of b
}

@group(0) @binding(0) var<storage, read> a: array<elem>;
@group(0) @binding(0) var<storage, read> wide_a: array<elem4>;
@group(0) @binding(1) var<storage, read> b: array<elem>;
@group(0) @binding(1) var<storage, read> wide_b: array<elem4>;
@group(0) @binding(2) var<storage, read_write> y: array<elem>;
@group(0) @binding(2) var<storage, read_write> wide_y: array<elem4>;
@group(0) @binding(3) var<uniform> params: Params;

fn is_nan(v: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

fn truth(v: vec4<bool>) -> vec4f {
  return select(vec4f(0.0), vec4f(1.0), v);
}

// `chosen` by bits, or the operand that is NaN.
fn or_nan(p: vec4f, q: vec4f, chosen: vec4f) -> vec4f {
  return select(select(chosen, q, is_nan(q)), p, is_nan(p));
}

fn combine(p: vec4f, q: vec4f) -> vec4f {
  let ordered = !(is_nan(p) | is_nan(q));
  switch OP {
    case ADD: { return p + q; }
    case SUB, SHARE_REST: { return p - q; }
    case MUL: { return p * q; }
    case NEG_MUL: { return -(p * q); }
    case DIV: { return p / q; }
    case MAXIMUM: { return or_nan(p, q, select(q, p, p > q)); }
    case MINIMUM: { return or_nan(p, q, select(q, p, p < q)); }
    case GT: { return truth((p > q) & ordered); }
    case GE: { return truth((p >= q) & ordered); }
    case LT: { return truth((p < q) & ordered); }
    case LE: { return truth((p <= q) & ordered); }
    case EQ: { return truth((p == q) & ordered); }
    case NE: { return truth(!((p == q) & ordered)); }
    case SHARE_MAX: { return select(truth(p > q), vec4f(0.5), p == q); }
    case SHARE_MIN: { return select(truth(p < q), vec4f(0.5), p == q); }
    case AND: { return truth((p != vec4f(0.0)) & (q != vec4f(0.0))); }
    case OR: { return truth((p != vec4f(0.0)) | (q != vec4f(0.0))); }
    case ADD_RELU: { return select(p + q, vec4f(0.0), p + q < vec4f(0.0)); }
    default: { return p; }
  }
}

fn ordered_pair(p: vec4f, q: vec4f) -> vec4f {
  if (SWAP == 1u) {
    return combine(q, p);
  }
  return combine(p, q);
}

// include: parts/turns.wgsl

// Which elements (or vec4s) of y a thread computes; on a grid one or none.
fn elements(id: vec3u, groups: vec3u) -> Elements {
  if (GRID == 0u) { return elements_of(id, groups); }
  let i = id.x + params.n0 * (id.y + params.n1 * id.z);
  return Elements(i, select(i, i + 1u, id.x < params.n0));
}

// Offsets into a and b of the position of a thread.
fn places(id: vec3u, i: u32) -> vec2u {
  if (GRID == 0u) {
    return offsets(i);
  }
  return id.x * vec2u(params.a0, params.b0) + id.y * vec2u(params.a1, params.b1) + id.z * vec2u(params.a2, params.b2);
}

// Offsets into a and b of the i-th position of the walk.
fn offsets(i: u32) -> vec2u {
  var left = i;
  var at = vec2u(0u);
  if (AXES > 1u) {
    at += (left % params.n0) * vec2u(params.a0, params.b0);
    left /= params.n0;
  }
  if (AXES > 2u) {
    at += (left % params.n1) * vec2u(params.a1, params.b1);
    left /= params.n1;
  }
  if (AXES > 3u) {
    at += (left % params.n2) * vec2u(params.a2, params.b2);
    left /= params.n2;
  }
  if (AXES > 4u) {
    at += (left % params.n3) * vec2u(params.a3, params.b3);
    left /= params.n3;
  }
  if (AXES > 5u) {
    at += (left % params.n4) * vec2u(params.a4, params.b4);
    left /= params.n4;
  }
  switch AXES {
    case 6u: { return at + left * vec2u(params.a5, params.b5); }
    case 5u: { return at + left * vec2u(params.a4, params.b4); }
    case 4u: { return at + left * vec2u(params.a3, params.b3); }
    case 3u: { return at + left * vec2u(params.a2, params.b2); }
    case 2u: { return at + left * vec2u(params.a1, params.b1); }
    default: { return at + left * vec2u(params.a0, params.b0); }
  }
}

@compute @workgroup_size(64)
fn same(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    wide_y[i] = elem4(combine(vec4f(wide_a[i]), vec4f(wide_b[i])));
  }
}

@compute @workgroup_size(64)
fn number(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    wide_y[i] = elem4(ordered_pair(vec4f(wide_a[i]), vec4f(params.number)));
  }
}

// Both operands have the inner axis: strides of a and b count vec4s.
@compute @workgroup_size(64)
fn wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = places(id, i);
    wide_y[i] = elem4(combine(vec4f(wide_a[at.x]), vec4f(wide_b[at.y])));
  }
}

// b is stretched along the inner axis: strides of a count vec4s, those of b elements.
@compute @workgroup_size(64)
fn spread(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = places(id, i);
    wide_y[i] = elem4(ordered_pair(vec4f(wide_a[at.x]), vec4f(f32(b[at.y]))));
  }
}

@compute @workgroup_size(64)
fn general(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let at = places(id, i);
    y[i] = elem(combine(vec4f(f32(a[at.x])), vec4f(f32(b[at.y]))).x);
  }
}
