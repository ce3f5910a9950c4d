// Gradient of a convolution with respect to its weight as a matrix product, for GPUs.
//   dw[co,k] = Σ_p  dy[co,p] · patch[k,p],   k = (ci, ky, kx),   p = (n, oy, ox)
// A workgroup computes 8·ROWS output channels × 4·COLS k over the pixels of one of `splits` runs, a thread 8 × 4
// of them; slices of DEPTH pixels pass through workgroup memory. conv2d_reduce adds up the runs; a single one
// (splits = 1) is written, or with accumulate added, to its place.
alias elem = f32;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, kh: i32, kw: i32, groups: i32,
  outH: i32, outW: i32, strideH: i32, strideW: i32,
  padH: i32, padW: i32, dilationH: i32, dilationW: i32,
  splits: i32, pixelsPerSplit: i32, accumulate: u32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> dy: array<elem>;
@group(0) @binding(2) var<storage, read_write> partial: array<f32>;
@group(0) @binding(3) var<uniform> params: Params;

override ROWS: u32 = 8;
override COLS: u32 = 16;
override DEPTH: u32 = 16;
override BUFFERS: u32 = 1;

// As in conv2d_gemm; a line has one vec4f more than it holds, against conflicts of banks.
var<workgroup> tileD: array<vec4f, BUFFERS * DEPTH * (ROWS * 2 + 1)>;
var<workgroup> tileX: array<vec4f, BUFFERS * DEPTH * (COLS + 1)>;

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
  for (var p0 = split * params.pixelsPerSplit; p0 < pixels; p0 += i32(DEPTH)) {
    for (var e = thread; e < DEPTH * (ROWS * 2 + COLS); e += threads) {
      let p = p0 + i32(e % DEPTH);
      let part = i32(e / DEPTH);
      let image = p / outPlane;
      let rest = p - image * outPlane;
      var value = vec4f();
      if (part < i32(ROWS) * 2) {
        let co = block + part * 4;
        for (var j = 0; j < 4; j++) {
          if (p < pixels && co + j < outG) { value[j] = f32(dy[(image * params.cout + g * outG + co + j) * outPlane + rest]); }
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
            value[j] = f32(x[(image * params.cin + g * inG + ci) * plane + iy * params.w + ix]);
          }
        }
        tileX[(buffer + e % DEPTH) * lineX + u32(column)] = value;
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < DEPTH; k++) {
      let da = tileD[(buffer + k) * lineD + local.y * 2];
      let db = tileD[(buffer + k) * lineD + local.y * 2 + 1];
      let v = tileX[(buffer + k) * lineX + local.x];
      sums[0] += da.x * v;
      sums[1] += da.y * v;
      sums[2] += da.z * v;
      sums[3] += da.w * v;
      sums[4] += db.x * v;
      sums[5] += db.y * v;
      sums[6] += db.z * v;
      sums[7] += db.w * v;
    }
    if (BUFFERS == 1u) {
      workgroupBarrier();
    } else {
      buffer = DEPTH - buffer;
    }
  }

  for (var j = 0; j < 8; j++) {
    let co = block + i32(local.y) * 8 + j;
    if (co >= outG) { break; }
    for (var i = 0; i < 4; i++) {
      let k = tile + i32(local.x) * 4 + i;
      if (k >= depth) { break; }
      let to = (split * params.cout + g * outG + co) * depth + k;
      var value = sums[j][i];
      if (params.accumulate != 0u) { value += partial[to]; }
      partial[to] = value;
    }
  }
}
