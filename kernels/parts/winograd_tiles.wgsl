// What the transforms of Winograd's F(4×4, 3×3) share: their parameters, where a tile lies, and the transforms of four columns
// at once.

// include: over.wgsl, winograd_points.wgsl

struct Params {
  n: i32, cin: i32, h: i32, w: i32,
  cout: i32, outH: i32, outW: i32, padH: i32, padW: i32,
  weightOut: i32, weightIn: i32, tilesH: i32, tilesW: i32, weights: i32, relu: u32, offset: i32, gap: i32,
  behind: i32, dilation: i32,
}
// Six rows, or columns 0 to 3 of them; columns 4 and 5 are the x and y of another one.
struct Six { a: vec4f, b: vec4f, c: vec4f, d: vec4f, e: vec4f, f: vec4f }

// The tile that an invocation transforms: a channel's, its first row and column of 4×4.
struct Tile { channel: i32, image: i32, y: i32, x: i32 }

fn tile_of(index: i32, tiles: i32) -> Tile {
  let channel = over(index, tiles);
  let tile = index - channel * tiles;
  let line = over(tile, params.tilesW);
  let image = over(line, params.tilesH);
  return Tile(channel, image, (line - image * params.tilesH) * 4, (tile - line * params.tilesW) * 4);
}

// Bᵀ: each place of a transformed tile is a polynomial's value at 0, ±NEAR, ±FAR, ∞.
fn forth(s: Six) -> Six {
  let even1 = s.e - 2.0 * s.c;
  let odd1 = NEAR * (s.d - 2.0 * s.b);
  let even2 = s.e - 0.5 * s.c;
  let odd2 = FAR * (s.d - 0.5 * s.b);
  return Six(
    s.a - 2.5 * s.c + s.e, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, s.b - 2.5 * s.d + s.f);
}

// Aᵀ, four of six.
struct Four { a: vec4f, b: vec4f, c: vec4f, d: vec4f }

fn back(s: Six) -> Four {
  let sum1 = s.b + s.c;
  let dif1 = NEAR * (s.b - s.c);
  let sum2 = s.d + s.e;
  let dif2 = FAR * (s.d - s.e);
  return Four(s.a + sum1 + sum2, dif1 + dif2, 0.5 * sum1 + 2.0 * sum2, 0.5 * dif1 + 2.0 * dif2 + s.f);
}

// ---- windows; a kernel that includes this binds weight and transformed and has TURN and ADD_WEIGHTS ----

// The rows of a window, of a convolution with so many channels in.
struct Window { top: vec3f, middle: vec3f, low: vec3f }

fn window_of(index: i32, cin: i32) -> Window {
  let o = over(index, cin);
  let first = o * params.weightOut + (index - o * cin) * params.weightIn;
  let a = vec3f(weight[first], weight[first + 1], weight[first + 2]);
  let b = vec3f(weight[first + 3], weight[first + 4], weight[first + 5]);
  let c = vec3f(weight[first + 6], weight[first + 7], weight[first + 8]);
  if (TURN) { return Window(c.zyx, b.zyx, a.zyx); }
  return Window(a, b, c);
}

fn store_window(to: i32, value: vec3f) {
  var w = value;
  if (ADD_WEIGHTS) { w += vec3f(transformed[to], transformed[to + 1], transformed[to + 2]); }
  transformed[to] = w.x;
  transformed[to + 1] = w.y;
  transformed[to + 2] = w.z;
}
