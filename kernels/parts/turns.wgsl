// An invocation takes `params.turns` elements, 64 apart; a workgroup of 64 what lies side by side; up to `params.count` in all. To
// a CPU driver an invocation costs as much as loading and storing some vec4s: a launch whose `threads` is a number, one an
// element, chooses `turns`.

struct Elements { first: u32, end: u32 }

fn elements_of(id: vec3u, groups: vec3u) -> Elements {
  let start = ((id.x >> 6u) + id.y * groups.x) * 64u * params.turns;
  return Elements(start + (id.x & 63u), min(start + 64u * params.turns, params.count));
}
