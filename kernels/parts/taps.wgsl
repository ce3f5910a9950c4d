// Which pixels a position between them falls on, one axis at a time. Part of `warp`.

const ZEROS = 0u;
const BORDER = 1u;
const REFLECT_EDGES = 2u;   // about −0.5 and size − 0.5
const REFLECT_CENTERS = 3u; // about 0 and size − 1
const WRAP = 4u;
override PAD_X: u32 = 0;
override PAD_Y: u32 = 0;

const BILINEAR = 0u;
const NEAREST_EVEN = 1u; // halves to the even pixel, PyTorch's gridSample
const NEAREST_UP = 2u;   // halves to the greater pixel
override MODE: u32 = 0;

// Along one axis: the two pixels (−1: outside, counts as zero), the weight of `hi`, and d weight / d position.
struct Tap { lo: i32, hi: i32, t: f32, slope: f32 }

// The position folded into the image, and d folded / d position.
fn fold(p: f32, size: f32, pad: u32) -> vec2f {
  if (pad == WRAP) { return vec2f(p, 1.0); }
  // Farther out there is nothing but zeros.
  if (pad == ZEROS) { return vec2f(clamp(p, -2.0, size + 1.0), 1.0); }
  let last = size - 1.0;
  if (pad == BORDER) { return vec2f(clamp(p, 0.0, last), select(0.0, 1.0, (p > 0.0) & (p < last))); }
  let low = select(0.0, -0.5, pad == REFLECT_EDGES);
  let span = size - select(1.0, 0.0, pad == REFLECT_EDGES);
  if (span <= 0.0) { return vec2f(0.0); }
  let q = abs(p - low);
  let flips = floor(q / span);
  let back = flips - 2.0 * floor(flips * 0.5) == 1.0;
  let rest = q - flips * span;
  let folded = select(rest, span - rest, back) + low;
  // Inside, nothing is folded and no digit lost.
  let c = select(folded, p, (p > 0.0) & (p < last));
  let sign = select(1.0, -1.0, (p < low) != back);
  return vec2f(clamp(c, 0.0, last), select(0.0, sign, (c > 0.0) & (c < last)));
}

fn bounded(i: i32, size: i32, pad: u32) -> i32 {
  // Only angles wrap, and they lie in [0, size].
  if (pad == WRAP) { return i - select(0, size, i >= size) - select(0, size, i - size >= size); }
  return select(-1, i, (i >= 0) & (i < size));
}

fn tap(p: f32, size: u32, pad: u32) -> Tap {
  let folded = fold(p, f32(size), pad);
  let c = folded.x;
  if (MODE == NEAREST_EVEN) { return Tap(bounded(i32(round(c)), i32(size), pad), -1, 0.0, 0.0); }
  if (MODE == NEAREST_UP) { return Tap(bounded(i32(floor(c + 0.5)), i32(size), pad), -1, 0.0, 0.0); }
  let low = floor(c);
  return Tap(bounded(i32(low), i32(size), pad), bounded(i32(low) + 1, i32(size), pad), c - low, folded.y);
}
