// Where a warp samples: the position in the input of every output pixel, and its derivative by the warp's
// parameters θ (centres, boxes, matrices, displacements, a grid). Part of `warp`.
//
//   at[m, v, u] = (px, py) = map(θ[m], u, v)             pixels, centres at integers
//
// Drivers differ in sin, cos and atan2 (WGSL allows 2^-11). Here they are polynomials after an exact reduction
// to an eighth of a turn: sin and cos are within 1.2e-7, angles within 1e-6 rad, and quarter turns are exact.

const GRID = 0u;          // θ: positions in [−1, 1], −1 and 1 being the edges of the image
const GRID_CENTERS = 1u;  // … the centres of the first and last pixel
const POLAR = 2u;         // θ: cx, cy. Output: angles down, radii along x
const POLAR_UP = 3u;      // … angles along x, radii upwards
const INVERSE = 4u;       // θ: cx, cy. Input: angles down, radii along x
const INVERSE_UP = 5u;    // … angles along x, radii upwards
const CROP = 6u;          // θ: left, top, width, height
const AFFINE = 7u;        // θ: a 2×3 matrix
const DISPLACE = 8u;      // θ: x, then y displacements of the control points
override MAP: u32 = 0;

const PI = 3.14159265358979;

// The same for numbers below 2³¹, in one instruction of a processor, which converts unsigned integers in six.
fn real(i: u32) -> f32 { return f32(i32(i)); }

// a/b where the quotient is a whole number or a half, exactly; else as the driver divides.
fn quotient(a: f32, b: f32) -> f32 {
  let q = a / b;
  let near = round(2.0 * q) * 0.5;
  return select(q, near, near * b == a);
}

// Where output i of `count` samples along one axis of a box.
fn along_box(i: u32, first: f32, length: f32, count: u32) -> f32 {
  return first + (quotient((real(i) + 0.5) * length, real(count)) - 0.5);
}

// (cos, sin) of 2π·i/count.
fn circle(i: u32, count: u32) -> vec2f {
  let octant = divide(i * 8u, count);
  let odd = (octant & 1u) == 1u;
  // Distance from the nearest multiple of a quarter turn, in eighths: even octants count up, odd ones down.
  let rest = i * 8u - octant * count;
  let a = f32(select(rest, count - rest, odd)) / f32(count) * (PI / 4.0);
  let z = a * a;
  let s = a + a * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
  let c = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 - z * (1.0 / 3628800.0)))));
  // Octants 1, 2, 5 and 6 lie about the y axis; 2 to 5 left of it, 4 to 7 below the x axis.
  let about_y = ((octant + 1u) & 2u) != 0u;
  let p = select(vec2f(c, s), vec2f(s, c), about_y);
  return vec2f(select(p.x, -p.x, ((octant + 2u) & 4u) != 0u), select(p.y, -p.y, octant >= 4u));
}

