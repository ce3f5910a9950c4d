// Rows of x where the lanes of a subgroup have neighbouring strips of four columns. Beside parts/winograd_rows.

// A lane, and whether its strip is the first, the last of its row.
struct Beside { lane: u32, first: bool, last: bool }

// VEC: what lies beside a lane's four columns is its neighbours', beside the subgroup's what it has as `before` and `behind`.
fn beside(m: vec4f, before: f32, behind: f32, e: Beside) -> Row {
  let left = select(subgroupShuffle(m.w, (e.lane + 7u) & 7u), before, e.lane == 0u);
  let right = select(subgroupShuffle(m.x, (e.lane + 1u) & 7u), behind, e.lane == 7u);
  return Row(select(left, 0.0, e.first), m, select(right, 0.0, e.last));
}
