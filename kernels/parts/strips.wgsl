// Twelve columns of a row, of which the middle four are a lane's strip, where neighbouring lanes have neighbouring strips. A
// kernel that includes this binds x and x4 and has
//   params.h, params.w         of x
//   VEC                        rows of x hold whole vec4s: what lies beside a lane's four columns its neighbours have loaded
//   ENDS                       a subgroup's strips may end within a row

fn at(index: i32, inside: bool) -> f32 { return select(0.0, f32(x[select(0, index, inside)]), inside); }

fn four(row: i32, inRow: bool, ix: i32) -> vec4f {
  if (VEC) {
    let inside = inRow & (ix >= 0) & (ix < params.w);
    return select(vec4f(), vec4f(x4[select(0, (row + ix) / 4, inside)]), inside);
  }
  let column = ix + vec4i(0, 1, 2, 3);
  let inside = vec4<bool>(inRow) & (column >= vec4i()) & (column < vec4i(params.w));
  return vec4f(at(row + ix, inside.x), at(row + ix + 1, inside.y), at(row + ix + 2, inside.z), at(row + ix + 3, inside.w));
}

struct Columns { before: vec4f, own: vec4f, behind: vec4f }

// Row iy, in which the lane's strip begins at column ox, of a plane.
fn columns_of(plane: i32, iy: i32, ox: i32, lane: i32) -> Columns {
  let row = plane + iy * params.w;
  let inRow = (iy >= 0) & (iy < params.h);
  let own = four(row, inRow, ox);
  if (!VEC) { return Columns(four(row, inRow, ox - 4), own, four(row, inRow, ox + 4)); }
  var before = subgroupShuffle(own, u32(lane + 7) & 7u);
  var behind = subgroupShuffle(own, u32(lane + 1) & 7u);
  if (ENDS) {
    let outer = four(row, inRow, ox + select(4, -4, lane == 0));
    before = select(before, outer, lane == 0);
    behind = select(behind, outer, lane == 7);
  }
  return Columns(select(before, vec4f(), ox == 0), own, select(behind, vec4f(), ox + 4 >= params.w));
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
