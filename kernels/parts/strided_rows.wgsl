// What a lane sees of a row of x whose window has up to seven columns and stride 1 or 2. A kernel that includes this has what
// strips.wgsl wants. With stride 2 a lane's strip is eight columns of x, the even and the odd ones apart.
override KW: u32 = 7;
override DILATION: i32 = 1; // with stride 1 only
override PAD: i32 = 3;
override STRIDE: u32 = 1;

// include: strips.wgsl

// With stride 1 all columns are in `even`.
struct Seen { even: Columns, odd: Columns }

struct Eight { even: vec4f, odd: vec4f }

fn eight(row: i32, width: i32, inRow: bool, ix: i32) -> Eight {
  let a = four(row, width, inRow, ix);
  let b = four(row, width, inRow, ix + 4);
  return Eight(vec4f(a.xz, b.xz), vec4f(a.yw, b.yw));
}

// Around the strip whose output columns begin at ox, of the row of so many columns that begins at `row`, if the image has it.
fn seen_of(row: i32, width: i32, inRow: bool, ox: i32, lane: i32) -> Seen {
  if (STRIDE == 1u) { return Seen(columns_of(row, width, inRow, ox, lane), Columns()); }
  let ix = 2 * ox;
  let own = eight(row, width, inRow, ix);
  if (!VEC) {
    let before = eight(row, width, inRow, ix - 8);
    let behind = eight(row, width, inRow, ix + 8);
    return Seen(Columns(before.even, own.even, behind.even), Columns(before.odd, own.odd, behind.odd));
  }
  var outer = Eight();
  if (ENDS) { outer = eight(row, width, inRow, ix + select(8, -8, lane == 0)); }
  let last = ix + 8 >= width;
  return Seen(
    with_neighbours(own.even, outer.even, lane, ix == 0, last), with_neighbours(own.odd, outer.odd, lane, ix == 0, last));
}

// The four columns under tap kx.
fn under_tap(v: Seen, kx: u32) -> vec4f {
  let at = i32(kx) * DILATION - PAD;
  if (STRIDE == 1u) { return from_column(v.even, u32(4 + at)); }
  if ((at & 1) == 1) { return from_column(v.odd, u32(4 + (at >> 1))); }
  return from_column(v.even, u32(4 + (at >> 1)));
}
