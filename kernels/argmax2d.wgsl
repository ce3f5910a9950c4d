// The first greatest pixel of an image in raster order: y[n] = (x, y).

struct Params { images: u32, height: u32, width: u32 }

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

var<workgroup> values: array<f32, 64>;
var<workgroup> places: array<u32, 64>;

// One workgroup an image. Among equals the smaller place wins, so the order of comparison does not matter.
@compute @workgroup_size(64)
fn argmax2d(
  @builtin(workgroup_id) group: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let n = group.x + group.y * groups.x;
  let area = params.height * params.width;
  var best = -3.4028234e38;
  var place = area;
  if (n < params.images) {
    for (var j = lane; j < area; j += 64u) {
      let value = x[n * area + j];
      if (value > best || place == area) {
        best = value;
        place = j;
      }
    }
  }
  values[lane] = best;
  places[lane] = place;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) {
      let value = values[lane + half];
      let other = places[lane + half];
      let mine = places[lane];
      if (other < area && (mine == area || value > values[lane] || (value == values[lane] && other < mine))) {
        values[lane] = value;
        places[lane] = other;
      }
    }
    workgroupBarrier();
  }
  if (lane == 0u && n < params.images) {
    y[2u * n] = f32(places[0] % params.width);
    y[2u * n + 1u] = f32(places[0] / params.width);
  }
}
