// Four pixels of a row of y at `to`, from column ox on, added to what is there if `params.accumulate` says so, through a ReLU if
// `params.relu`; `store_wide` where rows hold whole vec4s. A kernel that includes this binds y and y4, one in each entry point.
// `accumulate` is no override: an addition that is always there is drawn into what comes before, and what is added differs in
// its last bits from what is written and added later.

fn store_one(to: i32, sum: f32) {
  var value = sum;
  if (params.accumulate != 0u) { value += f32(y[to]); }
  if (params.relu != 0u) { value = select(value, 0.0, value < 0.0); }
  y[to] = elem(value);
}

fn store(to: i32, ox: i32, sum: vec4f) {
  store_one(to, sum.x);
  if (ox + 1 < params.outW) { store_one(to + 1, sum.y); }
  if (ox + 2 < params.outW) { store_one(to + 2, sum.z); }
  if (ox + 3 < params.outW) { store_one(to + 3, sum.w); }
}

fn store_wide(to: i32, sum: vec4f) {
  var value = sum;
  if (params.accumulate != 0u) { value += vec4f(y4[to / 4]); }
  if (params.relu != 0u) { value = select(value, vec4f(), value < vec4f()); }
  y4[to / 4] = elem4(value);
}
