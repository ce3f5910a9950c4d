// y = f(x), and dx = f'(x) dy, by vec4s. Bits go in and out: WGSL may assume that NaN and
// infinity do not occur, so both are recognised and written by their bits.

override OP: u32;
const NEG = 0u;
const ABS = 1u;
const RELU = 2u;
const SIGMOID = 3u;
const EXP = 4u;
const LOG = 5u;
const SQRT = 6u;
const TANH = 7u;
const POW = 8u;
const CLAMP = 9u;

alias elem4 = vec4f;

struct Params {
  count: u32, // vec4s
  turns: u32, // parts/turns.wgsl
  a: f32,     // POW: exponent; CLAMP: lower bound
  b: f32,     // CLAMP: upper bound
}

@group(0) @binding(0) var<storage, read> x: array<elem4>;
@group(0) @binding(1) var<storage, read> dy: array<elem4>;
@group(0) @binding(2) var<storage, read_write> y: array<elem4>;
@group(0) @binding(3) var<uniform> params: Params;

const INFINITY = 0x7f800000u;

fn is_nan(bits: vec4u) -> vec4<bool> {
  return (bits & vec4u(0x7fffffffu)) > vec4u(INFINITY);
}

fn is_infinite(bits: vec4u) -> vec4<bool> {
  return (bits & vec4u(0x7fffffffu)) == vec4u(INFINITY);
}

// 1 / (1 + e⁻ˣ), by the exponential that does not overflow.
fn sigmoid(v: vec4f) -> vec4f {
  let z = exp(-abs(v));
  return select(z, vec4f(1.0), v >= vec4f(0.0)) / (1.0 + z);
}

// Near 0 by its series (1 − e⁻²ˣ cancels there), else by the exponential that does not overflow.
fn tanh_of(v: vec4f) -> vec4f {
  let s = v * v;
  let series = v * (1.0 + s * (-0.33333333 + s * (0.13333333 + s * (-0.053968254 + s * 0.021869488))));
  let t = exp(-2.0 * abs(v));
  return select(sign(v) * (1.0 - t) / (1.0 + t), series, abs(v) < vec4f(0.25));
}

// v^e. Whole exponents by squaring, so that signs and zeros are right; else 2^(e log2 v), NaN for v < 0.
fn power(v: vec4f, e: f32) -> vec4u {
  if (e == floor(e) && abs(e) <= 64.0) {
    var product = vec4f(1.0);
    var base = v;
    for (var n = u32(abs(e)); n > 0u; n >>= 1u) {
      if ((n & 1u) == 1u) {
        product *= base;
      }
      base *= base;
    }
    if (e < 0.0) {
      let inverse = bitcast<vec4u>(1.0 / product);
      let sign = bitcast<vec4u>(product) & vec4u(0x80000000u);
      return select(inverse, sign | vec4u(INFINITY), product == vec4f(0.0));
    }
    return bitcast<vec4u>(product);
  }
  if (e == 0.5) {
    return select(root(v), vec4u(0u), v == vec4f(0.0));
  }
  let positive = bitcast<vec4u>(exp2(e * log2(v)));
  let at_zero = select(vec4u(0u), vec4u(INFINITY), e < 0.0);
  return select(select(positive, at_zero, v == vec4f(0.0)), vec4u(0x7fc00000u), v < vec4f(0.0));
}

fn root(v: vec4f) -> vec4u {
  let r = select(bitcast<vec4u>(sqrt(v)), bitcast<vec4u>(v), (v == vec4f(0.0)) | is_infinite(bitcast<vec4u>(v)));
  return select(r, vec4u(0x7fc00000u), v < vec4f(0.0));
}

fn logarithm(v: vec4f) -> vec4u {
  let l = select(bitcast<vec4u>(log(v)), bitcast<vec4u>(v), is_infinite(bitcast<vec4u>(v)));
  return select(select(l, vec4u(0xff800000u), v == vec4f(0.0)), vec4u(0x7fc00000u), v < vec4f(0.0));
}

fn value(bits: vec4u) -> vec4u {
  let v = bitcast<vec4f>(bits);
  var r = bits;
  switch OP {
    case NEG: { return bits ^ vec4u(0x80000000u); }
    case ABS: { return bits & vec4u(0x7fffffffu); }
    // Negative numbers and -0 are the bits from 0x80000000 to those of -infinity; NaN lies outside.
    case RELU: { return select(bits, vec4u(0u), (bits >= vec4u(0x80000000u)) & (bits <= vec4u(0xff800000u))); }
    case SIGMOID: { r = bitcast<vec4u>(sigmoid(v)); }
    case EXP: {
      r = select(bitcast<vec4u>(exp(min(v, vec4f(88.8)))), vec4u(INFINITY), v > vec4f(88.72284));
      r = select(r, vec4u(0u), v < vec4f(-104.0));
    }
    case LOG: { r = logarithm(v); }
    case SQRT: { r = root(v); }
    case TANH: { r = bitcast<vec4u>(tanh_of(v)); }
    case POW: { r = power(v, params.a); }
    case CLAMP: { r = bitcast<vec4u>(select(select(v, vec4f(params.a), v < vec4f(params.a)), vec4f(params.b), v > vec4f(params.b))); }
    default: {}
  }
  return select(r, bits, is_nan(bits));
}

// The gradient from the input (ABS, LOG, POW, CLAMP) or from the output (the others), whichever is cheaper.
fn gradient(bits: vec4u, d: vec4f) -> vec4f {
  let v = bitcast<vec4f>(bits);
  switch OP {
    case NEG: { return -d; }
    case ABS: { return select(sign(v) * d, vec4f(0.0), v == vec4f(0.0)); }
    case RELU: { return select(d, vec4f(0.0), bits == vec4u(0u)); }
    case SIGMOID: { return d * v * (1.0 - v); }
    case EXP: { return d * v; }
    case LOG: { return d / v; }
    case SQRT: { return d / (2.0 * v); }
    case TANH: { return d * (1.0 - v * v); }
    case POW: { return d * params.a * bitcast<vec4f>(power(v, params.a - 1.0)); }
    case CLAMP: { return select(d, vec4f(0.0), (v < vec4f(params.a)) | (v > vec4f(params.b))); }
    default: { return d; }
  }
}

// include: parts/turns.wgsl

@compute @workgroup_size(64)
fn apply(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    y[i] = elem4(bitcast<vec4f>(value(bitcast<vec4u>(vec4f(x[i])))));
  }
}

@compute @workgroup_size(64)
fn grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    y[i] = elem4(gradient(bitcast<vec4u>(vec4f(x[i])), vec4f(dy[i])));
  }
}
