// Convolution and its transpose as a matrix product that never writes its matrix, for GPUs.
//   y[o, (n,a)] = Σ_k  weight[o,k] · patch[k, (n,a)],   k = (channel, tap)
// The patch matrix is read straight out of x: tap (ky,kx) of pixel a is x at a·step + offset. As in conv2d_lanes
// the transpose works on the pixels of one phase, a·s + phase, whose valid taps are ky = first + t·every.
// A workgroup computes 8·ROWS channels × 4·SPAN pixels, a thread 8 × 4 of them or, where SPAN = 2·COLS, 8 × 8. Workgroup memory
// has weights by channels and patches by k, both in vec4s; four k are 12 reads of them for 128 FMAs, or 16 for 256. Threads
// side by side read the same vec4 of weights and neighbouring ones of a patch: no two of one bank.
// Images whose rows are whole vec4s are loaded (WIDE) and written (conv2d_gemm_wide) in them, and so are weights whose channels
// are (WIDE_WEIGHT).
// In the half form tiles and products are of halves; the sums of runs are added up in f32.
// The sum over k can be split: of `splits` runs each goes to an y of its own, which conv2d_reduce_image adds up.
alias elem = f32;
alias elem4 = vec4f;
alias elemY = elem; // of y: f32 where runs go to it, in the half form, too
alias elemY4 = elem4;

// include: parts/phase_taps.wgsl, parts/over.wgsl, parts/gemm.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, groups: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32, splits: i32,
}
// What is read in vec4s is bound twice.
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> wide_x: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read> wide_weight: array<vec4f>;
@group(0) @binding(4) var<storage, read> bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> y: array<elemY>;
@group(0) @binding(6) var<uniform> params: Params;
@group(0) @binding(7) var<storage, read_write> y4: array<elemY4>;

override SPAN: u32 = 16;
override WIDE_WEIGHT: bool = false;
// Each pixel has all taps of the window.
override DENSE: bool = true;

// Vec4s of a slice: 8·ROWS channels of weights by DEPTH k, at most three a thread; DEPTH k by 4·SPAN pixels, of which a thread
// fetches one, two or four times TAPS.
override FILLS_W: u32 = QUADS * ROWS * 8;
override FILLS_X: u32 = DEPTH * SPAN;
override FETCHES: u32 = FILLS_X / TAPS / THREADS;
var<workgroup> tileW: array<elem4, BUFFERS * FILLS_W>;
var<workgroup> tileX: array<elem4, BUFFERS * FILLS_X>;

// What a workgroup computes: its first channel within group g and its first pixel within a phase.
struct Tile { block: i32, first: i32, phaseY: i32, phaseX: i32, g: i32, split: i32 }

fn tile_of(group: vec3u, count: vec3u) -> Tile {
  let index = i32(group.x + group.y * count.x);
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  let blocks = (params.cout / params.groups + i32(ROWS) * 8 - 1) / (i32(ROWS) * 8);
  let tiles = (params.n * grid(params.outH, params.strideH) * grid(params.outW, params.strideW) + i32(SPAN) * 4 - 1) / (i32(SPAN) * 4);
  let phases = phasesH * phasesW;
  let phase = index / (blocks * tiles) % phases;
  let rest = index / (blocks * tiles * phases);
  let split = rest / params.groups;
  return Tile(
    index % blocks * i32(ROWS) * 8,
    index / blocks % tiles * i32(SPAN) * 4,
    phase / phasesW, phase % phasesW,
    rest - split * params.groups, split,
  );
}

// Rows, or columns, of the pixels of a phase.
fn grid(out: i32, stride: i32) -> i32 { return select(out, (out + stride - 1) / stride, TRANSPOSE); }

// Four pixels of the tile: where they see x, or where they lie in y.
fn pixels_of(tile: Tile, quad: u32, in_y: bool) -> Pixels {
  let columns = grid(params.outW, params.strideW);
  let apart = in_y == TRANSPOSE;
  return pixels_from(
    tile.first + i32(quad) * 4, grid(params.outH, params.strideH) * columns, columns,
    select(1, params.strideH, apart), select(1, params.strideW, apart),
  );
}

