// Index of the largest (or smallest) element along one axis, the first of equals; NaN counts as the
// most extreme. x is seen as (outer, axis, inner). Values are compared as integers in the order of the
// floats, so that NaN and infinity need no assumption. A long axis is cut into `splits` runs, each giving
// one candidate; `finish` chooses among the candidates.

override SMALLEST: u32 = 0u;

struct Params {
  outer: u32,
  axis: u32,
  inner: u32,
  splits: u32,
  run: u32,
}

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read_write> keys: array<u32>;
@group(0) @binding(2) var<storage, read_write> y: array<u32>;
@group(0) @binding(3) var<storage, read> candidate_keys: array<u32>;
@group(0) @binding(4) var<storage, read> candidates: array<u32>;
@group(0) @binding(5) var<uniform> params: Params;

// Larger key, more extreme.
fn key_of(bits: u32) -> u32 {
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return 0xffffffffu;
  }
  let plain = select(bits, 0u, bits == 0x80000000u);
  let ascending = plain ^ select(0x80000000u, 0xffffffffu, (plain & 0x80000000u) != 0u);
  return select(ascending, ~ascending, SMALLEST == 1u);
}

const LANES = 128u;
var<workgroup> best_keys: array<u32, LANES>;
var<workgroup> best_indices: array<u32, LANES>;

// One workgroup a candidate (outer · splits of them), lanes along the axis; inner is 1.
@compute @workgroup_size(LANES)
fn rows(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let id = group.x + group.y * groups.x;
  let live = id < params.outer * params.splits;
  var key = 0u;
  var index = 0xffffffffu;
  if (live) {
    let row = id / params.splits;
    let begin = (id % params.splits) * params.run;
    let end = min(begin + params.run, params.axis);
    for (var k = begin + lane; k < end; k += LANES) {
      let candidate = key_of(x[row * params.axis + k]);
      if (candidate > key || index == 0xffffffffu) {
        key = candidate;
        index = k;
      }
    }
  }
  best_keys[lane] = key;
  best_indices[lane] = index;
  workgroupBarrier();
  for (var half = LANES / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      let other = best_keys[lane + half];
      let at = best_indices[lane + half];
      if (other > best_keys[lane] || (other == best_keys[lane] && at < best_indices[lane])) {
        best_keys[lane] = other;
        best_indices[lane] = at;
      }
    }
    workgroupBarrier();
  }
  if (lane == 0u && live) {
    keys[id] = best_keys[0];
    y[id] = best_indices[0];
  }
}

// One lane an output, walking the whole axis.
@compute @workgroup_size(64)
fn columns(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let id = thread.x + thread.y * groups.x * 64u;
  if (id < params.outer * params.inner) {
    let at = (id / params.inner) * params.axis * params.inner + id % params.inner;
    var key = key_of(x[at]);
    var index = 0u;
    for (var k = 1u; k < params.axis; k++) {
      let candidate = key_of(x[at + k * params.inner]);
      if (candidate > key) {
        key = candidate;
        index = k;
      }
    }
    y[id] = index;
  }
}

@compute @workgroup_size(64)
fn finish(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = thread.x + thread.y * groups.x * 64u;
  if (row < params.outer) {
    var best = row * params.splits;
    for (var s = 1u; s < params.splits; s++) {
      let at = row * params.splits + s;
      if (candidate_keys[at] > candidate_keys[best]) {
        best = at;
      }
    }
    y[row] = candidates[best];
  }
}
