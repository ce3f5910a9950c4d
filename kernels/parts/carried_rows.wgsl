// A walk down an image that is stretched along its axes: two of its rows, blended along x at four columns, of which those
// that the next row of the result needs, too, are kept. A kernel that includes this gives `value_at`, its image.

// The sources of four columns.
struct Sources { low: vec4i, high: vec4i, t: vec4f }

struct Rows { low: i32, high: i32, top: vec4f, bottom: vec4f }

fn no_rows() -> Rows { return Rows(-1, -1, vec4f(), vec4f()); }

fn four_at(row: i32, columns: vec4i) -> vec4f {
  let at = columns + row;
  return vec4f(value_at(at.x), value_at(at.y), value_at(at.z), value_at(at.w));
}

fn four_along(row: i32, u: Sources) -> vec4f {
  return (1.0 - u.t) * four_at(row, u.low) + u.t * four_at(row, u.high);
}

// Moves on to rows `low` and `high`, t between them.
fn four_between(rows: ptr<function, Rows>, plane: i32, width: i32, u: Sources, low: i32, high: i32, t: f32) -> vec4f {
  if (low != (*rows).low) {
    if (low == (*rows).high) { (*rows).top = (*rows).bottom; } else { (*rows).top = four_along(plane + low * width, u); }
    (*rows).low = low;
    (*rows).high = high;
    (*rows).bottom = four_along(plane + high * width, u);
  }
  return (1.0 - t) * (*rows).top + t * (*rows).bottom;
}
