// Fills a buffer with one value, by bits. In test mode it poisons recycled buffers with NaN and lays
// guard words behind them that no kernel may touch.

struct Params {
  count: u32,       // words to fill with `bits`
  guard: u32,       // words behind them to fill with `guard_bits`
  bits: u32,
  guard_bits: u32,
}

@group(0) @binding(0) var<storage, read_write> y: array<u32>;
@group(0) @binding(1) var<uniform> params: Params;

@compute @workgroup_size(64)
fn fill(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let i = id.x + id.y * groups.x * 64u;
  if (i < params.count) {
    y[i] = params.bits;
  } else if (i < params.count + params.guard) {
    y[i] = params.guard_bits;
  }
}