// The taps that pixels of a phase have, in channels from `channel` on: `depth` k.
struct Window { y: Taps, x: Taps, positionH: i32, positionW: i32, channel: i32, taps: i32, depth: i32 }

// Of a k: its channel, and its tap's row and column among those of the window.
struct Tap { channel: i32, row: i32, column: i32 }

fn tap_of(w: Window, k: i32) -> Tap {
  if (ONE_TAP) { return Tap(k, 0, 0); }
  let channel = over(k, w.taps);
  let rest = k - channel * w.taps;
  let row = over(rest, w.x.count);
  return Tap(channel, row, rest - row * w.x.count);
}

// Of a vec4 of tileW: its first k.
fn k_of(k0: i32, fill: u32) -> i32 { return k0 + i32(fill % QUADS) * 4; }

// What it holds; anything past the last channel and k.
fn weights_of(w: Window, tile: Tile, k0: i32, fill: u32) -> elem4 {
  let k = k_of(k0, fill);
  let o = tile.block + i32(fill / QUADS);
  let inside = o < params.cout / params.groups && k < w.depth;
  let start = select(0, tile.g * params.weightGroup + o * params.weightOut, inside);
  if (WIDE_WEIGHT) { return elem4(wide_weight[u32(start + select(0, k, inside)) / 4]); }
  let first = tap_of(w, k);
  var tap = vec4i(k - first.channel * w.taps);
  var at = vec4i(start + first.channel * params.weightIn);
  for (var j = 1; j < 4; j++) {
    let last = ONE_TAP || tap[j - 1] + 1 >= w.taps;
    tap[j] = select(tap[j - 1] + 1, 0, last);
    at[j] = at[j - 1] + select(0, params.weightIn, last);
  }
  if (!DENSE) {
    let ky = select(over_each(tap, w.x.count), vec4i(), ONE_TAP);
    tap = (w.y.first + ky * w.y.every) * params.kw + w.x.first + (tap - ky * w.x.count) * w.x.every;
  }
  at = select(vec4i(), at + tap, k + vec4i(0, 1, 2, 3) < vec4i(w.depth));
  return elem4(vec4f(weight[at.x], weight[at.y], weight[at.z], weight[at.w]));
}

fn keep_weights(buffer: u32, k0: i32, depth: i32, fill: u32, value: elem4) {
  if (FILLS_W % THREADS > 0 && fill >= FILLS_W) { return; }
  tileW[buffer * FILLS_W + fill] = select(elem4(), value, k_of(k0, fill) + vec4i(0, 1, 2, 3) < vec4i(depth));
}

// What four pixels see at k, or at the three k that are a row of the window.
fn patch_of(w: Window, pixels: Pixels, k: i32) -> Fetched {
  let tap = tap_of(w, k);
  let dy = offset(w.y.first + tap.row * w.y.every, w.positionH, params.dilationH, params.strideH);
  let dx = offset(w.x.first + tap.column * w.x.every, w.positionW, params.dilationW, params.strideW);
  return fetched(pixels, w.channel + tap.channel, dy, select(dx, 0, TAPS == 3), k < w.depth);
}

fn keep(at: u32, f: Fetched) {
  if (TAPS == 1) {
    tileX[at] = in_middle(f);
  } else {
    tileX[at + select(0, 2 * SPAN, TRANSPOSE)] = to_left(f);
    tileX[at + SPAN] = in_middle(f);
    tileX[at + select(2 * SPAN, 0, TRANSPOSE)] = to_right(f);
  }
}

// Of the thread's channels, ROWS apart, for its four pixels and for those COLS·4 further.
struct Sums { near: array<vec4f, 8>, far: array<vec4f, 8> }

