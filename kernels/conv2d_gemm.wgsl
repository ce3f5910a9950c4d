// Convolution and its transpose as a matrix product that never writes its matrix, for GPUs.
//   y[o, (n,a)] = Σ_k  weight[o,k] · patch[k, (n,a)],   k = (channel, tap)
// The patch matrix is read straight out of x: tap (ky,kx) of pixel a is x at a·step + offset. As in conv2d_lanes
// the transpose works on the pixels of one phase, a·s + phase, whose valid taps are ky = first + t·every.
// A workgroup computes 8·ROWS channels × 4·SPAN pixels, a thread 8 × 4 of them or, where SPAN = 2·COLS, 8 × 8; slices
// of DEPTH k pass through workgroup memory, k-major and in vec4f, so that a step of k is three reads for 32 FMAs or
// four for 64. With BUFFERS = 2 a slice is filled while the one before is read: one barrier a slice. A line of
// weights has one vec4 more than it holds, so that threads that fill a column write to different banks.
// In the half form tiles, products and sums over RUN k are of halves; the sums of runs are added up in f32.
// The sum over k can be split: of `splits` runs each goes to an y of its own, which conv2d_reduce_image adds up.
alias elem = f32;
alias elem4 = vec4f;
alias elemY = elem; // of y: f32 where runs go to it, in the half form, too

// include: parts/phase_taps.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, groups: i32,
  kh: i32, kw: i32, strideH: i32, strideW: i32, padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  weightOut: i32, weightIn: i32, weightGroup: i32,
  hasBias: u32, relu: u32, accumulate: u32, offset: i32, gap: i32, splits: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<elemY>;
@group(0) @binding(4) var<uniform> params: Params;

override ROWS: u32 = 8;
override COLS: u32 = 16;
override SPAN: u32 = 16;
override DEPTH: u32 = 16;
override BUFFERS: u32 = 1;

const HALF = elem(1.0) + elem(0.0001) == elem(1.0); // halves cannot tell these apart
const RUN = 8u;

var<workgroup> tileW: array<elem4, BUFFERS * DEPTH * (ROWS * 2 + 1)>;
var<workgroup> tileX: array<elem4, BUFFERS * DEPTH * SPAN>;

// Where four pixels lie in channel 0 of y, and which there are.
struct Place { to: vec4i, inside: vec4<bool> }

fn place(first: i32, grid: i32, gridW: i32, phaseY: i32, phaseX: i32) -> Place {
  let pixel = first + vec4i(0, 1, 2, 3);
  let image = pixel / grid;
  let rest = pixel - image * grid;
  let oy = rest / gridW * select(1, params.strideH, TRANSPOSE) + phaseY;
  let ox = rest % gridW * select(1, params.strideW, TRANSPOSE) + phaseX;
  let inside = (image < vec4i(params.n)) & (oy < vec4i(params.outH)) & (ox < vec4i(params.outW));
  let to = (image * params.cout * params.outH + oy) * params.outW + ox + params.offset + image * params.gap;
  return Place(to, inside);
}

fn store_one(to: i32, o: i32, sum: f32) {
  var value = sum;
  if (params.hasBias != 0u) { value += bias[o]; }
  if (params.accumulate != 0u) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elemY(value);
}

// Called for each row by name: sums that were indexed by a loop would lie in memory.
fn store(at: Place, o: i32, inside: bool, sum: vec4f) {
  if (!inside) { return; }
  let to = at.to + o * params.outH * params.outW;
  if (at.inside.x) { store_one(to.x, o, sum.x); }
  if (at.inside.y) { store_one(to.y, o, sum.y); }
  if (at.inside.z) { store_one(to.z, o, sum.z); }
  if (at.inside.w) { store_one(to.w, o, sum.w); }
}

