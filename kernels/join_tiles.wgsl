// Joins overlapping tiles of an image: y[p] = Σ w(p − t)·tile_t[p − t] / Σ w(p − t) over the tiles t that hold p,
// with w a Gaussian about the tile's centre. Tiles start at k·step, the last at the image's end.

struct Params {
  images: u32, channels: u32, height: u32, width: u32,
  tile_h: u32, tile_w: u32, rows: u32, columns: u32, step_y: u32, step_x: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

fn start_of(k: u32, count: u32, step: u32, tile: u32, size: u32) -> u32 {
  return select(k * step, size - tile, k + 1u == count);
}

// The Gaussian has an eighth of the tile as its deviation, and never vanishes.
fn weight(i: u32, tile: u32) -> f32 {
  let off = (f32(i) + 0.5) / f32(tile) - 0.5;
  return max(exp(-32.0 * off * off), 1e-3);
}

// Σ w of one axis at a place; with `w` of two axes multiplied, sums factor.
fn total(at: u32, count: u32, step: u32, tile: u32, size: u32) -> f32 {
  var sum = 0.0;
  for (var k = 0u; k < count; k++) {
    let from_ = start_of(k, count, step, tile, size);
    if (at >= from_ && at < from_ + tile) { sum += weight(at - from_, tile); }
  }
  return sum;
}

@compute @workgroup_size(64)
fn join_tiles(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.height * params.width;
  if (i >= params.images * params.channels * area) { return; }
  let px = i % params.width;
  let py = i / params.width % params.height;
  let c = i / area % params.channels;
  let n = i / (area * params.channels);
  var sum = 0.0;
  for (var r = 0u; r < params.rows; r++) {
    let top = start_of(r, params.rows, params.step_y, params.tile_h, params.height);
    if (py < top || py >= top + params.tile_h) { continue; }
    let wy = weight(py - top, params.tile_h);
    for (var k = 0u; k < params.columns; k++) {
      let left = start_of(k, params.columns, params.step_x, params.tile_w, params.width);
      if (px < left || px >= left + params.tile_w) { continue; }
      let tile = ((n * params.rows + r) * params.columns + k) * params.channels + c;
      sum += wy * weight(px - left, params.tile_w) * x[(tile * params.tile_h + py - top) * params.tile_w + px - left];
    }
  }
  y[i] = sum / (total(py, params.rows, params.step_y, params.tile_h, params.height)
    * total(px, params.columns, params.step_x, params.tile_w, params.width));
}

// x is the gradient of the joined image, y that of the tiles.
@compute @workgroup_size(64)
fn join_tiles_grad(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.tile_h * params.tile_w;
  let tiles = params.images * params.rows * params.columns;
  if (i >= tiles * params.channels * area) { return; }
  let u = i % params.tile_w;
  let v = i / params.tile_w % params.tile_h;
  let c = i / area % params.channels;
  let tile = i / (area * params.channels);
  let left = start_of(tile % params.columns, params.columns, params.step_x, params.tile_w, params.width);
  let top = start_of(tile / params.columns % params.rows, params.rows, params.step_y, params.tile_h, params.height);
  let n = tile / (params.rows * params.columns);
  let share = weight(v, params.tile_h) * weight(u, params.tile_w)
    / (total(top + v, params.rows, params.step_y, params.tile_h, params.height)
      * total(left + u, params.columns, params.step_x, params.tile_w, params.width));
  y[i] = share * x[((n * params.channels + c) * params.height + top + v) * params.width + left + u];
}
