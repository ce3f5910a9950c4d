// Rows of x for Winograd's F(4, 3) along them. A kernel that includes this binds x and x4 and has VEC: padding 1 and rows a
// multiple of four wide, so that the middle four of six neighbours are one vec4f; and NARROW: no more than those four, so that
// there is none beside them.

// include: winograd_points.wgsl

// Six neighbours of a row: one on the left, four, one on the right.
struct Row { left: f32, middle: vec4f, right: f32 }

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

// Four values from (row, ix) on, where `start` is the index of the first; zero outside the image. VEC: all are in it, or
// none and inRow says so.
fn middle(start: i32, ix: i32, inRow: bool) -> vec4f {
  if (VEC) { return select(vec4f(), vec4f(x4[select(0, start / 4, inRow)]), inRow); }
  return vec4f(
    at(start, inRow && ix >= 0 && ix < params.w), at(start + 1, inRow && ix + 1 < params.w),
    at(start + 2, inRow && ix + 2 < params.w), at(start + 3, inRow && ix + 3 < params.w));
}

// The six values from (row, ix) on.
fn load(start: i32, ix: i32, inRow: bool) -> Row {
  if (NARROW) { return Row(0.0, middle(start + 1, ix + 1, inRow), 0.0); }
  return Row(
    at(start, inRow && ix >= 0 && ix < params.w), middle(start + 1, ix + 1, inRow),
    at(start + 5, inRow && ix + 5 < params.w));
}

// A row transformed, or the sums of one: its polynomial's value at 0, ±NEAR, ±FAR, ∞.
struct Six { a: f32, b: f32, c: f32, d: f32, e: f32, f: f32 }

fn forth(r: Row) -> Six {
  let m = r.middle;
  let even1 = m.w - 2.0 * m.y;
  let odd1 = NEAR * (m.z - 2.0 * m.x);
  let even2 = m.w - 0.5 * m.y;
  let odd2 = FAR * (m.z - 0.5 * m.x);
  return Six(
    r.left - 2.5 * m.y + m.w, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2,
    m.x - 2.5 * m.z + r.right);
}
