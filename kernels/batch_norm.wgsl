// Batch normalisation of (N, C, H, W) over N, H, W, with an optional ReLU:
//   y = relu?(z),  z = (x − mean[c]) · scale + bias[c],  scale = weight[c] / √(var[c] + eps)
// and its gradient, with x̂ the normalised x, dz = dy where z > 0 (if ReLU), M = N·H·W:
//   dbias = Σ dz    dweight = Σ dz·x̂    dx = scale · (dz − dbias/M − x̂·dweight/M)
// (in evaluation the statistics are constants: dx = scale · dz).
//
// Passes over memory, in arrays of the size of x:
//   training, forward    3   statistics read x; `normalize_batch` reads x, writes y
//   evaluation, forward  2   `normalize` reads x, writes y
//   backward             5   `gradient_sums` read x and dy; `input_gradient` reads x and dy, writes dx
// The backward kernels compute z again, by the same operations, instead of reading y.
//
// A channel of few values is one workgroup's; on CPU drivers one lane's, if images are small and there are channels for all
// lanes. `normalize_channel` and `channel_gradient` (with rows that are no whole vec4s `…_any`) are all of it in one launch each,
// reading the second time what the caches still hold. Otherwise workgroup (c, segment, run) takes `run_images` images × `blocks` vec4s of a row in every launch. Its sums are partial
// results: of each lane on CPU drivers (WG of 8: no barriers), else of the workgroup. The next launch
// adds them up in each of its workgroups, in a fixed order; `reduce_…` does so before where they are many.
// Mean and variance are numerically sound: a run's sums are taken about a value of its images, and runs are
// joined by  mean = Σ nᵢ·meanᵢ / M,  M·var = Σ m2ᵢ + nᵢ·(meanᵢ − mean)²   (Chan, Golub, LeVeque). A mean is held
// as a sum of two numbers: about 1000 one float32 would be off by up to 3e-5.
// A row is the H·W values of one image and channel. Where 4 does not divide it, its first and last vec4
// also hold neighbours, which are masked. Channels of a larger array are written and read in place: image n
// of y (forward) or dy (backward) lies `offset + n·gap` vec4s further than in an array of its own. Batch norm with its maxima is
// kernels/batch_norm_pooled.wgsl.

// include: parts/batch_norm.wgsl

@group(0) @binding(2) var<storage, read> mean: array<f32>;         // running statistics, in evaluation
@group(0) @binding(3) var<storage, read> variance: array<f32>;
@group(0) @binding(6) var<storage, read> moments: array<vec4f>;    // partial: mean (in x and w), m2, count
@group(0) @binding(7) var<storage, read> products: array<vec2f>;   // partial: Σ dz, Σ dz·x̂
@group(0) @binding(10) var<storage, read_write> part_moments: array<vec4f>;
@group(0) @binding(11) var<storage, read_write> part_products: array<vec2f>;
// The result by single values, for rows that are not whole vec4s.
@group(0) @binding(9) var<storage, read_write> result1: array<elem>;

// ---- training, forward: partial moments ----

// Where a partial sum lies; `lane` is 0 where the workgroup has joined them.
fn partial_at(group: vec3u, lane: u32) -> u32 {
  let run = group.z * params.segments + group.y;
  return group.x * params.partials + select(run * WG + lane, run, JOIN);
}

@compute @workgroup_size(WG)
fn statistics(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let moment = moment_of(group, lane);
  if (!JOIN || lane == 0u) { part_moments[partial_at(group, lane)] = moment; }
}

// Joins `params.partials` partial moments of channel c.
fn joined_moments(c: u32) -> vec4f {
  let first = c * params.partials;
  let reference = moments[first].x;
  var s = vec2f(0.0);
  for (var i = first; i < first + params.partials; i++) {
    let m = moments[i];
    s += vec2f(m.z * ((m.x - reference) + m.w), m.z);
  }
  let beyond = s.x / s.y;
  var m2 = 0.0;
  for (var i = first; i < first + params.partials; i++) {
    let m = moments[i];
    let d = (m.x - reference) + (m.w - beyond);
    m2 += m.y + m.z * d * d;
  }
  return vec4f(reference, m2, s.y, beyond);
}

// One workgroup a channel: many partial moments become one.
@compute @workgroup_size(WG)
fn reduce_moments(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  let first = c * params.partials;
  let reference = moments[first].x;
  var s = vec2f(0.0);
  for (var i = lane; i < params.partials; i += WG) {
    let m = moments[first + i];
    s += vec2f(m.z * ((m.x - reference) + m.w), m.z);
  }
  let total = add_up(lane, vec3f(s, 0.0));
  let beyond = total.x / total.y;
  var squares = 0.0;
  for (var i = lane; i < params.partials; i += WG) {
    let m = moments[first + i];
    let d = (m.x - reference) + (m.w - beyond);
    squares += m.y + m.z * d * d;
  }
  let m2 = add_up(lane, vec3f(squares, 0.0, 0.0)).x;
  if (lane == 0u) { part_moments[c] = vec4f(reference, m2, total.y, beyond); }
}

// ---- forward ----

// Rows of whole vec4s.
fn normalize_rows(group: vec3u, lane: u32, k: Channel) {
  let mine = share_of(group);
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let part = part_of(row_start(image, mine.c), mine.segment);
    let shift = params.offset + image * params.gap;
    for (var b = part.first + column; b < part.last; b += params.across) {
      result[b + shift] = elem4(activate(affine(vec4f(x[b]), k)));
    }
  }
}

