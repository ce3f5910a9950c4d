// Beside winograd_rows.

// The transform of a row of weights but for the factors −2/3 and 1/6, which the sums take at the end.
fn along(w: vec3f) -> Six {
  let even1 = w.x + 0.5 * w.z;
  let odd1 = NEAR * w.y;
  let even2 = w.x + 2.0 * w.z;
  let odd2 = FAR * w.y;
  return Six(w.x, even1 + odd1, even1 - odd1, even2 + odd2, even2 - odd2, w.z);
}
