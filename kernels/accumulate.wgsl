// What the tape itself needs: y += x, and the sum of a broadcast gradient back to the smaller shape.

struct Params {
  count: u32,   // elements of y
  reduced: u32, // sum_to: elements of x that fall on one element of y
  // sum_to: sizes of x from the innermost axis outwards, and whether y has that axis (else it is summed)
  s0: u32, s1: u32, s2: u32, s3: u32, s4: u32, s5: u32,
  k0: u32, k1: u32, k2: u32, k3: u32, k4: u32, k5: u32,
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(64)
fn add_into(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) {
    y[i] += x[i];
  }
}

// Index into x of the r-th summed element of output o: axes are unravelled from the inside out.
fn source_index(o: u32, r: u32) -> u32 {
  let size = array<u32, 6>(params.s0, params.s1, params.s2, params.s3, params.s4, params.s5);
  let keep = array<u32, 6>(params.k0, params.k1, params.k2, params.k3, params.k4, params.k5);
  var left_o = o;
  var left_r = r;
  var stride = 1u;
  var index = 0u;
  for (var a = 0u; a < 6u; a++) {
    if (keep[a] == 1u) {
      index += (left_o % size[a]) * stride;
      left_o /= size[a];
    } else {
      index += (left_r % size[a]) * stride;
      left_r /= size[a];
    }
    stride *= size[a];
  }
  return index;
}

var<workgroup> partial: array<f32, 64>;

// One workgroup an output element; lanes stride over the summed elements, then a tree in fixed order.
@compute @workgroup_size(64)
fn sum_to(@builtin(workgroup_id) group: vec3u, @builtin(num_workgroups) groups: vec3u, @builtin(local_invocation_index) lane: u32) {
  let o = group.x + group.y * groups.x;
  var sum = 0.0;
  if (o < params.count) {
    for (var r = lane; r < params.reduced; r += 64u) {
      sum += x[source_index(o, r)];
    }
  }
  partial[lane] = sum;
  workgroupBarrier();
  for (var half = 32u; half > 0u; half /= 2u) {
    if (lane < half) {
      partial[lane] += partial[lane + half];
    }
    workgroupBarrier();
  }
  if (lane == 0u && o < params.count) {
    y[o] = partial[0];
  }
}
