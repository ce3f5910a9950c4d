// Lays crops back onto full-size images: the inverse of cropping and resizing.
//
//   y[n, c, v, u] = max over the boxes m of image n that hold the centre of pixel (u, v) of
//                   crops[m, c] at ((u + ½ − left)·W'/width − ½, (v + ½ − top)·H'/height − ½), clamped inside the crop
//   no such box: 0
//
// Where there are many boxes, `bin` first notes which lie on each tile of 32×32 pixels, a bit a box, and a pixel walks
// over those of its tile, in the same order: time grows with the area of the boxes, not with pixels times boxes.
//
// The gradient goes to the box that won, the first among equals. It is gathered: an element of a crop walks
// over the pixels that its box stretches it to, so nothing is scattered and sums have a fixed order.

// include: parts/divide.wgsl, parts/carried_rows.wgsl

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  boxes: u32,    // M
  channels: u32,
  crop_h: u32,
  crop_w: u32,
  images: u32,   // N
  height: u32,
  width: u32,
}

@group(0) @binding(0) var<storage, read> crops: array<elem>;
@group(0) @binding(1) var<storage, read> boxes: array<vec4f>;
@group(0) @binding(2) var<storage, read> index: array<i32>;
@group(0) @binding(3) var<storage, read> spans: array<vec2u>; // of each image in the index
@group(0) @binding(4) var<storage, read> dy: array<elem>;
@group(0) @binding(5) var<storage, read> winner: array<i32>;
@group(0) @binding(6) var<storage, read_write> y: array<elem>; // of paste_grad: the gradient of the crops
@group(0) @binding(7) var<storage, read_write> winners: array<i32>; // the box of each element of y, or −1; unless ALONE
@group(0) @binding(8) var<uniform> params: Params;
@group(0) @binding(9) var<storage, read> bins: array<u32>; // (N, tiles, words of 32 boxes)
@group(0) @binding(10) var<storage, read_write> marks: array<u32>; // of bin: the bins
@group(0) @binding(11) var<storage, read_write> y4: array<elem4>; // y and winners, four at once
@group(0) @binding(12) var<storage, read_write> winners4: array<vec4i>;

override NEAREST: u32 = 0;
override ROWS: u32 = 1; // pixels below each other that one invocation takes; of paste_wide a divisor of 32
override WX: u32 = 8;
override WY: u32 = 8;
override ALONE: bool = false; // each image has one box, which wins wherever it lies
override BINNED: u32 = 0;  // 1: bins say which boxes lie on a tile
override INDEXED: u32 = 0; // 1: index[m] names the image of box m; else it is m, or the only one

fn image_of(m: u32) -> i32 {
  if (INDEXED != 0u) { return index[m]; }
  return select(i32(m), 0, params.images == 1u);
}

// First and end of the boxes among which those of image n are.
fn span_of(n: u32) -> vec2u {
  if (INDEXED != 0u) { return spans[n]; }
  return select(vec2u(n, n + 1u), vec2u(0u, params.boxes), params.images == 1u);
}

fn words() -> u32 { return (params.boxes + 31u) >> 5u; }

fn tile_of(n: u32, column: u32, row: u32) -> u32 {
  return (n * ((params.height + 31u) >> 5u) + row) * ((params.width + 31u) >> 5u) + column;
}

// The boxes 32·word … 32·word + 31 that lie in a span, a bit each.
fn among(span: vec2u, word: u32) -> u32 {
  let first = max(span.x, 32u * word) - 32u * word;
  let count = min(span.y, 32u * word + 32u) - 32u * word;
  return (~0u >> (32u - count)) & (~0u << first);
}

// One invocation a word: the boxes of image n that touch a tile.
@compute @workgroup_size(64)
fn bin(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let at = id.x + id.y * groups.x * 64u;
  let across = (params.width + 31u) >> 5u;
  let down = (params.height + 31u) >> 5u;
  if (at >= params.images * down * across * words()) { return; }
  let place = divide(at, words());
  let word = at - place * words();
  let row = divide(place, across);
  let n = divide(row, down);
  let corner = 32.0 * vec2f(vec2u(place - row * across, row - n * down));
  var bits = 0u;
  for (var m = 32u * word; m < min(32u * word + 32u, params.boxes); m++) {
    let b = boxes[m];
    let touches = (b.xy < corner + 32.0) & (b.xy + b.zw > corner) & (b.zw > vec2f());
    bits |= select(0u, 1u << (m & 31u), all(touches) & (image_of(m) == i32(n)));
  }
  marks[at] = bits;
}

// Does the stretch [first, first + length) hold the centre of pixel i?
fn holds(i: u32, first: f32, length: f32) -> bool {
  let d = f32(i) + 0.5 - first;
  return d >= 0.0 && d < length;
}

