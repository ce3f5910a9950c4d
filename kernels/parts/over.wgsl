// ⌊a / b⌋ for a ≥ 0 and quotients below 2²², as `divide` in i32: CPU drivers divide integers one lane at a time.
fn over(a: i32, b: i32) -> i32 {
  let q = i32(f32(a) / f32(b));
  let rest = a - q * b;
  return q - select(0, 1, rest < 0) + select(0, 1, rest >= b);
}
