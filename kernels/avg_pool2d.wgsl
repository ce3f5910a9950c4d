// Average pooling of (planes, h, w) to (planes, outH, outW), planes = N·C: windows of a fixed size and stride,
// or (adaptive) windows [⌊i·h/outH⌋, ⌈(i + 1)·h/outH⌉) that share the image out among the outputs.
//   y[p,i,j] = Σ x over window (i, j) / (count of i · count of j)
//   dx[p,row,col] = Σ dy[p,i,j] / (count of i · count of j) over the windows that hold (row, col): a gather

alias elem = f32;

struct Params {
  planes: u32,
  h: i32, w: i32,
  outH: i32, outW: i32,
  kh: i32, kw: i32,
  strideH: i32, strideW: i32,
  padH: i32, padW: i32,
  count_pad: u32,   // 1: padding (but not what lies beyond it) counts
  adaptive: u32,
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> y: array<elem>;
@group(0) @binding(3) var<storage, read_write> dx: array<elem>;
@group(0) @binding(4) var<uniform> params: Params;

struct Axis { size: i32, out: i32, k: i32, stride: i32, pad: i32 }

fn rows() -> Axis {
  return Axis(params.h, params.outH, params.kh, params.strideH, params.padH);
}

fn columns() -> Axis {
  return Axis(params.w, params.outW, params.kw, params.strideW, params.padW);
}

// The part of the image in window i: [first, end), and what the window counts.
struct Window { first: i32, end: i32, count: i32 }

fn window(i: i32, a: Axis) -> Window {
  if (params.adaptive == 1u) {
    let first = i * a.size / a.out;
    let end = ((i + 1) * a.size + a.out - 1) / a.out;
    return Window(first, end, end - first);
  }
  let from_pad = i * a.stride - a.pad;
  let to_pad = min(from_pad + a.k, a.size + a.pad);
  let first = max(from_pad, 0);
  let end = min(to_pad, a.size);
  return Window(first, end, select(end - first, to_pad - from_pad, params.count_pad == 1u));
}

// The windows that hold a place: from .x to .y inclusive.
fn windows_of(place: i32, a: Axis) -> vec2i {
  if (params.adaptive == 1u) {
    return vec2i(place * a.out / a.size, ((place + 1) * a.out + a.size - 1) / a.size - 1);
  }
  let padded = place + a.pad;
  return vec2i(max(0, (padded - a.k + a.stride) / a.stride), min(padded / a.stride, a.out - 1));
}

@compute @workgroup_size(8, 8)
fn avg_pool2d(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = i32(id.y);
  let j = i32(id.x);
  if (j >= params.outW || i >= params.outH) { return; }
  let a = window(i, rows());
  let b = window(j, columns());
  let share = 1.0 / f32(a.count * b.count);
  for (var p = id.z; p < params.planes; p += groups.z) {
    var total = 0.0;
    for (var row = a.first; row < a.end; row++) {
      let line = (i32(p) * params.h + row) * params.w;
      var sum = 0.0;
      for (var column = b.first; column < b.end; column++) { sum += f32(x[line + column]); }
      total += sum;
    }
    y[(i32(p) * params.outH + i) * params.outW + j] = elem(total * share);
  }
}

override WX: u32 = 8;
override WY: u32 = 8;
var<workgroup> tree: array<f32, WX * WY>;

// Large windows: one workgroup an output, workgroup (output of the plane, plane).
@compute @workgroup_size(WX, WY)
fn avg_pool2d_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let a = window(i32(group.x) / params.outW, rows());
  let b = window(i32(group.x) % params.outW, columns());
  for (var p = group.y; p < params.planes; p += groups.y) {
    var total = 0.0;
    for (var row = a.first + i32(local.y); row < a.end; row += i32(WY)) {
      let line = (i32(p) * params.h + row) * params.w;
      var sum = 0.0;
      for (var column = b.first + i32(local.x); column < b.end; column += i32(WX)) { sum += f32(x[line + column]); }
      total += sum;
    }
    tree[lane] = total;
    workgroupBarrier();
    for (var half = WX * WY / 2u; half > 0u; half /= 2u) {
      if (lane < half) { tree[lane] += tree[lane + half]; }
      workgroupBarrier();
    }
    if (lane == 0u) {
      y[i32(p) * params.outH * params.outW + i32(group.x)] = elem(tree[0] / f32(a.count * b.count));
    }
    workgroupBarrier();
  }
}

// One lane a pixel of four planes, for which each count is computed once.
@compute @workgroup_size(8, 8)
fn avg_pool2d_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let row = i32(id.y);
  let column = i32(id.x);
  if (column >= params.w || row >= params.h) { return; }
  let is = windows_of(row, rows());
  let js = windows_of(column, columns());
  let planes = i32(params.planes);
  let plane = params.outH * params.outW;
  for (var p = 4 * i32(id.z); p < planes; p += 4 * i32(groups.z)) {
    // Planes beyond the last repeat it; they are summed and not stored.
    let base = min(vec4i(p) + vec4i(0, 1, 2, 3), vec4i(planes - 1)) * plane;
    var total = vec4f(0.0);
    for (var i = is.x; i <= is.y; i++) {
      let across = window(i, rows()).count;
      for (var j = js.x; j <= js.y; j++) {
        let at = base + (i * params.outW + j);
        let share = 1.0 / f32(across * window(j, columns()).count);
        total += share * vec4f(f32(dy[at.x]), f32(dy[at.y]), f32(dy[at.z]), f32(dy[at.w]));
      }
    }
    for (var k = 0; k < min(4, planes - p); k++) {
      dx[((p + k) * params.h + row) * params.w + column] = elem(total[k]);
    }
  }
}
