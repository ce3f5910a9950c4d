// Where a warp samples: the position in the input of every output pixel, and the pull of a gradient of the
// positions back to the warp's parameters θ (centres, boxes, matrices, displacements, a grid).
//
//   at[m, v, u] = (px, py) = map(θ[m], u, v)             pixels, centres at integers
//   dθ[m, k]    = Σ_{v, u} ⟨∂at[m, v, u]/∂θ_k, dat[m, v, u]⟩
//
// Drivers differ in sin, cos and atan2 (WGSL allows 2^-11). Here they are polynomials after an exact reduction
// to an eighth of a turn: sin and cos are within 1.2e-7, angles within 1e-6 rad, and quarter turns are exact.

struct Params {
  outputs: u32,     // M
  out_h: u32,
  out_w: u32,
  in_h: u32,
  in_w: u32,
  parameters: u32,  // K: numbers in θ for one output
  angles: u32,
  radii: u32,
  radius_step: f32, // px between two radii
  grid_h: u32,      // control points of a coarse grid
  grid_w: u32,
}

@group(0) @binding(0) var<storage, read> theta: array<f32>;
@group(0) @binding(1) var<storage, read> dat: array<vec2f>;
@group(0) @binding(2) var<storage, read_write> at: array<vec2f>;
@group(0) @binding(3) var<storage, read_write> dtheta: array<f32>;
@group(0) @binding(4) var<uniform> params: Params;

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

// a/b where the quotient is a whole number or a half, exactly; else as the driver divides.
fn quotient(a: f32, b: f32) -> f32 {
  let q = a / b;
  let near = round(2.0 * q) * 0.5;
  return select(q, near, near * b == a);
}

// (cos, sin) of 2π·i/count.
fn circle(i: u32, count: u32) -> vec2f {
  let octant = i * 8u / count;
  // Distance from the nearest multiple of a quarter turn, in eighths: even octants count up, odd ones down.
  let up = f32(i * 8u - octant * count) / f32(count);
  let a = select(up, f32((octant + 1u) * count - i * 8u) / f32(count), (octant & 1u) == 1u) * (PI / 4.0);
  let z = a * a;
  let s = a + a * z * (-1.0 / 6.0 + z * (1.0 / 120.0 + z * (-1.0 / 5040.0 + z * (1.0 / 362880.0))));
  let c = 1.0 + z * (-0.5 + z * (1.0 / 24.0 + z * (-1.0 / 720.0 + z * (1.0 / 40320.0 - z * (1.0 / 3628800.0)))));
  switch (octant) {
    case 0u: { return vec2f(c, s); }
    case 1u: { return vec2f(s, c); }
    case 2u: { return vec2f(-s, c); }
    case 3u: { return vec2f(-c, s); }
    case 4u: { return vec2f(-c, -s); }
    case 5u: { return vec2f(-s, -c); }
    case 6u: { return vec2f(s, -c); }
    default: { return vec2f(c, -s); }
  }
}

// The angle of d as a multiple of 1/count turns, in [0, count].
fn turns(d: vec2f, count: f32) -> f32 {
  let low = min(abs(d.x), abs(d.y));
  let high = max(abs(d.x), abs(d.y));
  if (high == 0.0) { return 0.0; }
  let far = low > 0.41421356 * high; // tan(π/8)
  let t = select(low / high, (low - high) / (low + high), far);
  let z = t * t;
  // Cephes atanf: within 2e-7 for |t| ≤ tan(π/8).
  let p = ((8.05374449538e-2 * z - 1.38776856032e-1) * z + 1.99777106478e-1) * z - 3.33329491539e-1;
  var v = (t + t * z * p) * (0.5 / PI) * count + select(0.0, 0.125, far) * count;
  if (abs(d.y) > abs(d.x)) { v = 0.25 * count - v; }
  if (d.x < 0.0) { v = 0.5 * count - v; }
  if (d.y < 0.0) { v = count - v; }
  return v;
}

// Angle and radius of the output pixel of a polar warp.
fn ray(u: u32, v: u32) -> vec2u {
  return select(vec2u(v, u), vec2u(u, params.radii - 1u - v), MAP == POLAR_UP);
}

// Pixel i of size lies this far past control point k of n, in steps of the grid: the corner points lie on the
// corner pixels. Exact up to the division.
fn past(i: u32, size: u32, k: u32, n: u32) -> f32 {
  if (n == 1u || size == 1u) { return 0.0; }
  return f32(i32(i * (n - 1u)) - i32(k * (size - 1u))) / f32(size - 1u);
}

// The control point at or before pixel i.
fn knot(i: u32, size: u32, n: u32) -> u32 {
  if (n == 1u || size == 1u) { return 0u; }
  return min(i * (n - 1u) / (size - 1u), n - 2u);
}