// First and end of the pixels in [begin, end) that a stretch may hold; perhaps one beside at each end.
fn pixels_of(first: f32, length: f32, begin: u32, end: u32) -> vec2u {
  let low = clamp(floor(first - 0.5), f32(begin), f32(end));
  let high = clamp(ceil(first + length + 0.5), f32(begin), f32(end));
  return clamp(vec2u(u32(low), u32(high)), vec2u(begin), vec2u(end));
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

// A crop's plane where it lies under a pixel.
fn stretched(plane: u32, tx: Tap, ty: Tap) -> f32 {
  let lo = (plane * params.crop_h + ty.lo) * params.crop_w;
  let hi = (plane * params.crop_h + ty.hi) * params.crop_w;
  let value = f32(crops[lo + tx.lo]);
  if (NEAREST != 0u) { return value; }
  let above = (1.0 - tx.t) * value + tx.t * f32(crops[lo + tx.hi]);
  let below = (1.0 - tx.t) * f32(crops[hi + tx.lo]) + tx.t * f32(crops[hi + tx.hi]);
  return (1.0 - ty.t) * above + ty.t * below;
}

// First and end of the words of bits in which the boxes of a span stand.
fn words_of(span: vec2u) -> vec2u { return vec2u(span.x >> 5u, (span.y + 31u) >> 5u); }

// The boxes of a word that an invocation of columns from u and rows from `first` looks at.
fn boxes_at(n: u32, span: vec2u, word: u32, u: u32, first: u32) -> u32 {
  let all = among(span, word);
  if (BINNED == 0u) { return all; }
  return all & bins[tile_of(n, u >> 5u, first >> 5u) * words() + word];
}

struct Best { value: f32, box: i32 }

fn best_of(plane: u32, u: u32, v: u32) -> Best {
  let n = divide(plane, params.channels);
  let c = plane - n * params.channels;
  let span = span_of(n);
  let range = words_of(span);
  var best = Best(0.0, -1);
  for (var word = range.x; word < range.y; word++) {
    for (var bits = boxes_at(n, span, word, u, v); bits != 0u; bits &= bits - 1u) {
      let m = 32u * word + firstTrailingBit(bits);
      let b = boxes[m];
      if ((image_of(m) != i32(n)) | !holds(u, b.x, b.z) | !holds(v, b.y, b.w)) { continue; }
      let value = stretched(m * params.channels + c, tap(u, b.x, b.z, params.crop_w), tap(v, b.y, b.w, params.crop_h));
      if (best.box < 0 || value > best.value) { best = Best(value, i32(m)); }
    }
  }
  return best;
}

// One invocation a pixel; z counts planes.
@compute @workgroup_size(8, 8)
fn paste(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.width || id.y >= params.height) { return; }
  for (var plane = id.z; plane < params.images * params.channels; plane += groups.z) {
    let best = best_of(plane, id.x, id.y);
    let at = (plane * params.height + id.y) * params.width + id.x;
    y[at] = elem(best.value);
    if (!ALONE) { winners[at] = best.box; }
  }
}

fn value_at(at: i32) -> f32 { return f32(crops[at]); }

// The same for CPU drivers, where four divides the width: one invocation four columns of ROWS rows, so that a box, its test
// and its columns are found once for all of them. The best so far stands in y4 and winners4; the first box of a strip writes
// all of it.
@compute @workgroup_size(16, 4)
fn paste_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let wide = params.width / 4u;
  let u = 4u * id.x;
  let first = id.y * ROWS;
  if (id.x >= wide || first >= params.height) { return; }
  for (var plane = id.z; plane < params.images * params.channels; plane += groups.z) {
    let n = divide(plane, params.channels);
    let c = plane - n * params.channels;
    let base = plane * params.height * wide + id.x;
    let span = span_of(n);
    let range = words_of(span);
    var fresh = true;
    for (var word = range.x; word < range.y; word++) {
      for (var bits = boxes_at(n, span, word, u, first); bits != 0u; bits &= bits - 1u) {
        let m = 32u * word + firstTrailingBit(bits);
        let b = boxes[m];
        let inside = vec4<bool>(holds(u, b.x, b.z), holds(u + 1u, b.x, b.z), holds(u + 2u, b.x, b.z), holds(u + 3u, b.x, b.z));
        var rows = pixels_of(b.y, b.w, first, min(first + ROWS, params.height));
        if ((image_of(m) != i32(n)) | (rows.x >= rows.y) | !any(inside)) { continue; }
        let p = tap(u, b.x, b.z, params.crop_w);
        let q = tap(u + 1u, b.x, b.z, params.crop_w);
        let r = tap(u + 2u, b.x, b.z, params.crop_w);
        let s = tap(u + 3u, b.x, b.z, params.crop_w);
        let low = vec4i(vec4u(p.lo, q.lo, r.lo, s.lo));
        let columns = Sources(low, vec4i(vec4u(p.hi, q.hi, r.hi, s.hi)), vec4f(p.t, q.t, r.t, s.t));
        let source = i32((m * params.channels + c) * params.crop_h * params.crop_w);
        if (fresh) { rows = vec2u(first, min(first + ROWS, params.height)); }
        var kept = no_rows();
        for (var v = rows.x; v < rows.y; v++) {
          let ty = tap(v, b.y, b.w, params.crop_h);
          var value = vec4f();
          if (NEAREST != 0u) {
            value = four_at(source + i32(ty.lo * params.crop_w), low);
          } else {
            value = four_between(&kept, source, i32(params.crop_w), columns, i32(ty.lo), i32(ty.hi), ty.t);
          }
          let at = base + v * wide;
          var best = vec4f();
          var box = vec4i(-1);
          if (!ALONE && !fresh) {
            best = vec4f(y4[at]);
            box = winners4[at];
          }
          let wins = inside & vec4<bool>(holds(v, b.y, b.w)) & ((box < vec4i()) | (value > best));
          y4[at] = elem4(select(best, value, wins));
          if (!ALONE) { winners4[at] = select(box, vec4i(i32(m)), wins); }
        }
        fresh = false;
      }
    }
    if (fresh) {
      for (var v = first; v < min(first + ROWS, params.height); v++) {
        y4[base + v * wide] = elem4();
        if (!ALONE) { winners4[base + v * wide] = vec4i(-1); }
      }
    }
  }
}

