// Sum, maximum or minimum over some axes. Axes of x fall into kept and reduced ones (neighbours merged, so
// that at most three of each remain). The reduced elements of one output are cut into `splits` runs of
// `run` elements, each folded into one partial; a second launch folds the partials. All orders are fixed.
//
// `rows`: a workgroup a partial, lanes side by side along the innermost axis, which is reduced.
// `columns`: a lane a partial, lanes side by side along the innermost axis, which is kept.
// `strips`: a lane a partial, walking the innermost axis, which is reduced: on CPU drivers, where barriers cost
// much, and where few elements fall on an output.

override OP: u32;            // 0 sum, 1 maximum, 2 minimum
override KEPT: u32 = 1u;     // kept axes
override REDUCED: u32 = 1u;  // reduced axes

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  outputs: u32, // elements of the result; columns_wide: vec4s
  reduced: u32, // elements folded into one output; rows_wide: vec4s
  splits: u32,
  run: u32,
  start: f32,   // what a fold begins with
  scale: f32,   // factor of the result
  k0: u32, k1: u32,             // sizes of kept axes, innermost first (the outermost is not needed)
  p0: u32, p1: u32, p2: u32,    // their strides in x
  r0: u32, r1: u32,             // sizes of reduced axes
  q0: u32, q1: u32, q2: u32,    // their strides in x
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(0) var<storage, read> wide_x: array<elem4>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(1) var<storage, read_write> wide_y: array<vec4f>;
@group(0) @binding(2) var<uniform> params: Params;

const LANES = 128u;

fn is_nan(v: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

fn fold(p: vec4f, q: vec4f) -> vec4f {
  if (OP == 0u) {
    return p + q;
  }
  let first = select((p < q), (p > q), OP == 1u);
  let best = select(q, p, first);
  return select(select(best, q, is_nan(q)), p, is_nan(p));
}

// Where the elements of output o begin in x.
fn base(o: u32) -> u32 {
  if (KEPT == 1u) {
    return o * params.p0;
  }
  if (KEPT == 2u) {
    return (o % params.k0) * params.p0 + (o / params.k0) * params.p1;
  }
  let rest = o / params.k0;
  return (o % params.k0) * params.p0 + (rest % params.k1) * params.p1 + (rest / params.k1) * params.p2;
}

// Offset of the r-th reduced element.
fn offset(r: u32) -> u32 {
  if (REDUCED == 1u) {
    return r * params.q0;
  }
  if (REDUCED == 2u) {
    return (r % params.r0) * params.q0 + (r / params.r0) * params.q1;
  }
  let rest = r / params.r0;
  return (r % params.r0) * params.q0 + (rest % params.r1) * params.q1 + (rest / params.r1) * params.q2;
}

var<workgroup> partial: array<vec4f, LANES>;

// Folds the lanes' values, in the first `width` components, into one.
fn fold_lanes(lane: u32, mine: vec4f, width: u32) -> f32 {
  partial[lane] = mine;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] = fold(partial[lane], partial[lane + half]);
    }
    workgroupBarrier();
  }
  let v = partial[0];
  if (width == 1u) {
    return v.x;
  }
  let pair = fold(v, v.zwxy);
  return fold(pair, pair.yxwz).x;
}

@compute @workgroup_size(LANES)
fn rows(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = group.x + group.y * groups.x;
  let live = id < params.outputs * params.splits;
  var mine = vec4f(params.start);
  if (live) {
    let begin = (id / params.outputs) * params.run;
    let end = min(begin + params.run, params.reduced);
    let at = base(id % params.outputs);
    for (var r = begin + lane; r < end; r += LANES) {
      mine = fold(mine, vec4f(f32(x[at + offset(r)])));
    }
  }
  let total = fold_lanes(lane, mine, 1u);
  if (lane == 0u && live) {
    y[id] = total * params.scale;
  }
}

// The innermost axis is reduced and divides by four: reduced strides, except the innermost, count vec4s.
@compute @workgroup_size(LANES)
fn rows_wide(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = group.x + group.y * groups.x;
  let live = id < params.outputs * params.splits;
  var mine = vec4f(params.start);
  if (live) {
    let begin = (id / params.outputs) * params.run;
    let end = min(begin + params.run, params.reduced);
    let at = base(id % params.outputs);
    for (var r = begin + lane; r < end; r += LANES) {
      mine = fold(mine, vec4f(wide_x[at + offset(r)]));
    }
  }
  let total = fold_lanes(lane, mine, 4u);
  if (lane == 0u && live) {
    y[id] = total * params.scale;
  }
}

// Any strides: `columns` and `strips`.
@compute @workgroup_size(64)
fn columns(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let id = thread.x + thread.y * groups.x * 64u;
  if (id < params.outputs * params.splits) {
    let begin = (id / params.outputs) * params.run;
    let end = min(begin + params.run, params.reduced);
    let at = base(id % params.outputs);
    var mine = vec4f(params.start);
    for (var r = begin; r < end; r++) {
      mine = fold(mine, vec4f(f32(x[at + offset(r)])));
    }
    y[id] = mine.x * params.scale;
  }
}

// The innermost axis is kept and divides by four: a thread folds four neighbouring outputs.
@compute @workgroup_size(64)
fn columns_wide(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let id = thread.x + thread.y * groups.x * 64u;
  if (id < params.outputs * params.splits) {
    let begin = (id / params.outputs) * params.run;
    let end = min(begin + params.run, params.reduced);
    let at = base(id % params.outputs);
    var mine = vec4f(params.start);
    for (var r = begin; r < end; r++) {
      mine = fold(mine, vec4f(wide_x[at + offset(r)]));
    }
    wide_y[id] = mine * params.scale;
  }
}

// The innermost axis is reduced and divides by four.
@compute @workgroup_size(64)
fn strips_wide(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let id = thread.x + thread.y * groups.x * 64u;
  if (id < params.outputs * params.splits) {
    let begin = (id / params.outputs) * params.run;
    let end = min(begin + params.run, params.reduced);
    let at = base(id % params.outputs);
    var mine = vec4f(params.start);
    for (var r = begin; r < end; r++) {
      mine = fold(mine, vec4f(wide_x[at + offset(r)]));
    }
    let pair = fold(mine, mine.zwxy);
    y[id] = fold(pair, pair.yxwz).x * params.scale;
  }
}