fn sums_of(tile: Tile, lane: u32) -> Sums {
  let inG = params.cin / params.groups;
  let positionH = params.padH + tile.phaseY;
  let positionW = params.padW + tile.phaseX;
  let tapsH = taps(params.kh, positionH, params.dilationH, params.strideH);
  let tapsW = taps(params.kw, positionW, params.dilationW, params.strideW);
  let depth = inG * tapsH.count * tapsW.count;
  let w = Window(tapsH, tapsW, positionH, positionW, tile.g * inG, tapsH.count * tapsW.count, depth);
  let slices = (depth + i32(DEPTH) - 1) / i32(DEPTH);
  let each = (slices + params.splits - 1) / params.splits * i32(DEPTH);
  let begin = tile.split * each;
  let end = min(depth, begin + each);

  // A thread always fetches what the same four pixels see, and the same four k of weights.
  let pixels = pixels_of(tile, lane % SPAN, false);
  let column = lane % COLS;
  let row = lane / COLS % ROWS;
  var nextW: array<elem4, 3>;
  var nextX: array<Fetched, 4>;
  var near: array<vec4f, 8>;
  var far: array<vec4f, 8>;
  var run: array<elem4, 8>;
  var far_run: array<elem4, 8>;
  var buffer = 0u;
  for (var k0 = begin; ; k0 += i32(DEPTH)) {
    // By name: what a loop indexes would lie in memory. Behind the last slice, too: a condition costs more.
    nextW[0] = weights_of(w, tile, k0, lane);
    if (FILLS_W > THREADS) { nextW[1] = weights_of(w, tile, k0, lane + THREADS); }
    if (FILLS_W > 2 * THREADS) { nextW[2] = weights_of(w, tile, k0, lane + 2 * THREADS); }
    let k = k0 + i32(lane / SPAN * TAPS);
    let step = i32(THREADS / SPAN * TAPS);
    nextX[0] = patch_of(w, pixels, k);
    if (FETCHES > 1) { nextX[1] = patch_of(w, pixels, k + step); }
    if (FETCHES > 2) {
      nextX[2] = patch_of(w, pixels, k + 2 * step);
      nextX[3] = patch_of(w, pixels, k + 3 * step);
    }
    if (k0 > begin) {
      for (var q = 0u; q < QUADS; q++) {
        let at = buffer % BUFFERS * FILLS_X + q * 4 * SPAN + column;
        let v = square(tileX[at], tileX[at + SPAN], tileX[at + 2 * SPAN], tileX[at + 3 * SPAN]);
        let beyond = at + COLS;
        let u = square(tileX[beyond], tileX[beyond + SPAN], tileX[beyond + 2 * SPAN], tileX[beyond + 3 * SPAN]);
        let o = buffer % BUFFERS * FILLS_W + row * QUADS + q;
        var a = tileW[o];
        run[0] = add_product(run[0], a, v);
        if (SPAN > COLS) { far_run[0] = add_product(far_run[0], a, u); }
        a = tileW[o + 1 * ROWS * QUADS];
        run[1] = add_product(run[1], a, v);
        if (SPAN > COLS) { far_run[1] = add_product(far_run[1], a, u); }
        a = tileW[o + 2 * ROWS * QUADS];
        run[2] = add_product(run[2], a, v);
        if (SPAN > COLS) { far_run[2] = add_product(far_run[2], a, u); }
        a = tileW[o + 3 * ROWS * QUADS];
        run[3] = add_product(run[3], a, v);
        if (SPAN > COLS) { far_run[3] = add_product(far_run[3], a, u); }
        a = tileW[o + 4 * ROWS * QUADS];
        run[4] = add_product(run[4], a, v);
        if (SPAN > COLS) { far_run[4] = add_product(far_run[4], a, u); }
        a = tileW[o + 5 * ROWS * QUADS];
        run[5] = add_product(run[5], a, v);
        if (SPAN > COLS) { far_run[5] = add_product(far_run[5], a, u); }
        a = tileW[o + 6 * ROWS * QUADS];
        run[6] = add_product(run[6], a, v);
        if (SPAN > COLS) { far_run[6] = add_product(far_run[6], a, u); }
        a = tileW[o + 7 * ROWS * QUADS];
        run[7] = add_product(run[7], a, v);
        if (SPAN > COLS) { far_run[7] = add_product(far_run[7], a, u); }
        if (ends_run(q, QUADS)) {
          add_run(&near, &run);
          if (SPAN > COLS) { add_run(&far, &far_run); }
        }
      }
      if (BUFFERS == 1) {
        workgroupBarrier();
      } else {
        buffer = 1 - buffer;
      }
    }
    if (k0 >= end) { break; }
    keep_weights(buffer, k0, depth, lane, nextW[0]);
    if (FILLS_W > THREADS) { keep_weights(buffer, k0, depth, lane + THREADS, nextW[1]); }
    if (FILLS_W > 2 * THREADS) { keep_weights(buffer, k0, depth, lane + 2 * THREADS, nextW[2]); }
    let atX = buffer * FILLS_X + lane / SPAN * TAPS * SPAN + lane % SPAN;
    keep(atX, nextX[0]);
    if (FETCHES > 1) { keep(atX + THREADS * TAPS, nextX[1]); }
    if (FETCHES > 2) {
      keep(atX + 2 * THREADS * TAPS, nextX[2]);
      keep(atX + 3 * THREADS * TAPS, nextX[3]);
    }
    workgroupBarrier();
  }
  if (!HALF) {
    add_run(&near, &run);
    if (SPAN > COLS) { add_run(&far, &far_run); }
  }
  return Sums(near, far);
}

