// Points of Winograd's F(4, 3) beside 0 and ∞: ±1/√2 and ±√2, whose squares are 1/2 and 2.
const NEAR: f32 = 0.70710678;
const FAR: f32 = 1.41421356;
