// Twelve columns of a row, of which the middle four are a lane's strip, where neighbouring lanes have neighbouring strips. A
// kernel that includes this has
//   value_at(i), four_at(i)    element i of its image, vec4 i
//   VEC                        rows hold whole vec4s: what lies beside a lane's four columns its neighbours have loaded
//   ENDS                       a subgroup's strips may end within a row

fn at(index: i32, inside: bool) -> f32 { return select(0.0, value_at(select(0, index, inside)), inside); }

fn four(row: i32, width: i32, inRow: bool, ix: i32) -> vec4f {
  if (VEC) {
    let inside = inRow & (ix >= 0) & (ix < width);
    return select(vec4f(), four_at(select(0, (row + ix) / 4, inside)), inside);
  }
  let column = ix + vec4i(0, 1, 2, 3);
  let inside = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(width));
  return vec4f(at(row + ix, inside.x), at(row + ix + 1, inside.y), at(row + ix + 2, inside.z), at(row + ix + 3, inside.w));
}

struct Columns { before: vec4f, own: vec4f, behind: vec4f }

// What lies beside a lane's columns, of rows of whole vec4s: its neighbours' columns, beside the subgroup's `outer`, and nothing
// before the first strip of a row and behind the last one.
fn with_neighbours(own: vec4f, outer: vec4f, lane: i32, first: bool, last: bool) -> Columns {
  var before = subgroupShuffle(own, u32(lane + 7) & 7u);
  var behind = subgroupShuffle(own, u32(lane + 1) & 7u);
  if (ENDS) {
    before = select(before, outer, lane == 0);
    behind = select(behind, outer, lane == 7);
  }
  return Columns(select(before, vec4f(), first), own, select(behind, vec4f(), last));
}

// Of the row of so many columns that begins at `row`, if it is one of the image, those around the lane's strip from ox on.
fn columns_of(row: i32, width: i32, inRow: bool, ox: i32, lane: i32) -> Columns {
  let own = four(row, width, inRow, ox);
  if (!VEC) { return Columns(four(row, width, inRow, ox - 4), own, four(row, width, inRow, ox + 4)); }
  var outer = vec4f();
  if (ENDS) { outer = four(row, width, inRow, ox + select(4, -4, lane == 0)); }
  return with_neighbours(own, outer, lane, ox == 0, ox + 4 >= width);
}

// Four neighbours of twelve columns, from the `first` on.
fn from_column(c: Columns, first: u32) -> vec4f {
  if (first < 4u) { return between(c.before, c.own, first); }
  if (first < 8u) { return between(c.own, c.behind, first - 4u); }
  return c.behind;
}

fn between(a: vec4f, b: vec4f, first: u32) -> vec4f {
  if (first == 0u) { return a; }
  if (first == 1u) { return vec4f(a.yzw, b.x); }
  if (first == 2u) { return vec4f(a.zw, b.xy); }
  return vec4f(a.w, b.xyz);
}