// Rows of any length: of a vec4 the values that are the row's.
fn normalize_values(group: vec3u, lane: u32, k: Channel) {
  let mine = share_of(group);
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let start = row_start(image, mine.c);
    let part = part_of(start, mine.segment);
    for (var b = part.first + column; b < part.last; b += params.across) {
      let mask = inside(b, start);
      let y = activate(affine(vec4f(x[b]), k));
      for (var i = 0u; i < 4u; i++) {
        if (mask[i]) { result1[4u * b + i] = elem(y[i]); }
      }
    }
  }
}

@compute @workgroup_size(WG)
fn normalize_batch(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  normalize_rows(group, lane, batch_channel(group.x, joined_moments(group.x), group.y + group.z + lane == 0u));
}

@compute @workgroup_size(WG)
fn normalize_batch_any(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  normalize_values(group, lane, batch_channel(group.x, joined_moments(group.x), group.y + group.z + lane == 0u));
}

@compute @workgroup_size(WG)
fn normalize_channel(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = own(group, lane);
  normalize_rows(o.xyz, o.w, batch_channel(o.x, moment_of(o.xyz, o.w), o.w == 0u));
}

@compute @workgroup_size(WG)
fn normalize_channel_any(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = own(group, lane);
  normalize_values(o.xyz, o.w, batch_channel(o.x, moment_of(o.xyz, o.w), o.w == 0u));
}

@compute @workgroup_size(WG)
fn normalize(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  normalize_rows(group, lane, channel(c, mean[c], 0.0, variance[c], group.y + group.z + lane == 0u));
}

@compute @workgroup_size(WG)
fn normalize_any(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  normalize_values(group, lane, channel(c, mean[c], 0.0, variance[c], group.y + group.z + lane == 0u));
}

// ---- backward: partial Σ dz and Σ dz·x̂ ----

fn sums_of(group: vec3u, lane: u32) -> vec2f {
  let mine = share_of(group);
  let k = saved[mine.c];
  var sum = vec4f(0.0);
  var product = vec4f(0.0);
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let start = row_start(image, mine.c);
    let part = part_of(start, mine.segment);
    let shift = params.offset + image * params.gap;
    for (var b = part.first + column; b < part.last; b += params.across) {
      let mask = inside(b, start);
      let v = vec4f(x[b]);
      let dz = select(vec4f(0.0), masked(vec4f(dy[b + shift]), affine(v, k)), mask);
      sum += dz;
      product = fma(dz, select(vec4f(0.0), v - k.mean, mask), product);
    }
  }
  return joined(sum, product, k, lane);
}

@compute @workgroup_size(WG)
fn gradient_sums(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let sums = sums_of(group, lane);
  if (!JOIN || lane == 0u) { part_products[partial_at(group, lane)] = sums; }
}

// One workgroup a channel: many partial sums become one.
@compute @workgroup_size(WG)
fn reduce_products(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let c = group.x;
  var s = vec2f(0.0);
  for (var i = lane; i < params.partials; i += WG) { s += products[c * params.partials + i]; }
  let total = add_up(lane, vec3f(s, 0.0));
  if (lane == 0u) { part_products[c] = total.xy; }
}

// dbias and dweight of channel c, from its partial sums.
fn channel_sums(c: u32) -> vec2f {
  var s = vec2f(0.0);
  for (var i = c * params.partials; i < (c + 1u) * params.partials; i++) { s += products[i]; }
  return s;
}

// Where x wants no gradient.
@compute @workgroup_size(64)
fn parameter_gradients(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.channels) { store_sums(id.x, channel_sums(id.x)); }
}

// By the sums of the channel, which its first workgroup writes.
fn gradient_rows(group: vec3u, lane: u32, sums: vec2f) {
  let mine = share_of(group);
  if (group.y + group.z + lane == 0u) { store_sums(mine.c, sums); }
  let k = saved[mine.c];
  let m = sums * params.inverse_count;
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let part = part_of(row_start(image, mine.c), mine.segment);
    let shift = params.offset + image * params.gap;
    for (var b = part.first + column; b < part.last; b += params.across) {
      let v = vec4f(x[b]);
      put_gradient(b, gradient(v, masked(vec4f(dy[b + shift]), affine(v, k)), k, m));
    }
  }
}

@compute @workgroup_size(WG)
fn input_gradient(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  gradient_rows(group, lane, channel_sums(group.x));
}

@compute @workgroup_size(WG)
fn channel_gradient(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = own(group, lane);
  gradient_rows(o.xyz, o.w, sums_of(o.xyz, o.w));
}

fn gradient_values(group: vec3u, lane: u32, sums: vec2f) {
  let mine = share_of(group);
  if (group.y + group.z + lane == 0u) { store_sums(mine.c, sums); }
  let k = saved[mine.c];
  let m = sums * params.inverse_count;
  let column = lane & (params.across - 1u);
  for (var image = mine.first_image + (lane >> params.shift); image < mine.last_image; image += WG >> params.shift) {
    let start = row_start(image, mine.c);
    let part = part_of(start, mine.segment);
    // Such rows are dense: what is in place has whole vec4s.
    for (var b = part.first + column; b < part.last; b += params.across) {
      let mask = inside(b, start);
      let v = vec4f(x[b]);
      let dx = gradient(v, masked(vec4f(dy[b]), affine(v, k)), k, m);
      for (var i = 0u; i < 4u; i++) {
        let at = 4u * b + i;
        if (mask[i]) { result1[at] = elem(dx[i] + select(0.0, f32(result1[at]), params.add_input == 1u)); }
      }
    }
  }
}

@compute @workgroup_size(WG)
fn input_gradient_any(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  gradient_values(group, lane, channel_sums(group.x));
}

@compute @workgroup_size(WG)
fn channel_gradient_any(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = own(group, lane);
  gradient_values(o.xyz, o.w, sums_of(o.xyz, o.w));
}
