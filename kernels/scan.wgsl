// Exclusive prefix sums of whole numbers, each segment by itself, in levels of RADIX: sums of groups upwards,
// offsets downwards. Nothing waits for another workgroup, and the same numbers are added in the same order.

struct Params {
  segments: u32,
  fine: u32,      // values of a segment
  coarse: u32,    // groups of a segment, ⌈fine / RADIX⌉
}

@group(0) @binding(0) var<storage, read_write> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> sums: array<u32>;
@group(0) @binding(2) var<storage, read> offsets: array<u32>;
@group(0) @binding(3) var<storage, read_write> totals: array<u32>;
@group(0) @binding(4) var<uniform> params: Params;

const RADIX: u32 = 64u;

fn invocation(id: vec3u, groups: vec3u) -> u32 { return id.x + id.y * groups.x * 64u; }

// Replaces values by what precedes them, from a start on; returns the end.
fn scan(start: u32, first: u32, last: u32) -> u32 {
  var running = start;
  for (var i = first; i < last; i++) {
    let value = values[i];
    values[i] = running;
    running += value;
  }
  return running;
}

// One invocation a group: its sum.
@compute @workgroup_size(64)
fn sum_groups(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let t = invocation(id, groups);
  if (t >= params.segments * params.coarse) { return; }
  let base = (t / params.coarse) * params.fine;
  let first = RADIX * (t % params.coarse);
  var sum = 0u;
  for (var i = first; i < min(first + RADIX, params.fine); i++) { sum += values[base + i]; }
  sums[t] = sum;
}

// One invocation a segment: the coarsest level, and the total.
@compute @workgroup_size(64)
fn scan_segments(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let t = invocation(id, groups);
  if (t >= params.segments) { return; }
  totals[t] = scan(0u, t * params.fine, (t + 1u) * params.fine);
}

// One invocation a group: from its offset on.
@compute @workgroup_size(64)
fn scan_groups(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let t = invocation(id, groups);
  if (t >= params.segments * params.coarse) { return; }
  let base = (t / params.coarse) * params.fine;
  let first = RADIX * (t % params.coarse);
  scan(offsets[t], base + first, base + min(first + RADIX, params.fine));
}
