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

// Along one axis: two pixels of the image, whether the position has them or counts as zero there, the weight of `hi`, and
// d weight / d position.
struct Tap { lo: i32, hi: i32, has_lo: bool, has_hi: bool, t: f32, slope: f32 }

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

// A whole number below 2²², which needs no guard against overflow: the sum's last digit counts ones.
fn whole(c: f32) -> i32 { return bitcast<i32>(c + 12582912.0) - 0x4b400000; }

fn tap(p: f32, size: i32, pad: u32) -> Tap {
  let folded = fold(p, f32(size), pad);
  let c = folded.x;
  let last = size - 1;
  var low = floor(c);
  if (MODE == NEAREST_EVEN) { low = round(c); }
  if (MODE == NEAREST_UP) { low = floor(c + 0.5); }
  let i = whole(low);
  if (pad == WRAP) {
    // Only angles wrap, and they lie in [0, size].
    let at = clamp(select(i, i - size, i >= size), 0, last);
    return Tap(at, select(at + 1, 0, at == last), true, true, c - low, 1.0);
  }
  let lo = clamp(i, 0, last);
  let hi = clamp(i + 1, 0, last);
  // What is folded lies inside, and so does `hi` wherever it has a weight.
  if (pad != ZEROS) { return Tap(lo, hi, true, true, c - low, folded.y); }
  return Tap(lo, hi, i == lo, i + 1 == hi, c - low, folded.y);
}
