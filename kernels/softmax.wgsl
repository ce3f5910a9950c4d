// y = e^(x - max x) / Σ e^(x - max x) along one axis, and dx = y (dy - Σ dy y). x is seen as
// (outer, axis, inner). `rows`: a workgroup a row, lanes along the axis (inner is 1). `columns`: a lane a
// column, walking the axis. `columns_wide`: four of them side by side, where 4 divides inner.

struct Params {
  outer: u32,
  axis: u32,
  inner: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<storage, read> dy: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;
@group(0) @binding(4) var<storage, read> x4: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> y4: array<vec4f>;
@group(0) @binding(6) var<storage, read> dy4: array<vec4f>;

alias Sum = f32;
override WG: u32 = 64;

fn max_lanes(lane: u32, mine: f32) -> f32 {
  tree[lane] = mine;
  workgroupBarrier();
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) {
      tree[lane] = max(tree[lane], tree[lane + half]);
    }
    workgroupBarrier();
  }
  return tree[0];
}

@compute @workgroup_size(WG)
fn rows(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  let live = row < params.outer;
  let at = select(0u, row, live) * params.axis;
  let end = select(0u, params.axis, live);
  var best = x[at];
  for (var k = lane; k < end; k += WG) {
    best = max(best, x[at + k]);
  }
  best = max_lanes(lane, best);
  var total = 0.0;
  for (var k = lane; k < end; k += WG) {
    let e = exp(x[at + k] - best);
    y[at + k] = e;
    total += e;
  }
  total = add_up(lane, total);
  for (var k = lane; k < end; k += WG) {
    y[at + k] /= total;
  }
}

// x is the result of the forward pass.
@compute @workgroup_size(WG)
fn rows_grad(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let row = group.x + group.y * groups.x;
  let live = row < params.outer;
  let at = select(0u, row, live) * params.axis;
  let end = select(0u, params.axis, live);
  var total = 0.0;
  for (var k = lane; k < end; k += WG) {
    total += x[at + k] * dy[at + k];
  }
  total = add_up(lane, total);
  for (var k = lane; k < end; k += WG) {
    y[at + k] = x[at + k] * (dy[at + k] - total);
  }
}

// Where column `id` begins, and where it ends, of columns of so many values side by side: four with vec4s.
struct Column { begin: u32, end: u32, step: u32, live: bool }

fn column(id: u32, values: u32) -> Column {
  let inner = params.inner / values;
  let begin = (id / inner) * params.axis * inner + id % inner;
  return Column(begin, begin + params.axis * inner, inner, id < params.outer * inner);
}

@compute @workgroup_size(64)
fn columns(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = column(thread.x + thread.y * groups.x * 64u, 1u);
  if (!c.live) { return; }
  var best = x[c.begin];
  for (var at = c.begin; at < c.end; at += c.step) { best = max(best, x[at]); }
  var total = 0.0;
  for (var at = c.begin; at < c.end; at += c.step) {
    let e = exp(x[at] - best);
    y[at] = e;
    total += e;
  }
  for (var at = c.begin; at < c.end; at += c.step) { y[at] /= total; }
}

@compute @workgroup_size(64)
fn columns_wide(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = column(thread.x + thread.y * groups.x * 64u, 4u);
  if (!c.live) { return; }
  var best = x4[c.begin];
  for (var at = c.begin; at < c.end; at += c.step) { best = max(best, x4[at]); }
  var total = vec4f();
  for (var at = c.begin; at < c.end; at += c.step) {
    let e = exp(x4[at] - best);
    y4[at] = e;
    total += e;
  }
  for (var at = c.begin; at < c.end; at += c.step) { y4[at] /= total; }
}

@compute @workgroup_size(64)
fn columns_grad(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = column(thread.x + thread.y * groups.x * 64u, 1u);
  if (!c.live) { return; }
  var total = 0.0;
  for (var at = c.begin; at < c.end; at += c.step) { total += x[at] * dy[at]; }
  for (var at = c.begin; at < c.end; at += c.step) { y[at] = x[at] * (dy[at] - total); }
}

@compute @workgroup_size(64)
fn columns_wide_grad(@builtin(global_invocation_id) thread: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let c = column(thread.x + thread.y * groups.x * 64u, 4u);
  if (!c.live) { return; }
  var total = vec4f();
  for (var at = c.begin; at < c.end; at += c.step) { total += x4[at] * dy4[at]; }
  for (var at = c.begin; at < c.end; at += c.step) { y4[at] = x4[at] * (dy4[at] - total); }
}
