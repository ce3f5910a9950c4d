// What the matrix products of convolutions on GPUs share. Slices of DEPTH k go through workgroup memory in BUFFERS; while one is
// multiplied, the next is on its way to registers: nothing waits for a load there, so what lies outside an image is set to
// zero only when it is stored. With two buffers there is one barrier a slice, with one there are two.
// include: products.wgsl

override ROWS: u32 = 8;
override COLS: u32 = 16;
override DEPTH: u32 = 16;
override BUFFERS: u32 = 1;
override THREADS: u32 = ROWS * COLS;
override QUADS: u32 = DEPTH / 4;
// Four pixels are neighbours in a row of whole vec4s, and see such a vec4 of x;
override WIDE: bool = false;
// then also with the pixels to its left and right, if a row of the window is three taps around the pixel: one load for three k.
override TAPS: u32 = 1;
// Else such a window has one tap.
override ONE_TAP: bool = WIDE && TAPS == 1;

// `over` of four.
fn over_each(a: vec4i, b: i32) -> vec4i {
  let q = vec4i(vec4f(a) / f32(b));
  let rest = a - q * b;
  return q - vec4i(rest < vec4i()) + vec4i(rest >= vec4i(b));
}

// Four pixels from `first` of images of so many columns: their image, their place in it, and where their windows begin.
struct Pixels { image: vec4i, place: vec4i, row: vec4i, column: vec4i }

fn pixels_from(first: i32, grid: i32, columns: i32, stepH: i32, stepW: i32) -> Pixels {
  let pixel = first + vec4i(0, 1, 2, 3);
  let image = over_each(pixel, grid);
  let place = pixel - image * grid;
  let row = over_each(place, columns);
  return Pixels(image, place, row * stepH, (place - row * columns) * stepW);
}

// What four pixels see, on its way; which of it there is.
struct Fetched { seen: elem4, left: elem, right: elem, there: vec4<bool>, beside: vec2<bool> }

// In a channel of x under the tap that lies (dy, dx) from where their windows begin; of three taps the one in the middle.
fn fetched(p: Pixels, channel: i32, dy: i32, dx: i32, wanted: bool) -> Fetched {
  let row = p.row + dy;
  let column = p.column + dx;
  let start = ((p.image * params.cin + channel) * params.h + row) * params.w + column;
  let inside = (p.image < vec4i(params.n)) & (row >= vec4i()) & (row < vec4i(params.h)) & vec4<bool>(wanted);
  var f: Fetched;
  if (WIDE) {
    f.there = vec4<bool>(inside.x);
    let at = u32(select(0, start.x, inside.x));
    f.seen = wide_x[at / 4];
    if (TAPS == 3) {
      f.beside = vec2<bool>(inside.x && column.x > 0, inside.x && column.x + 4 < params.w);
      f.left = x[select(0, at - 1, f.beside.x)];
      f.right = x[select(0, at + 4, f.beside.y)];
    }
    return f;
  }
  f.there = inside & (column >= vec4i()) & (column < vec4i(params.w));
  let at = select(vec4i(), start, f.there);
  f.seen = elem4(x[at.x], x[at.y], x[at.z], x[at.w]);
  return f;
}

// The same under the taps to the left, in the middle and to the right, once it is there.
fn in_middle(f: Fetched) -> elem4 { return select(elem4(), f.seen, f.there); }
fn to_left(f: Fetched) -> elem4 { return elem4(select(elem(), f.left, f.beside.x), in_middle(f).xyz); }
fn to_right(f: Fetched) -> elem4 { return elem4(in_middle(f).yzw, select(elem(), f.right, f.beside.y)); }
