// Convolution 3×3, stride 1, dilation 1, padding 0 to 2, where subgroups have 8 lanes or more: for CPU drivers. y of any width:
// the plan sends rows of whole vec4s to conv2d_3x3_lanes_wide, so that VEC and NARROW are never set here.

// include: parts/conv2d_3x3_lanes.wgsl

@group(0) @binding(4) var<storage, read_write> y: array<elem>;

fn store_row(first: i32, inside: bool, ox: i32, v: vec4f) {
  if (!inside) { return; }
  for (var i = 0; i < min(4, params.outW - ox); i++) { store(first + i, v[i]); }
}

fn store(to: i32, sum: f32) {
  var value = sum;
  if (ACCUMULATE) { value += f32(y[to]); }
  if (RELU) { value = select(value, 0.0, value < 0.0); }
  y[to] = elem(value);
}
