// Which taps of a window a pixel of one phase has along an axis, and where they lie in x. TRANSPOSE: of the gradient of x.
override TRANSPOSE: bool = false;

// The taps k with `position − k·dilation` divisible by the stride: first, distance and number.
struct Taps { first: i32, every: i32, count: i32 }

fn taps(window: i32, position: i32, dilation: i32, stride: i32) -> Taps {
  if (!TRANSPOSE) { return Taps(0, 1, window); }
  var found = Taps(0, 1, 0);
  for (var k = 0; k < window; k++) {
    if ((position - k * dilation) % stride != 0) { continue; }
    if (found.count == 0) { found.first = k; }
    if (found.count == 1) { found.every = k - found.first; }
    found.count++;
  }
  return found;
}

fn offset(k: i32, position: i32, dilation: i32, stride: i32) -> i32 {
  if (TRANSPOSE) { return (position - k * dilation) / stride; }
  return k * dilation - position;
}
