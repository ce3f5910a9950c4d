// Sums over the lanes of a workgroup, in a fixed order. The kernel says `override WG`, its lanes, `override JOIN`, and
// `alias Sum`, what is summed. JOIN = 0 is for CPU drivers, where a barrier costs more than eight additions.
var<workgroup> tree: array<Sum, WG>;

fn add_up(lane: u32, value: Sum) -> Sum {
  workgroupBarrier();
  tree[lane] = value;
  workgroupBarrier();
  if (JOIN == 0u) {
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
