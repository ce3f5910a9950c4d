// conv2d_gemm by subgroup matrices: convolution and its transpose as a matrix product that never writes its matrix.
//   y[o, (n,a)] = Σ_k  weight[o,k] · patch[k, (n,a)],   k = (channel, tap)
// The pixels of the tile, and the k of a slice, are taken apart once and lie in workgroup memory. In float32 it needs
// f32 matrices, in the half form f16 ones (or f32), and weights are rounded to these: products are exact, sums f32.
enable subgroups;
enable chromium_experimental_subgroup_matrix;

alias elem = f32;
// include: parts/subgroup_matrix.wgsl, parts/phase_taps.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, groups: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<elem>;
@group(0) @binding(4) var<uniform> params: Params;

const NOWHERE = -1073741824;

// Of a pixel: its place in x, row and column there, and its place in channel 0 of y (negative: not one of y's).
var<workgroup> pixel_table: array<vec4i, GROUP_COLS * SIDE>;
// Of a k: what it adds to place, row and column in x, and its place in the weights of a channel (negative: past the end).
var<workgroup> tap_table: array<vec4i, DEPTH>;

@compute @workgroup_size(LANES)
fn matrix_conv2d(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) square: u32,
) {
  let index = i32(group.x + group.y * count.x);
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  let gridH = (params.outH + phasesH - 1) / phasesH;
  let gridW = (params.outW + phasesW - 1) / phasesW;
  let grid = gridH * gridW;
  let rows = i32(GROUP_ROWS * SIDE);
  let columns = i32(GROUP_COLS * SIDE);
  let blocks = (outG + rows - 1) / rows;
  let tiles = (params.n * grid + columns - 1) / columns;
  let phases = phasesH * phasesW;
  if (index >= blocks * tiles * phases * params.groups) { return; }
  let block = index % blocks * rows;
  let tile = index / blocks % tiles * columns;
  let phase = index / (blocks * tiles) % phases;
  let g = index / (blocks * tiles * phases);
  let phaseY = phase / phasesW;
  let phaseX = phase % phasesW;
  let positionH = params.padH + phaseY;
  let positionW = params.padW + phaseX;
  let tapsH = taps(params.kh, positionH, params.dilationH, params.strideH);
  let tapsW = taps(params.kw, positionW, params.dilationW, params.strideW);
  let window = tapsH.count * tapsW.count;
  let depth = inG * window;
  let plane = params.h * params.w;

  for (var e = lane; e < GROUP_COLS * SIDE; e += LANES) {
    let pixel = tile + i32(e);
    let image = pixel / grid;
    let rest = pixel - image * grid;
    let py = rest / gridW;
    let px = rest - py * gridW;
    let iy = py * select(params.strideH, 1, TRANSPOSE);
    let ix = px * select(params.strideW, 1, TRANSPOSE);
    let oy = py * phasesH + phaseY;
    let ox = px * phasesW + phaseX;
    var entry = vec4i(0, NOWHERE, NOWHERE, -1);
    if (image < params.n && oy < params.outH && ox < params.outW) {
      let to = (image * params.cout * params.outH + oy) * params.outW + ox + params.offset + image * params.gap;
      entry = vec4i((image * params.cin + g * inG) * plane + iy * params.w + ix, iy, ix, to);
    }
    pixel_table[e] = entry;
  }

  var sums: result_matrices;
  for (var k0 = 0; k0 < depth; k0 += i32(DEPTH)) {
    for (var e = lane; e < DEPTH; e += LANES) {
      let k = k0 + i32(e);
      var entry = vec4i(0, 0, 0, -1);
      if (k < depth) {
        let i = k / max(window, 1);
        let t = k - i * window;
        let ky = tapsH.first + t / tapsW.count * tapsH.every;
        let kx = tapsW.first + t % tapsW.count * tapsW.every;
        let dy = offset(ky, positionH, params.dilationH, params.strideH);
        let dx = offset(kx, positionW, params.dilationW, params.strideW);
        entry = vec4i(i * plane + dy * params.w + dx, dy, dx, i * params.weightIn + ky * params.kw + kx);
      }
      tap_table[e] = entry;
    }
    // Also: everyone is done with the slice before.
    workgroupBarrier();
    for (var e = lane; e < GROUP_ROWS * SIDE * DEPTH; e += LANES) {
      let at = tap_table[e % DEPTH].w;
      let o = block + i32(e / DEPTH);
      var value = 0.0;
      if (at >= 0 && o < outG) { value = weight[g * params.weightGroup + at + o * params.weightOut]; }
      set_left(e / DEPTH, e % DEPTH, part(value));
    }
    for (var e = lane; e < DEPTH * GROUP_COLS * SIDE; e += LANES) {
      let k = e / (GROUP_COLS * SIDE);
      let column = e % (GROUP_COLS * SIDE);
      let at = pixel_table[column] + tap_table[k];
      let inside = (at.y >= 0) & (at.y < params.h) & (at.z >= 0) & (at.z < params.w) & (tap_table[k].w >= 0);
      var value = part(0.0);
      if (inside) { value = part(x[at.x]); }
      set_right(k, column, value);
    }
    workgroupBarrier();
    add_product(square, &sums);
  }

  for (var at = 0u; at < SIDE / M * (SIDE / N); at++) {
    lay_out(square, at, &sums);
    for (var e = lane; e < GROUP_ROWS * GROUP_COLS * M * N; e += LANES) {
      let place = place_of(e, at);
      let o = block + i32(place.x);
      let pixel = pixel_table[place.y].w;
      if (o < outG && pixel >= 0) {
        let channel = g * outG + o;
        let to = pixel + channel * params.outH * params.outW;
        var value = stage[e];
        if (params.hasBias != 0u) { value += bias[channel]; }
        if (params.accumulate != 0u) { value += f32(y[to]); }
        if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
        y[to] = elem(value);
      }
    }
  }
}
