// The start-up self-check: known results of what every kernel rests on, computed from values that only
// arrive at run time, so that no compiler can fold them. src/gpu/selfcheck.ts holds inputs and answers;
// a result's place is its place in the tables there. One lane, one result, one store: CPU drivers take
// long to compile each store, and this kernel is compiled at every start.

struct Params {
  terms: u32,         // bound of the loop, uniform
  minus_eight: i32,
  seven: i32,
  top_bit: u32,       // 1 << 31
  infinity: u32,      // bits of +inf
  nan: u32,           // bits of a NaN
  lanes: u32,         // LANES, but not to the compiler, which would unroll the loop
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<vec4f, 3>;
@group(0) @binding(2) var<storage, read_write> results: array<u32, 256>;
@group(0) @binding(3) var<storage, read_write> counters: array<atomic<u32>, 4>;

const LANES = 64u;
const FLOATS = 16u;     // float results in the first lanes; integer results behind them

var<workgroup> lanes: array<f32, LANES>;
var<workgroup> products: array<f32, LANES>;

fn is_nan(value: f32) -> u32 {
  return u32((bitcast<u32>(value) & 0x7fffffffu) > 0x7f800000u);
}

fn is_inf(value: f32) -> u32 {
  return u32((bitcast<u32>(value) & 0x7fffffffu) == 0x7f800000u);
}

fn float_result(i: u32) -> f32 {
  let a = x[0];       // 1.5, 2.25, 0.125, 1
  let b = x[1];       // 2^-23, 3, -2.5, 10
  let c = x[2];       // 2, 0.7, 3e38, 100
  var value = 0.0;
  switch i {
    case 0u: { value = a.x + a.y; }
    case 1u: { value = a.x * a.y; }
    case 2u: { value = fma(a.x, a.y, a.z); }
    case 3u: { value = (a.w + b.x) - a.w; }
    case 4u: { value = a.w / b.y; }
    case 5u: { value = exp(b.z); }
    case 6u: { value = log(b.w); }
    case 7u: { value = sqrt(c.x); }
    case 8u: { value = tanh(c.y); }
    case 9u: { value = dot(a, b); }
    case 10u: { value = floor(b.z); }
    case 11u: { value = max(b.z, a.x) + 2.0 * min(b.z, a.x); }
    case 12u: {
      for (var k = 1u; k <= params.terms; k++) {
        value += f32(k * k);
      }
    }
    case 13u: {
      for (var k = 0u; k < params.lanes; k++) {
        value += products[k];
      }
    }
    default: {}
  }
  return value;
}

fn integer_result(i: u32) -> u32 {
  let one = x[0].w;
  let overflow = x[2].z * x[1].y;
  let inf = bitcast<f32>(params.infinity);
  let nan = bitcast<f32>(params.nan);
  let minus_seven = params.minus_eight + 1;
  var value = 0u;
  switch i {
    case 0u: { value = params.top_bit >> 3u; }
    case 1u: { value = params.terms << 4u; }
    case 2u: { value = bitcast<u32>(params.minus_eight >> 1u); }
    case 3u: { value = bitcast<u32>(minus_seven / 2); }
    case 4u: { value = bitcast<u32>(params.minus_eight % params.seven); }
    case 5u: { value = params.top_bit + params.top_bit + params.terms; }
    case 6u: { value = bitcast<u32>(params.minus_eight * params.seven); }
    case 7u: { value = bitcast<u32>(i32(x[1].z)); }
    case 8u: { value = (params.infinity ^ params.top_bit) & ~params.terms; }
    // Infinity and NaN: that they arrive from memory, arise, and are told apart by their bits.
    case 9u: { value = bitcast<u32>(inf); }
    case 10u: { value = is_nan(nan); }
    case 11u: { value = is_inf(overflow); }
    case 12u: { value = is_inf(exp(x[2].w)); }
    case 13u: { value = is_nan(inf - overflow); }
    case 14u: { value = is_nan(nan + one); }
    case 15u: { value = is_nan(one) + is_inf(one) + is_nan(inf) + is_inf(nan); }
    default: {}
  }
  return value;
}

@compute @workgroup_size(LANES)
fn selfcheck(@builtin(global_invocation_id) id: vec3u, @builtin(local_invocation_index) lane: u32) {
  atomicAdd(&counters[0], id.x);
  atomicMin(&counters[1], (id.x * 37u + 11u) % 256u + 5u);

  // Each lane reads what another wrote, so this needs the barriers.
  lanes[lane] = f32(lane);
  workgroupBarrier();
  products[lane] = lanes[LANES - 1u - lane] * f32(lane);
  workgroupBarrier();

  // The first workgroup computes the tables, the others show that invocations are numbered well.
  var bits = id.x * 3u + 1u;
  if (id.x < FLOATS) {
    bits = bitcast<u32>(float_result(id.x));
  } else if (id.x < LANES) {
    bits = integer_result(id.x - FLOATS);
  }
  results[id.x] = bits;
}
