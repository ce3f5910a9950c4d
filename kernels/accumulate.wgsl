// What the tape itself needs: y += x.

alias elem4 = vec4f;

struct Params {
  count: u32,    // vec4s
  turns: u32,    // parts/turns.wgsl
  elements: u32,
  image: u32,    // vec4s of an image, where x or y is channels of a larger array; else 0
  x_offset: u32, // vec4 i of image n lies at i + offset + n·gap
  x_gap: u32,
  y_offset: u32,
  y_gap: u32,
}

@group(0) @binding(0) var<storage, read> x: array<elem4>;
@group(0) @binding(1) var<storage, read_write> y: array<elem4>;
@group(0) @binding(2) var<uniform> params: Params;

// include: parts/turns.wgsl

// Past the end x is undefined, and y, which may lie in a block of parameters, must stay as it is.
@compute @workgroup_size(64)
fn add_into(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let mine = elements_of(id, groups);
  for (var i = mine.first; i < mine.end; i += 64u) {
    let inside = vec4u(4u * i) + vec4u(0u, 1u, 2u, 3u) < vec4u(params.elements);
    var n = 0u;
    if (params.image > 0u) { n = i / params.image; }
    let to = i + params.y_offset + n * params.y_gap;
    let value = select(vec4f(0.0), vec4f(x[i + params.x_offset + n * params.x_gap]), inside);
    y[to] = elem4(vec4f(y[to]) + value);
  }
}
