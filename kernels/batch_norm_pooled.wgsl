// Batch normalisation as kernels/batch_norm.wgsl has it, and the 2×2 maxima of y (windows side by side, w a multiple of 8, h of 2)
// beside it: pooling reads nothing, and its gradient is taken in the passes of the normalisation's. Which value of a window was
// its first maximum is found again from x, by the same operations, not kept. A lane takes four windows at once. Channels are one
// workgroup's, or lane's: partial sums and running statistics, too, would bind more arrays than every adapter has.

// include: parts/batch_norm.wgsl, parts/over.wgsl

@group(0) @binding(18) var<storage, read_write> maxima: array<elem4>;
@group(0) @binding(19) var<storage, read> dmaxima: array<elem4>;

// Four windows of 2×2: two vec4s of y (or x, or dy) and the two below them.
struct Windows { a: vec4f, b: vec4f, c: vec4f, d: vec4f }

// The first vec4 of the windows i of the row that begins at element `start`.
fn corner(start: u32, i: u32) -> u32 {
  let across = params.w / 8u;
  return start / 4u + 2u * (i + across * u32(over(i32(i), i32(across))));
}

fn windows_at(at: u32) -> Windows {
  let below = at + params.w / 4u;
  return Windows(vec4f(x[at]), vec4f(x[at + 1u]), vec4f(x[below]), vec4f(x[below + 1u]));
}

// The same of y as it is stored: halves are compared as halves, which a driver that is free to leave a rounding out would not do.
struct Stored { a: elem4, b: elem4, c: elem4, d: elem4 }

fn stored(v: vec4f, k: Channel) -> elem4 { return elem4(activate(affine(v, k))); }

fn all_stored(v: Windows, k: Channel) -> Stored {
  return Stored(stored(v.a, k), stored(v.b, k), stored(v.c, k), stored(v.d, k));
}

fn nan4(v: elem4) -> vec4<bool> {
  return (bitcast<vec4u>(vec4f(v)) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

// As kernels/max_pool2d.wgsl has it: the first maximum, or the first NaN.
fn better(v: elem4, than: elem4) -> vec4<bool> {
  return ((v > than) | nan4(v)) & !nan4(than);
}

// The maxima, and whether the second, third and fourth value was larger than those before it.
struct Most { value: elem4, second: vec4<bool>, third: vec4<bool>, fourth: vec4<bool> }

fn most(y: Stored) -> Most {
  let p = elem4(y.a.xz, y.b.xz);
  let q = elem4(y.a.yw, y.b.yw);
  let r = elem4(y.c.xz, y.d.xz);
  let s = elem4(y.c.yw, y.d.yw);
  let second = better(q, p);
  let upper = select(p, q, second);
  let third = better(r, upper);
  let three = select(upper, r, third);
  let fourth = better(s, three);
  return Most(select(three, s, fourth), second, third, fourth);
}

// `normalize_rows`, and the maxima.
fn normalize_windows(group: vec3u, lane: u32, k: Channel) {
  let mine = share_of(group);
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let start = row_start(image, mine.c);
    let shift = params.offset + image * params.gap;
    for (var i = column; i < params.row / 16u; i += params.across) {
      let at = corner(start, i);
      let y = all_stored(windows_at(at), k);
      let to = at + shift;
      let below = to + params.w / 4u;
      result[to] = y.a;
      result[to + 1u] = y.b;
      result[below] = y.c;
      result[below + 1u] = y.d;
      maxima[start / 16u + i] = most(y).value;
    }
  }
}

@compute @workgroup_size(WG)
fn normalize_channel(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = own(group, lane);
  normalize_windows(o.xyz, o.w, batch_channel(o.x, moment_of(o.xyz, o.w), o.w == 0u));
}

// dz where y is pooled, too: the gradient of a maximum is that of the value that was it.
fn dz_at(at: u32, i: u32, v: Windows, k: Channel) -> Windows {
  let m = most(all_stored(v, k));
  let g = vec4f(dmaxima[i]);
  let p = select(g, vec4f(), m.second | m.third | m.fourth);
  let q = select(vec4f(), g, m.second & !m.third & !m.fourth);
  let r = select(vec4f(), g, m.third & !m.fourth);
  let s = select(vec4f(), g, m.fourth);
  let below = at + params.w / 4u;
  return Windows(
    masked(vec4f(dy[at]) + vec4f(p.x, q.x, p.y, q.y), affine(v.a, k)),
    masked(vec4f(dy[at + 1u]) + vec4f(p.z, q.z, p.w, q.w), affine(v.b, k)),
    masked(vec4f(dy[below]) + vec4f(r.x, s.x, r.y, s.y), affine(v.c, k)),
    masked(vec4f(dy[below + 1u]) + vec4f(r.z, s.z, r.w, s.w), affine(v.d, k)));
}

fn sums_of(group: vec3u, lane: u32) -> vec2f {
  let mine = share_of(group);
  let k = saved[mine.c];
  var sum = vec4f();
  var product = vec4f();
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let start = row_start(image, mine.c);
    let shift = params.offset + image * params.gap;
    for (var i = column; i < params.row / 16u; i += params.across) {
      let at = corner(start, i);
      let v = windows_at(at);
      let dz = dz_at(at + shift, start / 16u + i, v, k);
      sum += dz.a + dz.b + dz.c + dz.d;
      product = fma(dz.a, v.a - k.mean, product);
      product = fma(dz.b, v.b - k.mean, product);
      product = fma(dz.c, v.c - k.mean, product);
      product = fma(dz.d, v.d - k.mean, product);
    }
  }
  return joined(sum, product, k, lane);
}

// `gradient_rows` of what is pooled, too.
fn gradient_windows(group: vec3u, lane: u32, sums: vec2f) {
  let mine = share_of(group);
  if (group.y + group.z + lane == 0u) { store_sums(mine.c, sums); }
  let k = saved[mine.c];
  let m = sums * params.inverse_count;
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let start = row_start(image, mine.c);
    let shift = params.offset + image * params.gap;
    for (var i = column; i < params.row / 16u; i += params.across) {
      let at = corner(start, i);
      let v = windows_at(at);
      let dz = dz_at(at + shift, start / 16u + i, v, k);
      let below = at + params.w / 4u;
      put_gradient(at, gradient(v.a, dz.a, k, m));
      put_gradient(at + 1u, gradient(v.b, dz.b, k, m));
      put_gradient(below, gradient(v.c, dz.c, k, m));
      put_gradient(below + 1u, gradient(v.d, dz.d, k, m));
    }
  }
}

@compute @workgroup_size(WG)
fn channel_gradient(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = own(group, lane);
  gradient_windows(o.xyz, o.w, sums_of(o.xyz, o.w));
}
