// Gradient of a 3×3 convolution, stride 1, dilation 1, of few channels or groups of few with respect to its weight, where
// subgroups have 8 lanes or more: for CPU drivers.
//   dw[o,i,ky,kx] = Σ_n,oy,ox  dy[n,o,oy,ox] · x[n, g·inG + i, oy − p + ky, ox − p + kx]
// A subgroup sums the windows of up to 4 × 4 channels of a group. Each lane walks down a band of rows four columns wide: a row
// of each channel of x meets the three rows of each channel of dy that it is under. The lanes' sums are added up at the end.
// The columns (image, band, strip) are dealt out, eight at a time, over `splits` sums, which conv2d_reduce adds up; a single
// one (splits = 1) is written, or with accumulate added, to its place.
//   …_sums  also Σ dy of each channel, the gradient of a bias
// VEC, NARROW and ENDS as in conv2d_3x3_groups_lanes; VEC of dy, too. x may be channels of a larger array.
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, inG: i32, outG: i32, padH: i32, padW: i32,
  strips: i32, band: i32, bands: i32, blocks: i32, inBlocks: i32,
  splits: i32, perSplit: i32, sourceOffset: i32, sourceGap: i32,
}
@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(1) var<storage, read> x4: array<elem4>;
@group(0) @binding(2) var<storage, read> dy: array<elem>;
@group(0) @binding(3) var<storage, read> dy4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

override OUT: u32 = 4; // channels of dy and of x that go together
override IN: u32 = 4;
override VEC: bool = false;
override NARROW: bool = false;
override ENDS: bool = false;
override ACCUMULATE: bool = false;
// Whether the entry point writes sums of dy.
override SUMS: bool = false;
// Of what a lane loaded, a channel each.
var<private> loaded: vec4f;

// include: parts/over.wgsl, parts/winograd_rows.wgsl, parts/rows_beside.wgsl, parts/own_sum.wgsl

fn up(index: i32, inside: bool) -> f32 { return select(0.0, f32(dy[select(0, index, inside)]), inside); }

fn upstream(start: i32, ox: i32, inside: bool) -> vec4f {
  if (VEC) { return select(vec4f(), vec4f(dy4[select(0, start / 4, inside)]), inside); }
  return vec4f(
    up(start, inside), up(start + 1, inside & (ox + 1 < params.outW)),
    up(start + 2, inside & (ox + 2 < params.outW)), up(start + 3, inside & (ox + 3 < params.outW)));
}

alias Sums = array<f32, 144>; // of channels o and i at 36·o + 9·i, as in the weight of a group of four
// Rows of dy under which the row of x lies: the last two of each channel.
alias Above = array<vec4f, 8>;

fn add(sums: ptr<function, Sums>, at: u32, d: vec4f, left: vec4f, middle: vec4f, right: vec4f) {
  (*sums)[at] += dot(d, left);
  (*sums)[at + 1u] += dot(d, middle);
  (*sums)[at + 2u] += dot(d, right);
}

fn add_rows(sums: ptr<function, Sums>, at: u32, d0: vec4f, d1: vec4f, d2: vec4f, r: Row) {
  let left = vec4f(r.left, r.middle.xyz);
  let right = vec4f(r.middle.yzw, r.right);
  add(sums, at, d0, left, r.middle, right);
  add(sums, at + 3u, d1, left, r.middle, right);
  add(sums, at + 6u, d2, left, r.middle, right);
}

// Where a lane is: planes of its first channels, rows and columns, whether the rows are there, and how many channels more.
struct Under {
  plane: i32, grad: i32, iy: i32, oy: i32, ix: i32, ox: i32, inRow: bool, inBand: bool, mostI: i32, mostO: i32,
}

fn row_of(u: Under, c: u32, beyond: f32, edges: Beside) -> Row {
  let start = u.plane + min(i32(c), u.mostI) * params.h * params.w + u.iy * params.w + u.ix;
  if (!VEC) { return load(start, u.ix, u.inRow); }
  let m = middle(start + 1, u.ix + 1, u.inRow);
  if (!ENDS) { return beside(m, 0.0, 0.0, edges); }
  return beside(m, subgroupShuffle(beyond, 2u * c), subgroupShuffle(beyond, 2u * c + 1u), edges);
}

fn add_channel(sums: ptr<function, Sums>, above: ptr<function, Above>, c: u32, u: Under, rows: ptr<function, array<Row, 4>>) {
  let start = u.grad + (min(i32(c), u.mostO) * params.outH + u.oy) * params.outW + u.ox;
  let d = upstream(start, u.ox, u.inBand);
  if (SUMS) { loaded[c] += dot(d, vec4f(1.0)); }
  let d1 = (*above)[2u * c];
  let d2 = (*above)[2u * c + 1u];
  add_rows(sums, 36u * c, d, d1, d2, (*rows)[0]);
  if (IN > 1u) { add_rows(sums, 36u * c + 9u, d, d1, d2, (*rows)[1]); }
  if (IN > 2u) { add_rows(sums, 36u * c + 18u, d, d1, d2, (*rows)[2]); }
  if (IN > 3u) { add_rows(sums, 36u * c + 27u, d, d1, d2, (*rows)[3]); }
  (*above)[2u * c + 1u] = d1;
  (*above)[2u * c] = d;
}