// The angle of d as a multiple of 1/count turns, in [0, count].
fn turns(d: vec2f, count: f32) -> f32 {
  let low = min(abs(d.x), abs(d.y));
  let high = max(abs(d.x), abs(d.y));
  let far = low > 0.41421356 * high; // tan(π/8)
  // The pole has angle 0.
  let t = select(low, low - high, far) / select(select(high, low + high, far), 1.0, high == 0.0);
  let z = t * t;
  // Cephes atanf: within 2e-7 for |t| ≤ tan(π/8).
  let p = ((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1;
  var v = (t + t * z * p) * (0.5 / PI) * count + select(0.0, 0.125, far) * count;
  v = select(v, 0.25 * count - v, abs(d.y) > abs(d.x));
  v = select(v, 0.5 * count - v, d.x < 0.0);
  return select(v, count - v, d.y < 0.0);
}

// Pixel i of size lies this far past control point k of n, in steps of the grid: the corner points lie on the
// corner pixels. Exact up to the division.
fn past(i: u32, size: u32, k: u32, n: u32) -> f32 {
  if (n == 1u || size == 1u) { return 0.0; }
  return f32(i32(i * (n - 1u)) - i32(k * (size - 1u))) / real(size - 1u);
}

// The control point at or before pixel i.
fn knot(i: u32, size: u32, n: u32) -> u32 {
  if (n == 1u || size == 1u) { return 0u; }
  return min(u32(over(i32(i * (n - 1u)), i32(size - 1u))), n - 2u);
}

// Weight of control point k at pixel i.
fn hat(i: u32, size: u32, k: u32, n: u32) -> f32 {
  if (n > 1u && size == 1u && k > 0u) { return 0.0; }
  return max(0.0, 1.0 - abs(past(i, size, k, n)));
}

// The pixels of an output that are sampled one after the other lie below each other, in a column; with ACROSS beside each
// other: on one angle of POLAR, whose direction they share.
override ACROSS: bool = false;

// What the positions in line i of output m share, column i or row i, so that it is found once for many pixels.
struct Line {
  first: vec4f,
  // Of a coarse grid: the control point at or before the column, how far past it the column lies, and the
  // displacements between control points along x, of row `row` of the grid and of the next.
  knot: u32,
  past: f32,
  row: u32,
  above: vec2f,
  below: vec2f,
}

fn line_of(m: u32, i: u32) -> Line {
  var s = Line();
  switch (MAP) {
    case POLAR, POLAR_UP, INVERSE, INVERSE_UP: {
      s.first = vec4f(theta[2u * m], theta[2u * m + 1u], 0.0, 0.0);
      if (MAP == POLAR_UP || ACROSS) { s.first = vec4f(s.first.xy, params.radius_step * circle(i, params.angles)); }
    }
    case CROP: {
      s.first = vec4f(theta[4u * m], theta[4u * m + 1u], theta[4u * m + 2u], theta[4u * m + 3u]);
      s.first.x = along_box(i, s.first.x, s.first.z, params.out_w);
    }
    case AFFINE: {
      let start = vec2f(theta[6u * m], theta[6u * m + 3u]) * real(i) + vec2f(theta[6u * m + 2u], theta[6u * m + 5u]);
      s.first = vec4f(start, theta[6u * m + 1u], theta[6u * m + 4u]);
    }
    case DISPLACE: {
      s.knot = knot(i, params.out_w, params.grid_w);
      s.past = past(i, params.out_w, s.knot, params.grid_w);
      s.row = params.grid_h;
    }
    default: {}
  }
  return s;
}

// Displacement in row `row` of the grid, between the control points beside a column.
fn between(m: u32, row: u32, s: Line) -> vec2f {
  let a = (2u * m * params.grid_h + row) * params.grid_w + s.knot;
  let b = a + params.grid_h * params.grid_w;
  let right = min(1u, params.grid_w - 1u);
  return mix(vec2f(theta[a], theta[b]), vec2f(theta[a + right], theta[b + right]), s.past);
}

// Between knots nothing but t changes.
fn displacement(m: u32, line: ptr<function, Line>, v: u32) -> vec2f {
  var t = past(v, params.out_h, (*line).row, params.grid_h);
  if (((*line).row == params.grid_h) | (t < 0.0) | (t >= 1.0)) {
    let row = knot(v, params.out_h, params.grid_h);
    (*line).row = row;
    (*line).above = between(m, row, *line);
    (*line).below = between(m, min(row + 1u, params.grid_h - 1u), *line);
    t = past(v, params.out_h, row, params.grid_h);
  }
  return mix((*line).above, (*line).below, t);
}

fn position(m: u32, line: ptr<function, Line>, u: u32, v: u32) -> vec2f {
  let size = vec2f(f32(params.in_w), f32(params.in_h));
  let pixel = vec2f(real(u), real(v));
  switch (MAP) {
    case GRID, GRID_CENTERS: {
      let i = 2u * ((m * params.out_h + v) * params.out_w + u);
      let g = vec2f(theta[i], theta[i + 1u]);
      if (MAP == GRID_CENTERS) { return (g + 1.0) * 0.5 * (size - 1.0); }
      return ((g + 1.0) * size - 1.0) * 0.5;
    }
    case POLAR: {
      if (ACROSS) { return (*line).first.xy + pixel.x * (*line).first.zw; }
      return (*line).first.xy + pixel.x * (params.radius_step * circle(v, params.angles));
    }
    case POLAR_UP: { return (*line).first.xy + (real(params.radii - 1u) - pixel.y) * (*line).first.zw; }
    case INVERSE, INVERSE_UP: {
      let d = pixel - (*line).first.xy;
      let radius = sqrt(dot(d, d)) / params.radius_step;
      let angle = turns(d, f32(params.angles));
      if (MAP == INVERSE_UP) { return vec2f(angle, f32(params.radii - 1u) - radius); }
      return vec2f(radius, angle);
    }
    case CROP: {
      return vec2f((*line).first.x, along_box(v, (*line).first.y, (*line).first.w, params.out_h));
    }
    case AFFINE: { return (*line).first.xy + pixel.y * (*line).first.zw; }
    default: {
      return pixel + displacement(m, line, v);
    }
  }
}

// ∂at[m, v, u]/∂θ_k.
fn jacobian(k: u32, m: u32, u: u32, v: u32) -> vec2f {
  let pixel = vec2f(f32(u), f32(v));
  switch (MAP) {
    case POLAR, POLAR_UP: { return select(vec2f(1.0, 0.0), vec2f(0.0, 1.0), k == 1u); }
    case INVERSE, INVERSE_UP: {
      let d = pixel - vec2f(theta[2u * m], theta[2u * m + 1u]);
      let r = sqrt(dot(d, d));
      if (r == 0.0) { return vec2f(0.0); } // the centre of the polar image is a cone's tip
      let e = d / r;
      let radius = -select(e.x, e.y, k == 1u) / params.radius_step;
      let angle = f32(params.angles) * (0.5 / PI) * select(e.y, -e.x, k == 1u) / r;
      if (MAP == INVERSE_UP) { return vec2f(angle, -radius); }
      return vec2f(radius, angle);
    }
    case CROP: {
      let along = (pixel + 0.5) / vec2f(f32(params.out_w), f32(params.out_h));
      switch (k) {
        case 0u: { return vec2f(1.0, 0.0); }
        case 1u: { return vec2f(0.0, 1.0); }
        case 2u: { return vec2f(along.x, 0.0); }
        default: { return vec2f(0.0, along.y); }
      }
    }
    case AFFINE: {
      let factor = select(1.0, select(pixel.x, pixel.y, k % 3u == 1u), k % 3u != 2u);
      return select(vec2f(factor, 0.0), vec2f(0.0, factor), k >= 3u);
    }
    default: {
      let nodes = params.grid_h * params.grid_w;
      let weight = hat(u, params.out_w, k % params.grid_w, params.grid_w)
        * hat(v, params.out_h, k / params.grid_w % params.grid_h, params.grid_h);
      return select(vec2f(weight, 0.0), vec2f(0.0, weight), k >= nodes);
    }
  }
}

// First and end of the pixels that control point k of n reaches.
fn reached(k: u32, size: u32, n: u32) -> vec2u {
  if (MAP != DISPLACE || n == 1u || size == 1u) { return vec2u(0u, size); }
  let first = select(0u, (k - 1u) * (size - 1u) / (n - 1u), k > 0u);
  return vec2u(first, min((k + 1u) * (size - 1u) / (n - 1u) + 1u, size));
}
