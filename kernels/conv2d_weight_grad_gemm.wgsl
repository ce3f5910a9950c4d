// Gradient of a convolution with respect to its weight as a matrix product, for GPUs.
//   dw[co,k] = Σ_p  dy[co,p] · patch[k,p],   k = (ci, ky, kx),   p = (n, oy, ox)
// A workgroup computes 8·ROWS output channels × 4·COLS k over the pixels of one of `splits` runs, a thread 8 × 4
// of them; slices of DEPTH pixels pass through workgroup memory, both tiles by rows of vec4s of pixels. conv2d_reduce adds up the
// runs; a single one (splits = 1) is written, or with accumulate added, to its place. Loads are conv2d_gemm's.
alias elem = f32;
alias elem4 = vec4f;

// include: parts/over.wgsl, parts/gemm.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  splits: i32, pixelsPerSplit: i32,
}
// What is read in vec4s is bound twice.
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> wide_x: array<elem4>;
@group(0) @binding(2) var<storage, read> dy: array<elem>;
@group(0) @binding(3) var<storage, read> wide_dy: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;

override ACCUMULATE: bool = false;
// Images of dy are whole vec4s.
override WIDE_DY: bool = false;

// Vec4s of a slice: 8·ROWS channels of dy, at most four a thread, and 4·COLS k, of which it fetches one, two or four times
// TAPS. Columns of k side by side are read at once: lines of one vec4 more than they hold begin in different banks.
override FILLS_D: u32 = QUADS * ROWS * 8;
override FETCHES: u32 = QUADS * COLS * 4 / TAPS / THREADS;
override LINE: u32 = QUADS + 1;
override FILLS_X: u32 = LINE * COLS * 4;
var<workgroup> tileD: array<elem4, BUFFERS * FILLS_D>;
var<workgroup> tileX: array<elem4, BUFFERS * FILLS_X>;

