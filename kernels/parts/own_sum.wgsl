// Of eight values of each of eight lanes, the sum over lanes of the lane's own: of value l in lane l.
fn own_sum(a: vec4f, b: vec4f, lane: u32) -> f32 {
  let upper = (lane & 4u) != 0u;
  let four = select(a, b, upper) + subgroupShuffleXor(select(b, a, upper), 4u);
  let second = (lane & 2u) != 0u;
  let two = select(four.xy, four.zw, second) + subgroupShuffleXor(select(four.zw, four.xy, second), 2u);
  let odd = (lane & 1u) != 0u;
  return select(two.x, two.y, odd) + subgroupShuffleXor(select(two.y, two.x, odd), 1u);
}
