// conv2d_weight_grad_gemm by subgroup matrices: a convolution's gradient with respect to its weight.
//   dw[co,k] = Σ_p  dy[co,p] · patch[k,p],   k = (ci, ky, kx),   p = (n, oy, ox)
// over the pixels of one of `splits` runs; conv2d_reduce adds up the runs. Products are exact in the half form; sums f32.
enable subgroups;
enable chromium_experimental_subgroup_matrix;

alias elem = f32;
// include: parts/subgroup_matrix.wgsl

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

override ACCUMULATE: bool = false;

const NOWHERE = -1073741824;

// Of a pixel of dy: the place in x of its window's corner, row and column there, and its place in channel 0 of dy
// (negative: past the end).
var<workgroup> pixel_table: array<vec4i, DEPTH>;
// Of a k: what it adds to place, row and column in x.
var<workgroup> tap_table: array<vec4i, GROUP_COLS * SIDE>;

@compute @workgroup_size(LANES)
fn matrix_conv2d_weight_grad(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_index) lane: u32,
  @builtin(subgroup_id) square: u32,
) {
  let index = i32(group.x + group.y * count.x);
  let window = params.kh * params.kw;
  let inG = params.cin / params.groups;
  let outG = params.cout / params.groups;
  let depth = inG * window;
  let rows = i32(GROUP_ROWS * SIDE);
  let columns = i32(GROUP_COLS * SIDE);
  let blocks = (outG + rows - 1) / rows;
  let tiles = (depth + columns - 1) / columns;
  if (index >= blocks * tiles * params.groups * params.splits) { return; }
  let tile = index % tiles * columns;
  let block = index / tiles % blocks * rows;
  let g = index / (tiles * blocks) % params.groups;
  let run = index / (tiles * blocks * params.groups);
  let plane = params.h * params.w;
  let outPlane = params.outH * params.outW;
  let end = min(params.n * outPlane, (run + 1) * params.pixelsPerSplit);

  for (var e = lane; e < GROUP_COLS * SIDE; e += LANES) {
    let k = tile + i32(e);
    let ci = k / window;
    let t = k - ci * window;
    let ty = t / params.kw * params.dilationH;
    let tx = t % params.kw * params.dilationW;
    var entry = vec4i(0, NOWHERE, NOWHERE, 0);
    if (k < depth) { entry = vec4i(ci * plane + ty * params.w + tx, ty, tx, 0); }
    tap_table[e] = entry;
  }

  var sums: result_matrices;
  for (var p0 = run * params.pixelsPerSplit; p0 < end; p0 += i32(DEPTH)) {
    for (var e = lane; e < DEPTH; e += LANES) {
      let p = p0 + i32(e);
      let image = p / outPlane;
      let rest = p - image * outPlane;
      let iy = rest / params.outW * params.strideH - params.padH;
      let ix = rest % params.outW * params.strideW - params.padW;
      var entry = vec4i(0, 0, 0, -1);
      if (p < end) {
        entry = vec4i((image * params.cin + g * inG) * plane + iy * params.w + ix, iy, ix, image * params.cout * outPlane + rest);
      }
      pixel_table[e] = entry;
    }
    // Also: everyone is done with the slice before.
    workgroupBarrier();
    for (var e = lane; e < GROUP_ROWS * SIDE * DEPTH; e += LANES) {
      let at = pixel_table[e % DEPTH].w;
      let co = block + i32(e / DEPTH);
      var value = part(0.0);
      if (at >= 0 && co < outG) { value = part(dy[at + (g * outG + co) * outPlane]); }
      set_left(e / DEPTH, e % DEPTH, value);
    }
    for (var e = lane; e < DEPTH * GROUP_COLS * SIDE; e += LANES) {
      let p = e % DEPTH;
      let column = e / DEPTH;
      let at = pixel_table[p] + tap_table[column];
      let inside = (at.y >= 0) & (at.y < params.h) & (at.z >= 0) & (at.z < params.w) & (at.w >= 0);
      var value = part(0.0);
      if (inside) { value = part(x[at.x]); }
      set_right(p, column, value);
    }
    workgroupBarrier();
    add_product(square, &sums);
  }

  for (var at = 0u; at < SIDE / M * (SIDE / N); at++) {
    lay_out(square, at, &sums);
    for (var e = lane; e < GROUP_ROWS * GROUP_COLS * M * N; e += LANES) {
      let place = place_of(e, at);
      let co = block + i32(place.x);
      let k = tile + i32(place.y);
      if (co < outG && k < depth) {
        let to = (run * params.cout + g * outG + co) * depth + k;
        var value = stage[e];
        if (ACCUMULATE) { value += partial[to]; }
        partial[to] = value;
      }
    }
  }
}
