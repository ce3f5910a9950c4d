// Max pooling of (planes, h, w) to (planes, outH, outW), planes = N·C:
//   y[p,i,j] = max over (k,l) of x[p, i·stride − padding + k·dilation, j·…]        padding counts as −∞
// at[p,i,j] = row·w + column of the first maximum in window order; a NaN is the maximum.
// The gradient gathers: dx[p,row,col] = Σ dy[p,i,j] over the windows whose `at` is row·w + col. It may add to what
// dx holds. x and dx may be channels of a larger array: image n lies `offset + n·gap` elements further there.

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  planes: u32,
  h: u32, w: u32,
  outH: u32, outW: u32,
  kh: i32, kw: i32,
  strideH: i32, strideW: i32,
  padH: i32, padW: i32,
  dilationH: i32, dilationW: i32,
  lowest: f32,       // −∞: WGSL cannot write it
  channels: u32,     // C
  offset: u32, gap: u32, // of x or dx, in elements; multiples of 4
  accumulate: u32,   // 1: dx += …
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read> at: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<elem>;
@group(0) @binding(4) var<storage, read_write> at_out: array<u32>;
@group(0) @binding(5) var<storage, read_write> dx: array<elem>;
// The 2×2 form sees the same arrays as vec4s.
@group(0) @binding(0) var<storage, read> x4: array<elem4>;
@group(0) @binding(1) var<storage, read> dy4: array<elem4>;
@group(0) @binding(2) var<storage, read> at4: array<u32>;   // of four windows, a byte each: 2·k + l
@group(0) @binding(3) var<storage, read_write> y4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> at4_out: array<u32>;
@group(0) @binding(5) var<storage, read_write> dx4: array<elem4>;
@group(0) @binding(6) var<uniform> params: Params;

// How much further plane p of x or dx lies than in an array of its own.
fn shift(p: u32) -> u32 {
  return params.offset + p / params.channels * params.gap;
}

fn is_nan(v: f32) -> bool {
  return (bitcast<u32>(v) & 0x7fffffffu) > 0x7f800000u;
}

@compute @workgroup_size(8, 8)
fn max_pool2d(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.outW || id.y >= params.outH) { return; }
  let row0 = i32(id.y) * params.strideH - params.padH;
  let column0 = i32(id.x) * params.strideW - params.padW;
  let h = i32(params.h);
  let w = i32(params.w);
  for (var p = id.z; p < params.planes; p += groups.z) {
    let plane = p * params.h * params.w + shift(p);
    var best = params.lowest;
    var best_at = 0xffffffffu;
    for (var k = 0; k < params.kh; k++) {
      let row = row0 + k * params.dilationH;
      if (row < 0 || row >= h) { continue; }
      for (var l = 0; l < params.kw; l++) {
        let column = column0 + l * params.dilationW;
        if (column < 0 || column >= w) { continue; }
        let here = u32(row * w + column);
        let v = f32(x[plane + here]);
        if (best_at == 0xffffffffu || (v > best && !is_nan(best)) || (is_nan(v) && !is_nan(best))) {
          best = v;
          best_at = here;
        }
      }
    }
    let o = (p * params.outH + id.y) * params.outW + id.x;
    y[o] = elem(best);
    at_out[o] = best_at;
  }
}

// The windows i with i·stride − padding ≤ place ≤ i·stride − padding + reach.
fn first_window(place: i32, reach: i32, stride: i32) -> i32 {
  return max(0, (place - reach + stride - 1) / stride);
}

@compute @workgroup_size(8, 8)
fn max_pool2d_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.w || id.y >= params.h) { return; }
  let row = i32(id.y) + params.padH;
  let column = i32(id.x) + params.padW;
  let i0 = first_window(row, (params.kh - 1) * params.dilationH, params.strideH);
  let i1 = min(row / params.strideH, i32(params.outH) - 1);
  let j0 = first_window(column, (params.kw - 1) * params.dilationW, params.strideW);
  let j1 = min(column / params.strideW, i32(params.outW) - 1);
  let here = id.y * params.w + id.x;
  for (var p = id.z; p < params.planes; p += groups.z) {
    var sum = 0.0;
    for (var i = i0; i <= i1; i++) {
      let line = (p * params.outH + u32(i)) * params.outW;
      for (var j = j0; j <= j1; j++) {
        let o = line + u32(j);
        if (at[o] == here) { sum += f32(dy[o]); }
      }
    }
    let to = p * params.h * params.w + here + shift(p);
    if (params.accumulate == 1u) { sum += f32(dx[to]); }
    dx[to] = elem(sum);
  }
}

