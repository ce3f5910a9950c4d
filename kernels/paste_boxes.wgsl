// Lays crops back onto full-size images: the inverse of cropping and resizing.
//
//   y[n, c, v, u] = max over the boxes m of image n that hold the centre of pixel (u, v) of
//                   crops[m, c] at ((u + ½ − left)·W'/width − ½, (v + ½ − top)·H'/height − ½), clamped inside the crop
//   no such box: 0
//
// The gradient goes to the box that won, the first among equals. It is gathered: an element of a crop walks
// over the pixels that its box stretches it to, so nothing is scattered and sums have a fixed order.

struct Params {
  boxes: u32,    // M
  channels: u32,
  crop_h: u32,
  crop_w: u32,
  images: u32,   // N
  height: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read> crops: array<f32>;
@group(0) @binding(1) var<storage, read> boxes: array<f32>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read> dy: array<f32>;
@group(0) @binding(4) var<storage, read> winner: array<i32>;
@group(0) @binding(5) var<storage, read_write> y: array<f32>; // of paste_grad: the gradient of the crops
@group(0) @binding(6) var<storage, read_write> winners: array<i32>; // the box of each element of y, or −1
@group(0) @binding(7) var<uniform> params: Params;

override NEAREST: u32 = 0;
override ANY: u32 = 0;     // 1: logical or, one where a value exceeds a half
override INDEXED: u32 = 0; // 1: index[m] names the image of box m; else it is m, or the only one

fn image_of(m: u32) -> i32 {
  if (INDEXED != 0u) { return index[m]; }
  return select(i32(m), 0, params.images == 1u);
}

// Does the stretch [first, first + length) hold the centre of pixel i?
fn holds(i: u32, first: f32, length: f32) -> bool {
  let d = f32(i) + 0.5 - first;
  return d >= 0.0 && d < length;
}

// Along one axis: the two elements of the crop under pixel i, and the weight of the second.
struct Tap { lo: u32, hi: u32, t: f32 }

fn tap(i: u32, first: f32, length: f32, size: u32) -> Tap {
  let q = clamp((f32(i) + 0.5 - first) * f32(size) / length - 0.5, 0.0, f32(size - 1u));
  if (NEAREST != 0u) {
    let near = min(u32(floor(q + 0.5)), size - 1u);
    return Tap(near, near, 0.0);
  }
  let low = floor(q);
  return Tap(u32(low), min(u32(low) + 1u, size - 1u), q - low);
}

fn weight(t: Tap, k: u32) -> f32 {
  return select(0.0, 1.0 - t.t, t.lo == k) + select(0.0, t.t, t.hi == k);
}

// One invocation an element of y.
@compute @workgroup_size(64)
fn paste(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.height * params.width;
  if (i >= params.images * params.channels * area) { return; }
  let n = i32(i / (params.channels * area));
  let c = i / area % params.channels;
  let u = i % params.width;
  let v = i / params.width % params.height;
  var best = 0.0;
  var box = -1;
  for (var m = 0u; m < params.boxes; m++) {
    let b = 4u * m;
    if (image_of(m) != n || !holds(u, boxes[b], boxes[b + 2u]) || !holds(v, boxes[b + 1u], boxes[b + 3u])) { continue; }
    let tx = tap(u, boxes[b], boxes[b + 2u], params.crop_w);
    let ty = tap(v, boxes[b + 1u], boxes[b + 3u], params.crop_h);
    let rows = (m * params.channels + c) * params.crop_h;
    let lo = (rows + ty.lo) * params.crop_w;
    let hi = (rows + ty.hi) * params.crop_w;
    let above = (1.0 - tx.t) * crops[lo + tx.lo] + tx.t * crops[lo + tx.hi];
    let below = (1.0 - tx.t) * crops[hi + tx.lo] + tx.t * crops[hi + tx.hi];
    let value = (1.0 - ty.t) * above + ty.t * below;
    if (box < 0 || value > best) {
      best = value;
      box = i32(m);
    }
  }
  if (ANY != 0u) { best = select(0.0, 1.0, best > 0.5); }
  y[i] = best;
  winners[i] = box;
}

// First and end of the pixels of a box that element k of the crop may touch, with 0.01 px to spare.
fn touched(k: u32, first: f32, length: f32, size: u32, limit: u32) -> vec2u {
  let step = length / f32(size);
  var low = first;
  var high = first + length;
  if (k > 0u) { low = max(low, first + (f32(k) - 0.5) * step); }
  if (k + 1u < size) { high = min(high, first + (f32(k) + 1.5) * step); }
  let end = f32(limit);
  return vec2u(u32(clamp(ceil(low - 0.51), 0.0, end)), u32(clamp(ceil(high - 0.49), 0.0, end)));
}

// One invocation an element of the crops.
@compute @workgroup_size(64)
fn paste_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.crop_h * params.crop_w;
  if (i >= params.boxes * params.channels * area) { return; }
  let m = i / (params.channels * area);
  let c = i / area % params.channels;
  let column = i % params.crop_w;
  let row = i / params.crop_w % params.crop_h;
  let n = image_of(m);
  var sum = 0.0;
  if (n >= 0 && n < i32(params.images)) {
    let b = 4u * m;
    let columns = touched(column, boxes[b], boxes[b + 2u], params.crop_w, params.width);
    let rows = touched(row, boxes[b + 1u], boxes[b + 3u], params.crop_h, params.height);
    for (var v = rows.x; v < rows.y; v++) {
      if (!holds(v, boxes[b + 1u], boxes[b + 3u])) { continue; }
      let wy = weight(tap(v, boxes[b + 1u], boxes[b + 3u], params.crop_h), row);
      if (wy == 0.0) { continue; }
      for (var u = columns.x; u < columns.y; u++) {
        if (!holds(u, boxes[b], boxes[b + 2u])) { continue; }
        let at = ((u32(n) * params.channels + c) * params.height + v) * params.width + u;
        if (winner[at] != i32(m)) { continue; }
        sum += wy * weight(tap(u, boxes[b], boxes[b + 2u], params.crop_w), column) * dy[at];
      }
    }
  }
  y[i] = sum;
}
