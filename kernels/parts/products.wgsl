// Matrix products out of workgroup memory: tiles of A by rows, of B by k, both in vec4s.
//
// Indices into workgroup memory are made of remainders and loops by one: compilers that guard each access see that these are
// in range. What is not is three instructions an access, a quarter of the loop that multiplies.

const HALF = elem(1.0) + elem(0.0001) == elem(1.0); // halves cannot tell these apart

alias square = mat4x4<elem>;

// Four k of a row of A and of four rows of B.
fn add_product(sum: elem4, a: elem4, b: square) -> elem4 {
  return sum + a.x * b[0] + a.y * b[1] + a.z * b[2] + a.w * b[3];
}

// The half form sums halves over runs of eight k, and those in f32.
fn ends_run(quad: u32, quads: u32) -> bool { return HALF && (quad % 2 == 1 || quad + 1 == quads); }

// Adds the sums of a run to those before it. By name: what a loop indexes would lie in memory.
fn add_run(sums: ptr<function, array<vec4f, 8>>, run: ptr<function, array<elem4, 8>>) {
  (*sums)[0] += vec4f((*run)[0]);
  (*sums)[1] += vec4f((*run)[1]);
  (*sums)[2] += vec4f((*run)[2]);
  (*sums)[3] += vec4f((*run)[3]);
  (*sums)[4] += vec4f((*run)[4]);
  (*sums)[5] += vec4f((*run)[5]);
  (*sums)[6] += vec4f((*run)[6]);
  (*sums)[7] += vec4f((*run)[7]);
  *run = array<elem4, 8>();
}