// ---- 2×2, stride 2, no padding, w a multiple of 8: four windows a lane ----

// include: parts/over.wgsl

// Where the windows of invocation i lie, of so many rows of windows a plane: plane, row of windows, the first of their vec4s in
// the upper row of x. Whatever the size of a map, no lane is idle but the last workgroup's.
struct Windows { plane: i32, row: i32, upper: u32 }

fn windows_at(i: u32, rows: u32) -> Windows {
  let across = i32(params.w / 8u);
  let line = over(i32(i), across);
  let plane = over(line, i32(rows));
  let row = line - plane * i32(rows);
  let image = over(plane, i32(params.channels));
  let upper = (plane * i32(params.h) + 2 * row) * 2 * across + 2 * (i32(i) - line * across);
  return Windows(plane, row, u32(upper) + (params.offset + u32(image) * params.gap) / 4u);
}

fn nan4(v: vec4f) -> vec4<bool> {
  return (bitcast<vec4u>(v) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

fn better(v: vec4f, than: vec4f) -> vec4<bool> {
  return ((v > than) | nan4(v)) & !nan4(than);
}

@compute @workgroup_size(64)
fn max_pool2d_2x2(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let o = id.x + id.y * groups.x * 64u;
  if (o >= params.planes * params.outH * (params.w / 8u)) { return; }
  let width = params.w / 4u;         // vec4s a row of x; two of them make one of y
  let upper = windows_at(o, params.outH).upper;
  let a = vec4f(x4[upper]);
  let b = vec4f(x4[upper + 1u]);
  let c = vec4f(x4[upper + width]);
  let d = vec4f(x4[upper + width + 1u]);
  var best = vec4f(a.xz, b.xz);
  var best_at = vec4u(0u);
  var take = better(vec4f(a.yw, b.yw), best);
  best = select(best, vec4f(a.yw, b.yw), take);
  best_at = select(best_at, vec4u(1u), take);
  take = better(vec4f(c.xz, d.xz), best);
  best = select(best, vec4f(c.xz, d.xz), take);
  best_at = select(best_at, vec4u(2u), take);
  take = better(vec4f(c.yw, d.yw), best);
  best = select(best, vec4f(c.yw, d.yw), take);
  best_at = select(best_at, vec4u(3u), take);
  y4[o] = elem4(best);
  at4_out[o] = best_at.x | (best_at.y << 8u) | (best_at.z << 16u) | (best_at.w << 24u);
}

fn put(i: u32, v: vec4f) {
  if (params.accumulate == 1u) { dx4[i] = elem4(vec4f(dx4[i]) + v); } else { dx4[i] = elem4(v); }
}

// One lane 2 × 8 pixels; a last odd row belongs to no window.
@compute @workgroup_size(64)
fn max_pool2d_2x2_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let rows = (params.h + 1u) / 2u;
  if (i >= params.planes * rows * (params.w / 8u)) { return; }
  let width = params.w / 4u;
  let place = windows_at(i, rows);
  let upper = place.upper;
  if (place.row >= i32(params.outH)) {
    put(upper, vec4f(0.0));
    put(upper + 1u, vec4f(0.0));
    return;
  }
  // A last odd row makes so many more invocations a plane than windows.
  let o = i - u32(place.plane) * (rows - params.outH) * (params.w / 8u);
  let g = vec4f(dy4[o]);
  let t = (vec4u(at4[o]) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(3u);
  let a = select(vec4f(0.0), g, t == vec4u(0u));
  let b = select(vec4f(0.0), g, t == vec4u(1u));
  let c = select(vec4f(0.0), g, t == vec4u(2u));
  let d = select(vec4f(0.0), g, t == vec4u(3u));
  put(upper, vec4f(a.x, b.x, a.y, b.y));
  put(upper + 1u, vec4f(a.z, b.z, a.w, b.w));
  put(upper + width, vec4f(c.x, d.x, c.y, d.y));
  put(upper + width + 1u, vec4f(c.z, d.z, c.w, d.w));
}