// The sum over lanes of the lane's own of eight values.
fn total_of(sums: ptr<function, Sums>, first: u32, lane: u32) -> f32 {
  let a = vec4f((*sums)[first], (*sums)[first + 1u], (*sums)[first + 2u], (*sums)[first + 3u]);
  let b = vec4f((*sums)[first + 4u], (*sums)[first + 5u], (*sums)[first + 6u], (*sums)[first + 7u]);
  return own_sum(a, b, lane);
}

fn weight_grad(index: i32, lane: i32) {
  let blocks = over(params.cout, params.outG) * params.blocks * params.inBlocks;
  let split = over(index, blocks);
  if (split >= params.splits) { return; }
  let block = index - split * blocks;
  let whole = over(block, params.inBlocks);
  let g = over(whole, params.blocks);
  // Channels beyond the last repeat it; they are computed and not stored.
  let o = (whole - g * params.blocks) * i32(OUT);
  let i = (block - whole * params.inBlocks) * i32(IN);
  let mostO = params.outG - 1 - o;
  let mostI = params.inG - 1 - i;
  let size = params.h * params.w;
  let outSize = params.outH * params.outW;
  let columns = params.n * params.bands * params.strips;

  var sums = Sums();
  let last = min((columns + 7) / 8, (split + 1) * params.perSplit);
  for (var eight = split * params.perSplit; eight < last; eight++) {
    let column = min(8 * eight + lane, columns - 1);
    let there = 8 * eight + lane < columns;
    let run = over(column, params.strips);
    let strip = column - run * params.strips;
    let image = over(run, params.bands);
    let first = (run - image * params.bands) * params.band;
    let end = select(first, min(first + params.band, params.outH), there);
    let ox = strip * 4;
    let ix = ox - params.padW;
    let edges = Beside(u32(lane), strip == 0, strip == params.strips - 1);
    let plane = (image * params.cin + g * params.inG + i) * size + params.sourceOffset + image * params.sourceGap;
    let grad = (image * params.cout + g * params.outG + o) * outSize;
    // Beside the strips of lanes 0 and 7: of channel lane / 2, on one side.
    let outer = min(8 * eight + 7 * (lane & 1), columns - 1);
    let outerRun = over(outer, params.strips);
    let outerImage = over(outerRun, params.bands);
    let outerX = (outer - outerRun * params.strips) * 4 + select(-1, 4, (lane & 1) == 1);
    let outerY = (outerRun - outerImage * params.bands) * params.band - params.padH;
    let outerPlane = (outerImage * params.cin + g * params.inG + i + min(lane >> 1, mostI)) * size
      + params.sourceOffset + outerImage * params.sourceGap + outerX;
    let inX = (outerX >= 0) & (outerX < params.w);

    var above = Above();
    for (var a = 0; a < params.band + 2; a++) {
      let row = first + a;
      let iy = row - params.padH;
      let inRow = (iy >= 0) & (iy < params.h);
      var beyond = 0.0;
      if (ENDS) {
        let y = outerY + a;
        beyond = at(outerPlane + y * params.w, inX & (y >= 0) & (y < params.h));
      }
      let under = Under(plane, grad, iy, row, ix, ox, inRow, row < end, mostI, mostO);
      // Written out: loops as long are not unrolled, and what they index lies in memory.
      var rows: array<Row, 4>;
      rows[0] = row_of(under, 0u, beyond, edges);
      if (IN > 1u) { rows[1] = row_of(under, 1u, beyond, edges); }
      if (IN > 2u) { rows[2] = row_of(under, 2u, beyond, edges); }
      if (IN > 3u) { rows[3] = row_of(under, 3u, beyond, edges); }
      add_channel(&sums, &above, 0u, under, &rows);
      if (OUT > 1u) { add_channel(&sums, &above, 1u, under, &rows); }
      if (OUT > 2u) { add_channel(&sums, &above, 2u, under, &rows); }
      if (OUT > 3u) { add_channel(&sums, &above, 3u, under, &rows); }
    }
  }

  let to = split * params.cout * params.inG * 9;
  for (var k = 0u; k < 18u; k++) {
    let value = total_of(&sums, 8u * k, u32(lane));
    let f = 8 * i32(k) + lane;
    let co = over(f, 36);
    let ci = over(f - 36 * co, 9);
    if ((co < i32(OUT)) & (co <= mostO) & (ci < i32(IN)) & (ci <= mostI)) {
      let p = to + ((g * params.outG + o + co) * params.inG + i + ci) * 9 + f - 36 * co - 9 * ci;
      partial[p] = value + select(0.0, partial[p], ACCUMULATE);
    }
  }
}

@compute @workgroup_size(8)
fn conv2d_3x3_weight_grad_groups_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  weight_grad(i32(group.x + group.y * count.x), i32(lane));
}

@compute @workgroup_size(8)
fn conv2d_3x3_weight_grad_groups_lanes_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let index = i32(group.x + group.y * count.x);
  weight_grad(index, i32(lane));
  let sum = own_sum(loaded, vec4f(), lane);
  let whole = over(index, params.inBlocks);
  let blocks = over(params.cout, params.outG) * params.blocks;
  let split = over(whole, blocks);
  let g = over(whole - split * blocks, params.blocks);
  let o = (whole - split * blocks - g * params.blocks) * i32(OUT) + i32(lane);
  if ((index != whole * params.inBlocks) | (split >= params.splits) | (lane >= OUT) | (o >= params.outG)) { return; }
  let to = split * params.cout + g * params.outG + o;
  dbias[to] = sum + select(0.0, dbias[to], ACCUMULATE);
}
