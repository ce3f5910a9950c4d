// y = a where the condition is not 0, else b, with NumPy's broadcasting; a or b may be a number.
// By bits. `same`: equal shapes, by vec4s. `general`: any strides.

override NUMBER_A: u32 = 0u; // a is params.a
override NUMBER_B: u32 = 0u;

struct Params {
  count: u32, // elements of y; `same`: vec4s
  turns: u32, // parts/turns.wgsl
  a: f32,
  b: f32,
  n0: u32, n1: u32, n2: u32, n3: u32, n4: u32, n5: u32, // sizes of y, innermost first
  c0: u32, c1: u32, c2: u32, c3: u32, c4: u32, c5: u32, // strides of the condition, of a, of b
  a0: u32, a1: u32, a2: u32, a3: u32, a4: u32, a5: u32,
  b0: u32, b1: u32, b2: u32, b3: u32, b4: u32, b5: u32,
}

@group(0) @binding(0) var<storage, read> c: array<u32>;
@group(0) @binding(0) var<storage, read> wide_c: array<vec4u>;
@group(0) @binding(1) var<storage, read> a: array<u32>;
@group(0) @binding(1) var<storage, read> wide_a: array<vec4u>;
@group(0) @binding(2) var<storage, read> b: array<u32>;
@group(0) @binding(2) var<storage, read> wide_b: array<vec4u>;
@group(0) @binding(3) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<storage, read_write> wide_y: array<vec4u>;
@group(0) @binding(4) var<uniform> params: Params;

// include: parts/turns.wgsl

@compute @workgroup_size(64)
fn same(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let p = select(wide_a[i], vec4u(bitcast<u32>(params.a)), NUMBER_A == 1u);
    let q = select(wide_b[i], vec4u(bitcast<u32>(params.b)), NUMBER_B == 1u);
    wide_y[i] = select(p, q, (wide_c[i] & vec4u(0x7fffffffu)) == vec4u(0u));
  }
}

@compute @workgroup_size(64)
fn general(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    var left = i;
    var at = vec3u(0u);
    at += (left % params.n0) * vec3u(params.c0, params.a0, params.b0);
    left /= params.n0;
    at += (left % params.n1) * vec3u(params.c1, params.a1, params.b1);
    left /= params.n1;
    at += (left % params.n2) * vec3u(params.c2, params.a2, params.b2);
    left /= params.n2;
    at += (left % params.n3) * vec3u(params.c3, params.a3, params.b3);
    left /= params.n3;
    at += (left % params.n4) * vec3u(params.c4, params.a4, params.b4);
    left /= params.n4;
    at += left * vec3u(params.c5, params.a5, params.b5);
    let p = select(a[at.y], bitcast<u32>(params.a), NUMBER_A == 1u);
    let q = select(b[at.z], bitcast<u32>(params.b), NUMBER_B == 1u);
    y[i] = select(p, q, (c[at.x] & 0x7fffffffu) == 0u);
  }
}
