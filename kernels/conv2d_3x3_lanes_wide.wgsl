// conv2d_3x3_lanes where rows of y are whole vec4s.

// include: parts/conv2d_3x3_lanes.wgsl

@group(0) @binding(4) var<storage, read_write> y4: array<elem4>;

fn store_row(first: i32, inside: bool, ox: i32, v: vec4f) {
  if (!inside) { return; }
  let to = first / 4;
  var value = v;
  if (ACCUMULATE) { value += vec4f(y4[to]); }
  if (RELU) { value = select(value, vec4f(), value < vec4f()); }
  y4[to] = elem4(value);
}
