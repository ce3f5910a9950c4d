// add_up.wgsl for CPU drivers whose subgroups have eight lanes or more: a workgroup of eight lies in one, and sums in the same
// order without workgroup memory and barriers, for which such a driver leaves and enters a kernel again.
fn add_up(lane: u32, value: Sum) -> Sum {
  var sum = subgroupShuffle(value, 0u);
  sum += subgroupShuffle(value, 1u);
  sum += subgroupShuffle(value, 2u);
  sum += subgroupShuffle(value, 3u);
  sum += subgroupShuffle(value, 4u);
  sum += subgroupShuffle(value, 5u);
  sum += subgroupShuffle(value, 6u);
  return sum + subgroupShuffle(value, 7u);
}
