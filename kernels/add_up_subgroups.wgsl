// add_up.wgsl for GPUs with subgroups: lanes sum among themselves, so that a workgroup meets at two barriers instead of
// eight. Each subgroup leaves its sum at the place of its first lane and zeros at the others; then every subgroup sums all
// places, in the order of its own lanes. Right for any size of subgroups and any way in which lanes are dealt to them.
var<workgroup> tree: array<Sum, WG>;

fn add_up(lane: u32, value: Sum) -> Sum {
  let size = subgroupAdd(1u);
  let invocation = subgroupExclusiveAdd(1u);
  let part = subgroupAdd(value);
  workgroupBarrier();
  tree[lane] = select(Sum(), part, invocation == 0u);
  workgroupBarrier();
  var sum = Sum();
  for (var i = invocation; i < WG; i += size) { sum += tree[i]; }
  return subgroupAdd(sum);
}
