// Both gradients of a 1×1 convolution to one or two channels, the head of a network, in one pass over dy and x, where
// subgroups have 8 lanes or more: for CPU drivers.
//   dx[n,ci,p] = Σ_co weight[co,ci] · dy[n,co,p]        dw[co,ci] = Σ_n,p dy[n,co,p] · x[n,ci,p]
// One subgroup takes eight channels of x and a run of pixels, four a lane and turn: what it loads of dy serves all eight. Of
// the sums over pixels each lane ends with a channel's.
// The runs are dealt out over `splits` sums, which conv2d_reduce adds up; a single one is written, or with ACCUMULATE
// added, to its place.
//   …_sums  also Σ dy of each output channel, the gradient of a bias
enable subgroups;

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  n: i32, cin: i32,
  quads: i32, // vec4s of a plane
  splits: i32, perSplit: i32,
  offset: i32, gap: i32, // image n of dx lies offset + n·gap vec4s further than in a dense array
}
@group(0) @binding(0) var<storage, read> x4: array<elem4>;
@group(0) @binding(1) var<storage, read> dy4: array<elem4>;
@group(0) @binding(2) var<storage, read> weight: array<f32>;
@group(0) @binding(3) var<storage, read_write> dx4: array<elem4>;
@group(0) @binding(4) var<storage, read_write> partial: array<f32>;
@group(0) @binding(5) var<uniform> params: Params;
@group(0) @binding(6) var<storage, read_write> dbias: array<f32>;

override TWO: bool = false; // output channels: two, else one
override ADD: bool = false; // to what dx holds
override ACCUMULATE: bool = false;
// Whether the entry point writes them.
override SUMS: bool = false;
// Σ dy of the lane's pixels.
var<private> sums: array<vec4f, 2>;

// include: parts/over.wgsl, parts/own_sum.wgsl

// Eight channels' weights, or their sums over a lane's pixels.
struct Weights { a: vec4f, b: vec4f }

// Each lane loads a channel's, and all get all.
fn weights_at(first: i32, lane: u32) -> Weights {
  let w = weight[first + i32(lane)];
  return Weights(
    vec4f(subgroupShuffle(w, 0u), subgroupShuffle(w, 1u), subgroupShuffle(w, 2u), subgroupShuffle(w, 3u)),
    vec4f(subgroupShuffle(w, 4u), subgroupShuffle(w, 5u), subgroupShuffle(w, 6u), subgroupShuffle(w, 7u)));
}

// Two output channels' gradients at four pixels.
struct Upstream { a: vec4f, b: vec4f }

fn put(to: i32, d: Upstream, a: f32, b: f32) {
  var value = a * d.a;
  if (TWO) { value += b * d.b; }
  if (ADD) { value += vec4f(dx4[to]); }
  dx4[to] = elem4(value);
}

fn gradients(index: i32, lane: u32) {
  let blocks = params.cin / 8;
  let split = over(index, blocks);
  let ci = (index - split * blocks) * 8;
  if (split >= params.splits) { return; }
  let w1 = weights_at(ci, lane);
  var w2 = Weights();
  if (TWO) { w2 = weights_at(params.cin + ci, lane); }

  // Of channel i in sums1[i] with the first output channel, in sums2[i] with the second.
  var sums1 = array<vec4f, 8>();
  var sums2 = array<vec4f, 8>();
  let end = min(params.n * params.quads, (split + 1) * params.perSplit);
  for (var first = split * params.perSplit; first < end; first += 8) {
    // Lanes behind the end repeat the last vec4 without a gradient, and store nothing.
    let inside = first + i32(lane) < end;
    let quad = min(first + i32(lane), end - 1);
    let image = over(quad, params.quads);
    let p = quad - image * params.quads;
    let at = (image * params.cin + ci) * params.quads + p;
    let to = at + params.offset + image * params.gap;
    let upstream = select(image, 2 * image, TWO) * params.quads + p;
    var d = Upstream();
    if (inside) {
      d.a = vec4f(dy4[upstream]);
      if (TWO) { d.b = vec4f(dy4[upstream + params.quads]); }
    }
    if (SUMS) {
      sums[0] += d.a;
      sums[1] += d.b;
    }
    add(&sums1, &sums2, 0u, at, d);
    add(&sums1, &sums2, 1u, at, d);
    add(&sums1, &sums2, 2u, at, d);
    add(&sums1, &sums2, 3u, at, d);
    add(&sums1, &sums2, 4u, at, d);
    add(&sums1, &sums2, 5u, at, d);
    add(&sums1, &sums2, 6u, at, d);
    add(&sums1, &sums2, 7u, at, d);
    if (inside) {
      put(to, d, w1.a.x, w2.a.x);
      put(to + params.quads, d, w1.a.y, w2.a.y);
      put(to + 2 * params.quads, d, w1.a.z, w2.a.z);
      put(to + 3 * params.quads, d, w1.a.w, w2.a.w);
      put(to + 4 * params.quads, d, w1.b.x, w2.b.x);
      put(to + 5 * params.quads, d, w1.b.y, w2.b.y);
      put(to + 6 * params.quads, d, w1.b.z, w2.b.z);
      put(to + 7 * params.quads, d, w1.b.w, w2.b.w);
    }
  }
  let outputs = select(1, 2, TWO);
  let result = split * outputs * params.cin + ci + i32(lane);
  store(result, total(&sums1, lane));
  if (TWO) { store(result + params.cin, total(&sums2, lane)); }
}

fn add(sums1: ptr<function, array<vec4f, 8>>, sums2: ptr<function, array<vec4f, 8>>, i: u32, at: i32, d: Upstream) {
  let v = vec4f(x4[at + i32(i) * params.quads]);
  (*sums1)[i] += d.a * v;
  if (TWO) { (*sums2)[i] += d.b * v; }
}

fn total(s: ptr<function, array<vec4f, 8>>, lane: u32) -> f32 {
  let one = vec4f(1.0);
  return own_sum(
    vec4f(dot((*s)[0], one), dot((*s)[1], one), dot((*s)[2], one), dot((*s)[3], one)),
    vec4f(dot((*s)[4], one), dot((*s)[5], one), dot((*s)[6], one), dot((*s)[7], one)),
    lane);
}

fn store(to: i32, sum: f32) {
  var value = sum;
  if (ACCUMULATE) { value += partial[to]; }
  partial[to] = value;
}

@compute @workgroup_size(8)
fn conv2d_head_gradients_lanes(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  gradients(i32(group.x + group.y * count.x), lane);
}

@compute @workgroup_size(8)
fn conv2d_head_gradients_lanes_sums(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(subgroup_invocation_id) lane: u32,
) {
  let index = i32(group.x + group.y * count.x);
  gradients(index, lane);
  let one = vec4f(1.0);
  let mine = own_sum(vec4f(dot(sums[0], one), dot(sums[1], one), vec2f()), vec4f(), lane);
  let blocks = params.cin / 8;
  let split = over(index, blocks);
  let outputs = select(1u, 2u, TWO);
  if ((index != split * blocks) | (lane >= outputs) | (split >= params.splits)) { return; }
  let to = split * i32(outputs) + i32(lane);
  dbias[to] = mine + select(0.0, dbias[to], ACCUMULATE);
}
