// The forms `rows` and `rows_wide` of reduce.wgsl with subgroups: lanes fold among themselves by shuffles, so that
// a workgroup meets at one barrier instead of seven. Right for any subgroup size from 4 to 128 and any way in which
// lanes are dealt to subgroups; the order of a sum is fixed by the adapter's.
enable subgroups;

override OP: u32;            // 0 sum, 1 maximum, 2 minimum
override KEPT: u32 = 1u;     // kept axes
override REDUCED: u32 = 1u;  // reduced axes
override LANES: u32 = 128u;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  outputs: u32, reduced: u32, splits: u32, run: u32,
  start: f32, scale: f32,
  k0: u32, k1: u32, p0: u32, p1: u32, p2: u32,
  r0: u32, r1: u32, q0: u32, q1: u32, q2: u32,
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(0) var<storage, read> wide_x: array<elem4>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

fn is_nan(v: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

fn fold(p: vec4f, q: vec4f) -> vec4f {
  if (OP == 0u) { return p + q; }
  let first = select((p < q), (p > q), OP == 1u);
  let best = select(q, p, first);
  return select(select(best, q, is_nan(q)), p, is_nan(p));
}

fn fold_pair(p: f32, q: f32) -> f32 { return fold(vec4f(p), vec4f(q)).x; }

// Where the elements of output o begin in x.
fn base(o: u32) -> u32 {
  if (KEPT == 1u) { return o * params.p0; }
  if (KEPT == 2u) { return (o % params.k0) * params.p0 + (o / params.k0) * params.p1; }
  let rest = o / params.k0;
  return (o % params.k0) * params.p0 + (rest % params.k1) * params.p1 + (rest / params.k1) * params.p2;
}

// Offset of the r-th reduced element.
fn offset(r: u32) -> u32 {
  if (REDUCED == 1u) { return r * params.q0; }
  if (REDUCED == 2u) { return (r % params.r0) * params.q0 + (r / params.r0) * params.q1; }
  let rest = r / params.r0;
  return (r % params.r0) * params.q0 + (rest % params.r1) * params.q1 + (rest / params.r1) * params.q2;
}

// A butterfly: every lane gets the fold of its subgroup. Partners beyond the subgroup are undefined, and left out.
fn fold_subgroup(mine: f32, size: u32) -> f32 {
  var v = fold_pair(mine, subgroupShuffleXor(mine, 1u));
  v = fold_pair(v, subgroupShuffleXor(v, 2u));
  var other = subgroupShuffleXor(v, 4u);
  v = select(v, fold_pair(v, other), size > 4u);
  other = subgroupShuffleXor(v, 8u);
  v = select(v, fold_pair(v, other), size > 8u);
  other = subgroupShuffleXor(v, 16u);
  v = select(v, fold_pair(v, other), size > 16u);
  other = subgroupShuffleXor(v, 32u);
  v = select(v, fold_pair(v, other), size > 32u);
  other = subgroupShuffleXor(v, 64u);
  return select(v, fold_pair(v, other), size > 64u);
}

var<workgroup> partial: array<f32, LANES>;

// The lanes' values in one. Each subgroup leaves its fold at the place of its first lane and the start at the others;
// then every subgroup folds all places, in the order of its own lanes.
fn fold_lanes(lane: u32, mine: f32, invocation: u32, size: u32) -> f32 {
  let whole = fold_subgroup(mine, size);
  partial[lane] = select(params.start, whole, invocation == 0u);
  workgroupBarrier();
  var v = params.start;
  for (var i = invocation; i < LANES; i += size) { v = fold_pair(v, partial[i]); }
  return fold_subgroup(v, size);
}

@compute @workgroup_size(LANES)
fn rows(
  @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_invocation_id) invocation: u32, @builtin(subgroup_size) size: u32,
) {
  let id = group.x + group.y * groups.x;
  let live = id < params.outputs * params.splits;
  var mine = params.start;
  if (live) {
    let begin = (id / params.outputs) * params.run;
    let end = min(begin + params.run, params.reduced);
    let at = base(id % params.outputs);
    for (var r = begin + lane; r < end; r += LANES) { mine = fold_pair(mine, f32(x[at + offset(r)])); }
  }
  let total = fold_lanes(lane, mine, invocation, size);
  if (lane == 0u && live) { y[id] = total * params.scale; }
}

// The innermost axis is reduced and divides by four: reduced strides, except the innermost, count vec4s.
@compute @workgroup_size(LANES)
fn rows_wide(
  @builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_invocation_id) invocation: u32, @builtin(subgroup_size) size: u32,
) {
  let id = group.x + group.y * groups.x;
  let live = id < params.outputs * params.splits;
  var mine = vec4f(params.start);
  if (live) {
    let begin = (id / params.outputs) * params.run;
    let end = min(begin + params.run, params.reduced);
    let at = base(id % params.outputs);
    for (var r = begin + lane; r < end; r += LANES) { mine = fold(mine, vec4f(wide_x[at + offset(r)])); }
  }
  let pair = fold(mine, mine.zwxy);
  let total = fold_lanes(lane, fold(pair, pair.yxwz).x, invocation, size);
  if (lane == 0u && live) { y[id] = total * params.scale; }
}