// Four pixels of the tile's channel co of dy; anything past the last channel and image.
fn gradients_of(p: Pixels, g: i32, co: i32) -> elem4 {
  let outG = params.cout / params.groups;
  let inside = (p.image < vec4i(params.n)) & vec4<bool>(co < outG);
  let start = (p.image * params.cout + g * outG + co) * params.outH * params.outW + p.place;
  let at = select(vec4i(), start, inside);
  if (WIDE_DY) { return wide_dy[u32(at.x) / 4]; }
  return elem4(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
}

// What four pixels see at the tile's column, or at the three from there on.
fn patch_of(p: Pixels, g: i32, k: i32) -> Fetched {
  let inG = params.cin / params.groups;
  if (ONE_TAP) { return fetched(p, g * inG + k, 0, 0, k < inG); }
  let window = params.kh * params.kw;
  let ci = over(k, window);
  let t = k - ci * window;
  let ky = over(t, params.kw);
  let offsetY = ky * params.dilationH - params.padH;
  let offsetX = (t - ky * params.kw) * params.dilationW - params.padW;
  return fetched(p, g * inG + ci, offsetY, select(offsetX, 0, TAPS == 3), k < inG * window);
}

fn keep(buffer: u32, fill: u32, f: Fetched) {
  let at = buffer * FILLS_X + fill / QUADS * TAPS * LINE + fill % QUADS;
  if (TAPS == 1) {
    tileX[at] = in_middle(f);
  } else {
    tileX[at] = to_left(f);
    tileX[at + LINE] = in_middle(f);
    tileX[at + 2 * LINE] = to_right(f);
  }
}

@compute @workgroup_size(COLS, ROWS)
fn conv2d_weight_grad_gemm(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = i32(group.x + group.y * count.x);
  let window = params.kh * params.kw;
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let depth = inG * window;
  let blocks = (outG + i32(ROWS) * 8 - 1) / (i32(ROWS) * 8);
  let tiles = (depth + i32(COLS) * 4 - 1) / (i32(COLS) * 4);
  if (index >= blocks * tiles * params.groups * params.splits) { return; }
  let tile = index % tiles * i32(COLS) * 4;
  let block = index / tiles % blocks * i32(ROWS) * 8;
  let g = index / (tiles * blocks) % params.groups;
  let split = index / (tiles * blocks * params.groups);

  let outPlane = params.outH * params.outW;
  let begin = split * params.pixelsPerSplit;
  let end = min(params.n * outPlane, begin + params.pixelsPerSplit);

  let column = lane % COLS;
  let row = lane / COLS % ROWS;
  var nextD: array<elem4, 4>;
  var nextX: array<Fetched, 4>;
  var sums = array<vec4f, 8>();
  var run = array<elem4, 8>();
  var buffer = 0u;
  for (var p0 = begin; ; p0 += i32(DEPTH)) {
    // The same four pixels for all that a thread fetches. As in conv2d_gemm, by name, and behind the last slice, too.
    let first = p0 + i32(lane % QUADS) * 4;
    let pixels = pixels_from(first, outPlane, params.outW, params.strideH, params.strideW);
    let co = block + i32(lane / QUADS);
    nextD[0] = gradients_of(pixels, g, co);
    if (FILLS_D > THREADS) { nextD[1] = gradients_of(pixels, g, co + i32(THREADS / QUADS)); }
    if (FILLS_D > 2 * THREADS) {
      nextD[2] = gradients_of(pixels, g, co + i32(2 * THREADS / QUADS));
      nextD[3] = gradients_of(pixels, g, co + i32(3 * THREADS / QUADS));
    }
    let k = tile + i32(lane / QUADS * TAPS);
    let step = i32(THREADS / QUADS * TAPS);
    nextX[0] = patch_of(pixels, g, k);
    if (FETCHES > 1) { nextX[1] = patch_of(pixels, g, k + step); }
    if (FETCHES > 2) {
      nextX[2] = patch_of(pixels, g, k + 2 * step);
      nextX[3] = patch_of(pixels, g, k + 3 * step);
    }
    if (p0 > begin) {
      for (var q = 0u; q < QUADS; q++) {
        let at = buffer % BUFFERS * FILLS_X + column * LINE + q;
        let v = transpose(square(
          tileX[at],
          tileX[at + COLS * LINE],
          tileX[at + 2 * COLS * LINE],
          tileX[at + 3 * COLS * LINE],
        ));
        let d = buffer % BUFFERS * FILLS_D + row * QUADS + q;
        run[0] = add_product(run[0], tileD[d], v);
        run[1] = add_product(run[1], tileD[d + ROWS * QUADS], v);
        run[2] = add_product(run[2], tileD[d + 2 * ROWS * QUADS], v);
        run[3] = add_product(run[3], tileD[d + 3 * ROWS * QUADS], v);
        run[4] = add_product(run[4], tileD[d + 4 * ROWS * QUADS], v);
        run[5] = add_product(run[5], tileD[d + 5 * ROWS * QUADS], v);
        run[6] = add_product(run[6], tileD[d + 6 * ROWS * QUADS], v);
        run[7] = add_product(run[7], tileD[d + 7 * ROWS * QUADS], v);
        if (ends_run(q, QUADS)) { add_run(&sums, &run); }
      }
      if (BUFFERS == 1) {
        workgroupBarrier();
      } else {
        buffer = 1 - buffer;
      }
    }
    if (p0 >= end) { break; }
    let there = pixels.image < vec4i(params.n);
    let at = buffer * FILLS_D + lane;
    if (FILLS_D >= THREADS || lane < FILLS_D) { tileD[at] = select(elem4(), nextD[0], there); }
    if (FILLS_D > THREADS) { tileD[at + THREADS] = select(elem4(), nextD[1], there); }
    if (FILLS_D > 2 * THREADS) {
      tileD[at + 2 * THREADS] = select(elem4(), nextD[2], there);
      tileD[at + 3 * THREADS] = select(elem4(), nextD[3], there);
    }
    keep(buffer, lane, nextX[0]);
    if (FETCHES > 1) { keep(buffer, lane + THREADS, nextX[1]); }
    if (FETCHES > 2) {
      keep(buffer, lane + 2 * THREADS, nextX[2]);
      keep(buffer, lane + 3 * THREADS, nextX[3]);
    }
    workgroupBarrier();
  }
  if (!HALF) { add_run(&sums, &run); }

  for (var j = 0u; j < 8; j++) {
    let co = block + i32(row + j * ROWS);
    if (co >= outG) { break; }
    for (var i = 0u; i < 4; i++) {
      let k = tile + i32(column + i * COLS);
      if (k >= depth) { break; }
      let to = (split * params.cout + g * outG + co) * depth + k;
      var value = sums[j][i];
      if (ACCUMULATE) { value += partial[to]; }
      partial[to] = value;
    }
  }
}
