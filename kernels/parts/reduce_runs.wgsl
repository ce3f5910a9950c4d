// The runs of a split sum, added up in their order: count sums of `splits` values each.
struct Params {
  count: u32, splits: u32, accumulate: u32,
  hasBias: u32, relu: u32, cout: u32, plane: u32, offset: u32, gap: u32, sums: u32,
}
@group(0) @binding(0) var<storage, read> partial: array<f32>;
@group(0) @binding(1) var<storage, read_write> result: array<f32>;
@group(0) @binding(2) var<uniform> params: Params;

override WG: u32 = 64;

fn sum_of(i: u32) -> f32 {
  var sum = 0.0;
  for (var s = 0u; s < params.splits; s++) { sum += partial[s * params.count + i]; }
  return sum;
}

fn reduce_to_result(i: u32) {
  if (i >= params.count) { return; }
  var sum = sum_of(i);
  if (params.accumulate != 0u) { sum += result[i]; }
  result[i] = sum;
}
