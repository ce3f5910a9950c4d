// As many turns of a loop, by a number that a CPU driver's compiler does not know: it unrolls others, and takes as long as its code
// has values live across branches, each load and store being two a lane. A kernel that includes this has `params.n`, at least 1.
fn rolled(turns: i32) -> i32 { return turns * min(1, params.n); }