// Adds the sums of a run to those before it.
fn add_run(sums: ptr<function, array<vec4f, 16>>, run: ptr<function, array<elem4, 16>>) {
  (*sums)[0] += vec4f((*run)[0]);
  (*sums)[1] += vec4f((*run)[1]);
  (*sums)[2] += vec4f((*run)[2]);
  (*sums)[3] += vec4f((*run)[3]);
  (*sums)[4] += vec4f((*run)[4]);
  (*sums)[5] += vec4f((*run)[5]);
  (*sums)[6] += vec4f((*run)[6]);
  (*sums)[7] += vec4f((*run)[7]);
  (*sums)[8] += vec4f((*run)[8]);
  (*sums)[9] += vec4f((*run)[9]);
  (*sums)[10] += vec4f((*run)[10]);
  (*sums)[11] += vec4f((*run)[11]);
  (*sums)[12] += vec4f((*run)[12]);
  (*sums)[13] += vec4f((*run)[13]);
  (*sums)[14] += vec4f((*run)[14]);
  (*sums)[15] += vec4f((*run)[15]);
  *run = array<elem4, 16>();
}

@compute @workgroup_size(COLS, ROWS)
fn conv2d_gemm(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) thread: u32,
) {
  let index = i32(group.x + group.y * count.x);
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let phasesH = select(1, params.strideH, TRANSPOSE);
  let phasesW = select(1, params.strideW, TRANSPOSE);
  let stepH = select(params.strideH, 1, TRANSPOSE);
  let stepW = select(params.strideW, 1, TRANSPOSE);
  let gridH = (params.outH + phasesH - 1) / phasesH;
  let gridW = (params.outW + phasesW - 1) / phasesW;
  let grid = gridH * gridW;
  let pixels = params.n * grid;
  let blocks = (outG + i32(ROWS) * 8 - 1) / (i32(ROWS) * 8);
  let tiles = (pixels + i32(SPAN) * 4 - 1) / (i32(SPAN) * 4);
  let phases = phasesH * phasesW;
  let parts = blocks * tiles * phases * params.groups;
  if (index >= parts * params.splits) { return; }
  let block = index % blocks * i32(ROWS) * 8;
  let tile = index / blocks % tiles * i32(SPAN) * 4;
  let phase = index / (blocks * tiles) % phases;
  let g = index / (blocks * tiles * phases) % params.groups;
  let split = index / parts;
  let positionH = params.padH + select(0, phase / phasesW, TRANSPOSE);
  let positionW = params.padW + select(0, phase % phasesW, TRANSPOSE);
  let tapsH = taps(params.kh, positionH, params.dilationH, params.strideH);
  let tapsW = taps(params.kw, positionW, params.dilationW, params.strideW);
  let window = tapsH.count * tapsW.count;
  let depth = inG * window;
  let slices = (depth + i32(DEPTH) - 1) / i32(DEPTH);
  let run_k = (slices + params.splits - 1) / params.splits * i32(DEPTH);

  let threads = ROWS * COLS;
  let plane = params.h * params.w;
  // A thread always fills the same four pixels of tileX.
  let fillPixel = tile + i32(thread % SPAN) * 4 + vec4i(0, 1, 2, 3);
  let fillImage = fillPixel / grid;
  let fillRest = fillPixel - fillImage * grid;
  let fillY = fillRest / gridW * stepH;
  let fillX = fillRest % gridW * stepW;
  let fillBase = (fillImage * params.cin + g * inG) * plane;
  let fillInside = fillPixel < vec4i(pixels);

  let line = ROWS * 2 + 1;
  var sums = array<vec4f, 16>();
  var run = array<elem4, 16>();
  var buffer = 0u;
  for (var k0 = split * run_k; k0 < min(depth, (split + 1) * run_k); k0 += i32(DEPTH)) {
    for (var e = thread; e < DEPTH * ROWS * 2; e += threads) {
      let k = k0 + i32(e % DEPTH);
      let o = block + i32(e / DEPTH) * 4;
      var value = elem4();
      if (k < depth) {
        let i = k / max(window, 1);
        let t = k - i * window;
        let ky = tapsH.first + t / tapsW.count * tapsH.every;
        let kx = tapsW.first + t % tapsW.count * tapsW.every;
        let at = g * params.weightGroup + i * params.weightIn + ky * params.kw + kx;
        for (var j = 0; j < 4; j++) {
          if (o + j < outG) { value[j] = elem(weight[at + (o + j) * params.weightOut]); }
        }
      }
      tileW[(buffer + e % DEPTH) * line + e / DEPTH] = value;
    }
    for (var e = thread; e < DEPTH * SPAN; e += threads) {
      let k = k0 + i32(e / SPAN);
      var value = elem4();
      if (k < depth) {
        let i = k / max(window, 1);
        let t = k - i * window;
        let dy = offset(tapsH.first + t / tapsW.count * tapsH.every, positionH, params.dilationH, params.strideH);
        let dx = offset(tapsW.first + t % tapsW.count * tapsW.every, positionW, params.dilationW, params.strideW);
        let iy = fillY + dy;
        let ix = fillX + dx;
        let at = fillBase + i * plane + iy * params.w + ix;
        let inside = fillInside & (iy >= vec4i()) & (iy < vec4i(params.h)) & (ix >= vec4i()) & (ix < vec4i(params.w));
        if (inside.x) { value.x = x[at.x]; }
        if (inside.y) { value.y = x[at.y]; }
        if (inside.z) { value.z = x[at.z]; }
        if (inside.w) { value.w = x[at.w]; }
      }
      tileX[buffer * SPAN + e] = value;
    }
    workgroupBarrier();
    for (var first = 0u; first < DEPTH; first += RUN) {
      for (var k = first; k < first + RUN; k++) {
        let at = buffer + k;
        let wa = tileW[at * line + local.y * 2];
        let wb = tileW[at * line + local.y * 2 + 1];
        let v = tileX[at * SPAN + local.x];
        run[0] += wa.x * v;
        run[1] += wa.y * v;
        run[2] += wa.z * v;
        run[3] += wa.w * v;
        run[4] += wb.x * v;
        run[5] += wb.y * v;
        run[6] += wb.z * v;
        run[7] += wb.w * v;
        if (SPAN > COLS) {
          let u = tileX[at * SPAN + COLS + local.x];
          run[8] += wa.x * u;
          run[9] += wa.y * u;
          run[10] += wa.z * u;
          run[11] += wa.w * u;
          run[12] += wb.x * u;
          run[13] += wb.y * u;
          run[14] += wb.z * u;
          run[15] += wb.w * u;
        }
      }
      if (HALF) { add_run(&sums, &run); }
    }
    if (BUFFERS == 1u) {
      workgroupBarrier();
    } else {
      buffer = DEPTH - buffer;
    }
  }
  if (!HALF) { add_run(&sums, &run); }

  let first = block + i32(local.y) * 8;
  let o = g * outG + first + split * params.n * params.cout;
  let rows = outG - first;
  let near = place(tile + i32(local.x) * 4, grid, gridW, phase / phasesW, phase % phasesW);
  store(near, o, rows > 0, sums[0]);
  store(near, o + 1, rows > 1, sums[1]);
  store(near, o + 2, rows > 2, sums[2]);
  store(near, o + 3, rows > 3, sums[3]);
  store(near, o + 4, rows > 4, sums[4]);
  store(near, o + 5, rows > 5, sums[5]);
  store(near, o + 6, rows > 6, sums[6]);
  store(near, o + 7, rows > 7, sums[7]);
  if (SPAN > COLS) {
    let far = place(tile + i32(COLS + local.x) * 4, grid, gridW, phase / phasesW, phase % phasesW);
    store(far, o, rows > 0, sums[8]);
    store(far, o + 1, rows > 1, sums[9]);
    store(far, o + 2, rows > 2, sums[10]);
    store(far, o + 3, rows > 3, sums[11]);
    store(far, o + 4, rows > 4, sums[12]);
    store(far, o + 5, rows > 5, sums[13]);
    store(far, o + 6, rows > 6, sums[14]);
    store(far, o + 7, rows > 7, sums[15]);
  }
}
