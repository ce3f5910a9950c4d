// ⌊p / q⌋ for quotients below 2²²: float division is off by one at most, and CPU drivers divide integers one
// lane at a time.
fn divide(p: u32, q: u32) -> u32 {
  let guess = u32(f32(p) / f32(q));
  let rest = i32(p - guess * q);
  return guess + select(0u, 1u, rest >= i32(q)) - select(0u, 1u, rest < 0);
}
