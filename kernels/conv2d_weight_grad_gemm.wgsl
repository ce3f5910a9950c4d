// Gradient of a convolution with respect to its weight as a matrix product, for GPUs.
//   dw[co,k] = Σ_p  dy[co,p] · patch[k,p],   k = (ci, ky, kx),   p = (n, oy, ox)
// A workgroup computes 8·ROWS output channels × 4·COLS k over the pixels of one of `splits` runs, a thread 8 × 4
// of them; slices of DEPTH pixels pass through workgroup memory. conv2d_reduce adds up the runs; a single one
// (splits = 1) is written, or with accumulate added, to its place.
// The half form multiplies halves and sums them over RUN pixels, as conv2d_gemm does.
alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  splits: i32, pixelsPerSplit: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

override ROWS: u32 = 8;
override COLS: u32 = 16;
override DEPTH: u32 = 16;
override BUFFERS: u32 = 1;
override ACCUMULATE: bool = false;

const HALF = elem(1.0) + elem(0.0001) == elem(1.0); // halves cannot tell these apart
const RUN = 8u;

// As in conv2d_gemm; a line has one vec4 more than it holds, against conflicts of banks.
var<workgroup> tileD: array<elem4, BUFFERS * DEPTH * (ROWS * 2 + 1)>;
var<workgroup> tileX: array<elem4, BUFFERS * DEPTH * (COLS + 1)>;

// Adds the sums of a run to those before it.
fn add_run(sums: ptr<function, array<vec4f, 8>>, run: ptr<function, array<elem4, 8>>) {
  (*sums)[0] += vec4f((*run)[0]);
  (*sums)[1] += vec4f((*run)[1]);
  (*sums)[2] += vec4f((*run)[2]);
  (*sums)[3] += vec4f((*run)[3]);
  (*sums)[4] += vec4f((*run)[4]);
  (*sums)[5] += vec4f((*run)[5]);
  (*sums)[6] += vec4f((*run)[6]);
  (*sums)[7] += vec4f((*run)[7]);
  *run = array<elem4, 8>();
}

@compute @workgroup_size(COLS, ROWS)
fn conv2d_weight_grad_gemm(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_id) local: vec3u,
  @builtin(local_invocation_index) thread: u32,
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

  let threads = ROWS * COLS;
  let plane = params.h * params.w;
  let outPlane = params.outH * params.outW;
  let pixels = min(params.n * outPlane, (split + 1) * params.pixelsPerSplit);

  let lineD = ROWS * 2 + 1;
  let lineX = COLS + 1;
  var buffer = 0u;
  var sums = array<vec4f, 8>();
  var run = array<elem4, 8>();
  for (var p0 = split * params.pixelsPerSplit; p0 < pixels; p0 += i32(DEPTH)) {
    for (var e = thread; e < DEPTH * (ROWS * 2 + COLS); e += threads) {
      let p = p0 + i32(e % DEPTH);
      let part = i32(e / DEPTH);
      let image = p / outPlane;
      let rest = p - image * outPlane;
      var value = elem4();
      if (part < i32(ROWS) * 2) {
        let co = block + part * 4;
        for (var j = 0; j < 4; j++) {
          if (p < pixels && co + j < outG) { value[j] = dy[(image * params.cout + g * outG + co + j) * outPlane + rest]; }
        }
        tileD[(buffer + e % DEPTH) * lineD + u32(part)] = value;
      } else {
        let column = part - i32(ROWS) * 2;
        let y0 = rest / params.outW * params.strideH - params.padH;
        let x0 = rest % params.outW * params.strideW - params.padW;
        for (var j = 0; j < 4; j++) {
          let k = tile + column * 4 + j;
          let ci = k / window;
          let t = k - ci * window;
          let iy = y0 + t / params.kw * params.dilationH;
          let ix = x0 + t % params.kw * params.dilationW;
          if (p < pixels && k < depth && iy >= 0 && iy < params.h && ix >= 0 && ix < params.w) {
            value[j] = x[(image * params.cin + g * inG + ci) * plane + iy * params.w + ix];
          }
        }
        tileX[(buffer + e % DEPTH) * lineX + u32(column)] = value;
      }
    }
    workgroupBarrier();
    for (var first = 0u; first < DEPTH; first += RUN) {
      for (var k = first; k < first + RUN; k++) {
        let da = tileD[(buffer + k) * lineD + local.y * 2];
        let db = tileD[(buffer + k) * lineD + local.y * 2 + 1];
        let v = tileX[(buffer + k) * lineX + local.x];
        run[0] += da.x * v;
        run[1] += da.y * v;
        run[2] += da.z * v;
        run[3] += da.w * v;
        run[4] += db.x * v;
        run[5] += db.y * v;
        run[6] += db.z * v;
        run[7] += db.w * v;
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

  for (var j = 0; j < 8; j++) {
    let co = block + i32(local.y) * 8 + j;
    if (co >= outG) { break; }
    for (var i = 0; i < 4; i++) {
      let k = tile + i32(local.x) * 4 + i;
      if (k >= depth) { break; }
      let to = (split * params.cout + g * outG + co) * depth + k;
      var value = sums[j][i];
      if (ACCUMULATE) { value += partial[to]; }
      partial[to] = value;
    }
  }
}