// Weight of control point k at pixel i.
fn hat(i: u32, size: u32, k: u32, n: u32) -> f32 {
  if (n > 1u && size == 1u && k > 0u) { return 0.0; }
  return max(0.0, 1.0 - abs(past(i, size, k, n)));
}

fn displacement(m: u32, u: u32, v: u32) -> vec2f {
  let k = knot(u, params.out_w, params.grid_w);
  let l = knot(v, params.out_h, params.grid_h);
  let s = past(u, params.out_w, k, params.grid_w);
  let t = past(v, params.out_h, l, params.grid_h);
  let right = min(1u, params.grid_w - 1u);
  let down = min(1u, params.grid_h - 1u) * params.grid_w;
  let nodes = params.grid_h * params.grid_w;
  var sum = vec2f(0.0);
  for (var axis = 0u; axis < 2u; axis++) {
    let a = (2u * m + axis) * nodes + l * params.grid_w + k;
    let above = mix(theta[a], theta[a + right], s);
    let below = mix(theta[a + down], theta[a + down + right], s);
    sum[axis] = mix(above, below, t);
  }
  return sum;
}

fn position(m: u32, u: u32, v: u32) -> vec2f {
  let size = vec2f(f32(params.in_w), f32(params.in_h));
  let pixel = vec2f(f32(u), f32(v));
  switch (MAP) {
    case GRID, GRID_CENTERS: {
      let i = 2u * ((m * params.out_h + v) * params.out_w + u);
      let g = vec2f(theta[i], theta[i + 1u]);
      if (MAP == GRID_CENTERS) { return (g + 1.0) * 0.5 * (size - 1.0); }
      return ((g + 1.0) * size - 1.0) * 0.5;
    }
    case POLAR, POLAR_UP: {
      let at = ray(u, v);
      return vec2f(theta[2u * m], theta[2u * m + 1u])
        + f32(at.y) * params.radius_step * circle(at.x, params.angles);
    }
    case INVERSE, INVERSE_UP: {
      let d = pixel - vec2f(theta[2u * m], theta[2u * m + 1u]);
      let radius = sqrt(dot(d, d)) / params.radius_step;
      let angle = turns(d, f32(params.angles));
      if (MAP == INVERSE_UP) { return vec2f(angle, f32(params.radii - 1u) - radius); }
      return vec2f(radius, angle);
    }
    case CROP: {
      let b = 4u * m;
      return vec2f(
        theta[b] + quotient((pixel.x + 0.5) * theta[b + 2u], f32(params.out_w)) - 0.5,
        theta[b + 1u] + quotient((pixel.y + 0.5) * theta[b + 3u], f32(params.out_h)) - 0.5,
      );
    }
    case AFFINE: {
      let a = 6u * m;
      return vec2f(
        theta[a] * pixel.x + theta[a + 1u] * pixel.y + theta[a + 2u],
        theta[a + 3u] * pixel.x + theta[a + 4u] * pixel.y + theta[a + 5u],
      );
    }
    default: {
      return pixel + displacement(m, u, v);
    }
  }
}

// One invocation an output pixel.
@compute @workgroup_size(64)
fn positions(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  let area = params.out_h * params.out_w;
  if (i >= params.outputs * area) { return; }
  at[i] = position(i / area, i % params.out_w, i / params.out_w % params.out_h);
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

var<workgroup> partial: array<f32, 64>;

// One workgroup an element of dθ; lanes stride over the pixels, then a tree in fixed order.
@compute @workgroup_size(64)
fn pull(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = group.x + group.y * groups.x;
  let m = i / params.parameters;
  let k = i % params.parameters;
  var sum = 0.0;
  if (m < params.outputs) {
    let columns = reached(k % params.grid_w, params.out_w, params.grid_w);
    let rows = reached(k / params.grid_w % params.grid_h, params.out_h, params.grid_h);
    let width = columns.y - columns.x;
    let count = width * (rows.y - rows.x);
    for (var j = lane; j < count; j += 64u) {
      let u = columns.x + j % width;
      let v = rows.x + j / width;
      sum += dot(jacobian(k, m, u, v), dat[(m * params.out_h + v) * params.out_w + u]);
    }
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) { partial[lane] += partial[lane + half]; }
    workgroupBarrier();
  }
  if (lane == 0u && m < params.outputs) { dtheta[i] = partial[0]; }
}

// The same for a grid, where each position has its own two parameters.
@compute @workgroup_size(64)
fn pull_grid(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i >= params.outputs * params.out_h * params.out_w) { return; }
  let size = vec2f(f32(params.in_w), f32(params.in_h));
  let g = dat[i] * 0.5 * select(size, size - 1.0, MAP == GRID_CENTERS);
  dtheta[2u * i] = g.x;
  dtheta[2u * i + 1u] = g.y;
}