// A logical or: one where a value exceeds a half.
@compute @workgroup_size(8, 8)
fn paste_any(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  if (id.x >= params.width || id.y >= params.height) { return; }
  for (var plane = id.z; plane < params.images * params.channels; plane += groups.z) {
    let best = best_of(plane, id.x, id.y);
    y[(plane * params.height + id.y) * params.width + id.x] = elem(select(0.0, 1.0, best.value > 0.5));
  }
}

// Pixels below `limit` along one axis of a box, under which lie `size` elements of its crop.
struct Axis { first: f32, length: f32, size: u32, limit: u32 }

fn sample(i: i32, axis: Axis) -> Sample {
  let t = tap(u32(i), axis.first, axis.length, axis.size);
  return Sample(select(-2, i32(t.lo), holds(u32(i), axis.first, axis.length)), t.t);
}

// First and end of the pixels of a box that the elements k … l of the crop may touch, with 0.01 px to spare.
fn touching(k: i32, l: i32, axis: Axis) -> vec2i {
  let step = axis.length / f32(axis.size);
  var low = axis.first;
  var high = axis.first + axis.length;
  if (k > 0) { low = max(low, axis.first + (f32(k) - 0.5) * step); }
  if (l + 1 < i32(axis.size)) { high = min(high, axis.first + (f32(l) + 1.5) * step); }
  let end = f32(axis.limit);
  return vec2i(vec2f(clamp(ceil(low - 0.51), 0.0, end), clamp(ceil(high - 0.49), 0.0, end)));
}

fn upstream_at(at: i32, m: i32) -> f32 {
  if (ALONE) { return f32(dy[at]); }
  return select(0.0, f32(dy[at]), winner[at] == m);
}

// include: parts/summed_rows.wgsl

// One invocation four columns of ROWS rows of the crops; z counts their planes.
@compute @workgroup_size(WX, WY)
fn paste_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let first = i32(id.y * ROWS);
  let end = min(first + i32(ROWS), i32(params.crop_h));
  let width = i32(params.crop_w);
  if (4 * i32(id.x) >= width || first >= end) { return; }
  let pixels = four_from(4 * i32(id.x), width);
  for (var plane = id.z; plane < params.boxes * params.channels; plane += groups.z) {
    let m = divide(plane, params.channels);
    let n = image_of(m);
    let b = boxes[m];
    let lies = (n >= 0) & (n < i32(params.images));
    let across = Axis(b.x, b.z, params.crop_w, select(0u, params.width, lies));
    let down = Axis(b.y, b.w, params.crop_h, select(0u, params.height, lies));
    let samples = touching(pixels.x, pixels.w, across);
    let rows = touching(first, end - 1, down);
    let source = (n * i32(params.channels) + i32(plane - m * params.channels)) * i32(params.height * params.width);
    let to = i32(plane * params.crop_h) * width;
    let stride = i32(params.width);
    let k = columns_at(samples.x, samples.y, pixels, across);
    sum_rows(k, first, end, rows, down, false, source, stride, to, width, !ADDS, i32(m));
    for (var at = samples.x + SAMPLES; at < samples.y; at += SAMPLES) {
      let more = columns_at(at, samples.y, pixels, across);
      sum_rows(more, first, end, rows, down, false, source, stride, to, width, false, i32(m));
    }
  }
}
