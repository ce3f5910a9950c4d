// Behind kernels that sum over the lanes of a workgroup (src/gpu/summing.ts), in a fixed order. They say how many lanes,
// `override WG`, and what is summed, `alias Sum`. Eight lanes are a CPU driver's, where a barrier costs more than eight
// additions: one after the other.
var<workgroup> tree: array<Sum, WG>;

fn add_up(lane: u32, value: Sum) -> Sum {
  workgroupBarrier();
  tree[lane] = value;
  workgroupBarrier();
  if (WG <= 8u) {
    var sum = tree[0];
    for (var i = 1u; i < WG; i++) { sum += tree[i]; }
    return sum;
  }
  for (var half = WG / 2u; half > 0u; half /= 2u) {
    if (lane < half) { tree[lane] += tree[lane + half]; }
    workgroupBarrier();
  }
  return tree[0];
}