// Where pixels lie in the tile's channel o of y, which may be a run of a split sum, or channels of a larger array.
fn place_of(tile: Tile, p: Pixels, o: i32) -> vec4i {
  let channel = (p.image + tile.split * params.n) * params.cout + tile.g * (params.cout / params.groups) + o;
  let row = channel * params.outH + p.row + tile.phaseY;
  return row * params.outW + p.column + tile.phaseX + params.offset + p.image * params.gap;
}

fn biased(tile: Tile, o: i32, sum: vec4f) -> vec4f {
  if (params.hasBias == 0u) { return sum; }
  return sum + bias[tile.g * (params.cout / params.groups) + o];
}

fn rectified(value: vec4f) -> vec4f {
  return select(value, vec4f(), (value < vec4f()) & vec4<bool>(params.relu != 0u));
}

fn store(to: i32, value: f32) {
  var sum = value;
  if (params.accumulate != 0u) { sum += f32(y[to]); }
  y[to] = elemY(rectified(vec4f(sum)).x);
}

fn store_four(tile: Tile, lane: u32, quad: u32, values: array<vec4f, 8>) {
  let p = pixels_of(tile, quad, true);
  let inside = (p.image < vec4i(params.n)) & (p.row + tile.phaseY < vec4i(params.outH)) & (p.column + tile.phaseX < vec4i(params.outW));
  var sums = values;
  for (var r = 0u; r < 8; r++) {
    let o = tile.block + i32(lane / COLS + r * ROWS);
    if (o >= params.cout / params.groups) { break; }
    let value = biased(tile, o, sums[r]);
    let to = place_of(tile, p, o);
    if (inside.x) { store(to.x, value.x); }
    if (inside.y) { store(to.y, value.y); }
    if (inside.z) { store(to.z, value.z); }
    if (inside.w) { store(to.w, value.w); }
  }
}

fn store_wide(tile: Tile, lane: u32, quad: u32, values: array<vec4f, 8>) {
  let p = pixels_of(tile, quad, true);
  var sums = values;
  for (var r = 0u; r < 8; r++) {
    let o = tile.block + i32(lane / COLS + r * ROWS);
    if (o >= params.cout / params.groups || p.image.x >= params.n) { break; }
    let to = place_of(tile, p, o).x / 4;
    var value = biased(tile, o, sums[r]);
    if (params.accumulate != 0u) { value += vec4f(y4[to]); }
    y4[to] = elemY4(rectified(value));
  }
}

@compute @workgroup_size(COLS, ROWS)
fn conv2d_gemm(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = tile_of(group, count);
  if (tile.split >= params.splits) { return; }
  let sums = sums_of(tile, lane);
  store_four(tile, lane, lane % COLS, sums.near);
  if (SPAN > COLS) { store_four(tile, lane, lane % COLS + COLS, sums.far); }
}

@compute @workgroup_size(COLS, ROWS)
fn conv2d_gemm_wide(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let tile = tile_of(group, count);
  if (tile.split >= params.splits) { return; }
  let sums = sums_of(tile, lane);
  store_wide(tile, lane, lane % COLS, sums.near);
  if (SPAN > COLS) { store_wide(tile, lane, lane % COLS + COLS, sums.far); }
}
