// Which rows belong to each image: between its first and its last in an index. Images whose rows follow each other
// have nobody else's between.

struct Params { images: u32, rows: u32 }

@group(0) @binding(0) var<storage, read> index: array<i32>;
@group(0) @binding(1) var<storage, read_write> spans: array<vec2u>; // first and end
@group(0) @binding(2) var<uniform> params: Params;

// One invocation an image.
@compute @workgroup_size(64)
fn find_spans(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let n = id.x + id.y * groups.x * 64u;
  if (n >= params.images) { return; }
  var first = params.rows;
  var end = 0u;
  for (var m = 0u; m < params.rows; m++) {
    let mine = index[m] == i32(n);
    first = select(first, min(first, m), mine);
    end = select(end, m + 1u, mine);
  }
  spans[n] = vec2u(first, end);
}
