// Connected components by union-find. Algorithm, proof and sources: src/autograd/ops/union_find.ts.
//
// A row is cut into words of 32 pixels, one bit a pixel; an invocation takes RUN words. The elements of the forest are
// the runs of ones inside words. A run that starts at (row, x) is node row · row_nodes + ⌊x/2⌋: two runs never
// start in the same pair of pixels, and nodes are numbered in raster order. parents[node] is a node of the same
// component, never a later one; a root is its own parent. Only nodes of runs are ever read.

// include: parts/divide.wgsl

alias elem = f32;
alias elem4 = vec4f;

struct Params {
  first: u32,         // word of this launch, …
  end: u32,           // … and past the last
  skipped: u32,       // pixels before the window of x, labels or marks that is bound
  images: u32,
  height: u32,
  width: u32,
  row_words: u32,     // ⌈width / 32⌉
  row_nodes: u32,     // ⌈width / 2⌉
  strips: u32,        // ⌈height / STRIP⌉
  diagonal: u32,      // 1: 8-connectivity
  slots: u32,         // components an image that the tables hold
  threshold: f32,     // foreground is x > threshold
  high: f32,          // strong is x > high
}

@group(0) @binding(0) var<storage, read> x: array<elem>;
@group(0) @binding(0) var<storage, read> wide_x: array<elem4>;
@group(0) @binding(1) var<storage, read_write> packing: array<u32>;
@group(0) @binding(22) var<storage, read_write> strong_packing: array<u32>;
@group(0) @binding(2) var<storage, read> bits: array<u32>;            // packing, once it is written
@group(0) @binding(3) var<storage, read_write> parents: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read> roots: array<u32>;           // parents, once the forest is flat
@group(0) @binding(5) var<storage, read> wide_roots: array<vec2u>;    // the same
@group(0) @binding(6) var<storage, read_write> found: array<u32>;     // roots in each word
@group(0) @binding(7) var<storage, read> before: array<u32>;          // roots of the image before each word
@group(0) @binding(8) var<storage, read_write> root_bits: array<u32>; // one bit a run, at its start: it is a root
@group(0) @binding(9) var<storage, read> root_starts: array<u32>;     // root_bits, once they are written
@group(0) @binding(10) var<storage, read> strong: array<u32>;         // strong_packing, once it is written
@group(0) @binding(11) var<storage, read_write> labels: array<i32>;
@group(0) @binding(11) var<storage, read_write> wide_labels: array<vec4i>;
@group(0) @binding(12) var<storage, read_write> marks: array<elem>;
@group(0) @binding(12) var<storage, read_write> wide_marks: array<elem4>;
@group(0) @binding(13) var<storage, read> points: array<f32>;
@group(0) @binding(14) var<storage, read_write> sums: array<atomic<u32>>;
@group(0) @binding(15) var<storage, read> count: array<i32>;
@group(0) @binding(16) var<storage, read_write> areas: array<i32>;
@group(0) @binding(17) var<storage, read_write> boxes: array<vec4f>;
@group(0) @binding(18) var<storage, read_write> centroids: array<vec2f>;
@group(0) @binding(19) var<storage, read_write> sizes: array<atomic<u32>>;
@group(0) @binding(20) var<storage, read_write> best: array<atomic<u32>>;
@group(0) @binding(21) var<uniform> params: Params;

const TAG: u32 = 0x80000000u;   // on the parent of a root: the other bits are a value of its component
const STRIP: u32 = 8u;          // rows that one invocation of those that plant, and of `measure`, walks down
const FIELDS: u32 = 9u;         // of a component in `sums`

override RUN: u32 = 1; // words of an invocation that takes words; rows of `tabulate`

// Long launches are folded into rows of workgroups.
fn invocation(id: vec3u, groups: vec3u) -> u32 { return id.x + id.y * groups.x * 64u; }

// Which of the runs of work an invocation takes: RUN that lie 64 apart, so that neighbours take neighbours.
fn place_at(turn: u32, id: vec3u, groups: vec3u) -> u32 {
  let i = invocation(id, groups);
  return RUN * (i & ~63u) + 64u * turn + (i & 63u);
}

fn word_at(turn: u32, id: vec3u, groups: vec3u) -> u32 { return params.first + place_at(turn, id, groups); }

// NaN is background; WGSL may assume that there is none, so it is told by its bits.
fn above(value: vec4f, limit: f32) -> vec4<bool> {
  return (value > vec4f(limit)) & ((bitcast<vec4u>(value) & vec4u(0x7fffffffu)) <= vec4u(0x7f800000u));
}

// One bit a pixel of a word: x > threshold; x > high.
fn pack(word: u32) -> vec2u {
  let row = divide(word, params.row_words);
  let column = 32u * (word - row * params.row_words);
  let at = row * params.width + column - params.skipped;
  let n = min(32u, params.width - column);
  var ones = vec2u();
  for (var k = 0u; k < n; k++) {
    let value = vec4f(f32(x[at + k]));
    let passed = vec2<bool>(above(value, params.threshold).x, above(value, params.high).x);
    ones |= select(vec2u(), vec2u(1u << k), passed);
  }
  return ones;
}

fn bits_of_four(passed: vec4<bool>) -> u32 {
  let four = select(vec4u(), vec4u(1u, 2u, 4u, 8u), passed);
  return four.x | four.y | four.z | four.w;
}

// The same where four divides the width.
fn pack_wide(word: u32) -> vec2u {
  let row = divide(word, params.row_words);
  let column = 32u * (word - row * params.row_words);
  let at = (row * params.width + column - params.skipped) / 4u;
  let n = min(8u, (params.width - column) / 4u);
  var ones = vec2u();
  for (var k = 0u; k < n; k++) {
    let value = vec4f(wide_x[at + k]);
    let fours = vec2u(bits_of_four(above(value, params.threshold)), bits_of_four(above(value, params.high)));
    ones |= fours << vec2u(4u * k);
  }
  return ones;
}

// Foreground.
@compute @workgroup_size(64)
fn threshold(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    packing[word] = pack(word).x;
  }
}

@compute @workgroup_size(64)
fn threshold_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    packing[word] = pack_wide(word).x;
  }
}

// Foreground and strong pixels: hysteresis reads x once.
@compute @workgroup_size(64)
fn thresholds(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let ones = pack(word);
    packing[word] = ones.x;
    strong_packing[word] = ones.y;
  }
}

@compute @workgroup_size(64)
fn thresholds_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let ones = pack_wide(word);
    packing[word] = ones.x;
    strong_packing[word] = ones.y;
  }
}

// Place of the lowest one; 32 of none. By counting: Dawn makes firstTrailingBit a search in five steps.
fn lowest_bit(ones: u32) -> u32 { return countOneBits(~ones & (ones - 1u)); }

// Place of the highest one plus one; 0 of none. By counting, too.
fn bits_up_to(ones: u32) -> u32 {
  var filled = ones | (ones >> 1u);
  filled |= filled >> 2u;
  filled |= filled >> 4u;
  filled |= filled >> 8u;
  filled |= filled >> 16u;
  return countOneBits(filled);
}

// Ones from the start of a run to its end: where a carry from the start runs through.
fn run_at(ones: u32, start: u32) -> u32 { return ones & ~(ones + (1u << start)); }

// Where the run that holds the bit starts.
fn start_of(ones: u32, bit: u32) -> u32 {
  return bits_up_to(~ones & ((1u << bit) - 1u));
}

// Node of the run of a word that starts at a bit.
fn node_of(word: u32, start: u32) -> u32 {
  let row = divide(word, params.row_words);
  return row * params.row_nodes + 16u * (word - row * params.row_words) + (start >> 1u);
}

// Makes the nodes of a word in a strip one word wide and STRIP rows high. A run takes over the parent of the first run that
// it touches in the row above, if that is of the strip; else it is its own parent. Vertical paths so need few joins.
fn plant_word(word: u32, ones: u32, up: u32) {
  let node = node_of(word, 0u);
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let start = lowest_bit(starts);
    let own = node + (start >> 1u);
    // Or, with 8-connectivity, the run up left of its start.
    let reach = run_at(ones, start) | (((1u << start) >> 1u) * params.diagonal);
    let touched = up & reach;
    // Read in any case: a branch that goes either way costs CPU drivers more than a load.
    let above_own = node - params.row_nodes + (start_of(up, lowest_bit(touched)) >> 1u);
    let parent = atomicLoad(&parents[select(own, above_own, touched != 0u)]);
    atomicStore(&parents[own], select(own, parent, touched != 0u));
  }
}

struct Strip { image: u32, column: u32, top: u32, bottom: u32 }

// Strips count along rows; one past the last has no rows.
fn strip_at(i: u32) -> Strip {
  let across = divide(i, params.row_words);
  let image = divide(across, params.strips);
  let top = STRIP * (across - image * params.strips);
  let bottom = select(top, min(top + STRIP, params.height), image < params.images);
  return Strip(image, i - across * params.row_words, top, bottom);
}

fn word_of(strip: Strip, y: u32) -> u32 {
  return (strip.image * params.height + y) * params.row_words + strip.column;
}

@compute @workgroup_size(64)
fn plant(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let strip = strip_at(invocation(id, groups));
  var up = 0u;
  for (var y = strip.top; y < strip.bottom; y++) {
    let word = word_of(strip, y);
    let ones = bits[word];
    plant_word(word, ones, up);
    up = ones;
  }
}

// The same behind `threshold_wide`, for CPU drivers, where invocations and launches cost as much as this does.
@compute @workgroup_size(64)
fn threshold_and_plant(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let strip = strip_at(invocation(id, groups));
  var up = 0u;
  for (var y = strip.top; y < strip.bottom; y++) {
    let word = word_of(strip, y);
    let ones = pack_wide(word).x;
    packing[word] = ones;
    plant_word(word, ones, up);
    up = ones;
  }
}

// … behind `thresholds_wide`.
@compute @workgroup_size(64)
fn thresholds_and_plant(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let strip = strip_at(invocation(id, groups));
  var up = 0u;
  for (var y = strip.top; y < strip.bottom; y++) {
    let word = word_of(strip, y);
    let ones = pack_wide(word);
    packing[word] = ones.x;
    strong_packing[word] = ones.y;
    plant_word(word, ones.x, up);
    up = ones.x;
  }
}

// Joins the runs of a word to those they touch in the word before it and in the row above, but for what `plant`
// has joined and what follows from other joins.
//
// A join (a, b) walks up from both nodes, always on the side whose parent is later: that node gets the other's
// parent, and its old parent takes its place in the pair. Where the node was a root, both are one component now.
// a + b falls each time, so every join ends. One loop serves all joins of the word: lanes do not wait for each
// other's.
@compute @workgroup_size(64)
fn connect(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let ones = bits[word];
    if (ones == 0u) { continue; }
    let row = divide(word, params.row_words);
    let column = word - row * params.row_words;
    let y = row - divide(row, params.height) * params.height;
    let node = node_of(word, 0u);
    let up_node = node - params.row_nodes;
    let has_left = column > 0u;
    let has_right = column + 1u < params.row_words;
    var left = 0u;
    var right = 0u;
    var up = 0u;
    var up_left = 0u;
    var up_right = 0u;
    if (has_left) { left = bits[word - 1u]; }
    if (has_right) { right = bits[word + 1u]; }
    if (y > 0u) {
      let above_word = word - params.row_words;
      up = bits[above_word];
      if (has_left) { up_left = bits[above_word - 1u]; }
      if (has_right) { up_right = bits[above_word + 1u]; }
    }
    let strip_top = y % STRIP == 0u;

    // Straight up: one join for each run of ones in both rows. In a strip `plant` made the first of each run of this
    // row: it is where a carry arrives that runs from the start through the ones without a one above.
    let both = ones & up;
    let starts = ones & ~(ones << 1u);
    var straight = both & ~(both << 1u);
    // Diagonally up, unless straight neighbours join the same two anyway: to the left at starts of runs, to the
    // right at their ends. In a strip `plant` made those to the left, inside the word.
    var leftwards = 0u;
    var rightwards = 0u;
    if (params.diagonal == 1u) {
      let alone = ones & ~up;
      leftwards = alone & ((up << 1u) | (up_left >> 31u)) & ~((ones << 1u) | (left >> 31u));
      rightwards = alone & ((up >> 1u) | (up_right << 31u)) & ~((ones >> 1u) | (right << 31u));
    }
    // Of the four joins around a corner where four ones of two words meet, one follows from the others: inside a
    // strip that to the left, in its top row that upwards.
    let from_left = (left >> 31u) & ones & 1u;
    let corner = from_left & (up_left >> 31u) & up;
    var a = node;
    var b = node;
    if (from_left == 1u && (strip_top || corner == 0u)) { b = node - 16u + (start_of(left, 31u) >> 1u); }
    if (strip_top) {
      straight &= ~corner;
    } else {
      straight &= ~((ones & ~up) + (starts & ~(leftwards & ~1u)));
      leftwards &= 1u;
    }

    loop {
      if (a == b) {
        let some = select(select(leftwards, rightwards, rightwards != 0u), straight, straight != 0u);
        if (some == 0u) { break; }
        let bit = lowest_bit(some);
        a = node + (start_of(ones, bit) >> 1u);
        if (straight != 0u) {
          straight &= straight - 1u;
          b = up_node + (start_of(up, bit) >> 1u);
        } else if (rightwards != 0u) {
          rightwards &= rightwards - 1u;
          b = up_node + select(start_of(up, bit + 1u) >> 1u, 16u, bit == 31u);
        } else {
          leftwards &= leftwards - 1u;
          if (bit == 0u) {
            b = up_node - 16u + (start_of(up_left, 31u) >> 1u);
          } else {
            b = up_node + (start_of(up, bit - 1u) >> 1u);
          }
        }
      }
      let parent_a = atomicLoad(&parents[a]);
      let parent_b = atomicLoad(&parents[b]);
      let late = select(b, a, parent_a > parent_b);
      let other = select(a, b, parent_a > parent_b);
      a = other;
      b = other;
      if (parent_a != parent_b) {
        let parent = atomicMin(&parents[late], min(parent_a, parent_b));
        if (parent != late) { a = parent; }
      }
    }
  }
}

// Hangs every run of a word onto its root, and marks those of runs with strong pixels; returns the starts of those that are
// roots. Paths are split on the way: every node passed is hung onto its grandparent, unless its parent changed meanwhile: its
// owner may have stored the root. Not by atomicMin: SwiftShader's is a load and a store under a lock that atomicStore doesn't
// take, and lost roots. Parents only fall, so each walk ends; a tagged parent is that of a root that was marked already. One
// loop serves all runs of the word; what the next run needs is read along.
fn hang(word: u32, ones: u32, strong_ones: u32) -> u32 {
  let node = node_of(word, 0u);
  var starts = ones & ~(ones << 1u);
  var own = node + select(lowest_bit(starts) >> 1u, 0u, starts == 0u);
  var i = own;
  var parent = parent_of(own);
  var own_roots = 0u;
  while (starts != 0u) {
    let rest = starts & (starts - 1u);
    let next = node + select(lowest_bit(rest) >> 1u, 0u, rest == 0u);
    let next_parent = parent_of(next);
    let above_parent = atomicLoad(&parents[parent]);
    let is_marked = above_parent >= TAG;
    let grandparent = select(above_parent, parent, is_marked);
    let arrived = grandparent == parent;
    if ((i != own) & !arrived) { atomicCompareExchangeWeak(&parents[i], parent, grandparent); }
    if ((i != own) & arrived) { atomicStore(&parents[own], parent); }
    let is_strong = (run_at(ones, lowest_bit(starts)) & strong_ones) != 0u;
    if (arrived & is_strong & !is_marked) { atomicStore(&parents[parent], TAG | 1u); }
    own_roots |= select(0u, starts & ~rest, parent == own);
    i = select(parent, next, arrived);
    parent = select(grandparent, next_parent, arrived);
    own = select(own, next, arrived);
    starts = select(starts, rest, arrived);
  }
  return own_roots;
}

fn parent_of(node: u32) -> u32 {
  let parent = atomicLoad(&parents[node]);
  return select(parent, node, parent >= TAG);
}

@compute @workgroup_size(64)
fn flatten(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let own_roots = hang(word, bits[word], 0u);
    root_bits[word] = own_roots;
    found[word] = countOneBits(own_roots);
  }
}

// The same, where nothing but the components with a strong pixel is asked for: marks them.
@compute @workgroup_size(64)
fn flatten_strong(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    _ = hang(word, bits[word], strong[word]);
  }
}

// Writes into each root the label of its component: 1 + roots of the image before it.
@compute @workgroup_size(64)
fn number(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let node = node_of(word, 0u);
    var label = before[word];
    for (var starts = root_starts[word]; starts != 0u; starts &= starts - 1u) {
      label++;
      atomicStore(&parents[node + (lowest_bit(starts) >> 1u)], TAG | label);
    }
  }
}

// Value of the component of a run; 0 where its root holds none.
fn value_of(node: u32) -> u32 {
  let own = roots[node];
  let value = select(roots[select(own, node, own >= TAG)], own, own >= TAG);
  return select(0u, value & ~TAG, value >= TAG);
}

// `measure` has written labels into all runs.
@compute @workgroup_size(64)
fn write_labels(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let row = divide(word, params.row_words);
    let column = 32u * (word - row * params.row_words);
    let to = row * params.width + column - params.skipped;
    let n = min(32u, params.width - column);
    let ones = bits[word];
    let node = node_of(word, 0u);
    var label = 0u;
    for (var k = 0u; k < n; k++) {
      if (((ones >> k) & 1u) == 0u) {
        label = 0u;
      } else if (label == 0u) {
        label = roots[node + (k >> 1u)] & ~TAG;
      }
      labels[to + k] = i32(label);
    }
  }
}

// Values of pixels 4k to 4k + 3 of a word, after `last`, that of the pixel before them. A run that starts in the
// first pair of pixels has node 2k, one that starts in the second node 2k + 1: where any starts, both are read.
fn values_of(ones: u32, node: u32, k: u32, last: u32) -> vec4u {
  let starts = (ones & ~(ones << 1u)) >> (4u * k);
  var value = vec2u();
  if ((starts & 15u) != 0u) {
    let own = wide_roots[node / 2u + k];
    // What is no node holds anything.
    value = select(vec2u(), own & vec2u(~TAG), vec2<bool>((starts & 3u) != 0u, (starts & 12u) != 0u));
  }
  let mine = ones >> (4u * k);
  let a = select(0u, select(last, value.x, (starts & 1u) != 0u), (mine & 1u) != 0u);
  let b = select(0u, select(a, value.x, (starts & 2u) != 0u), (mine & 2u) != 0u);
  let c = select(0u, select(b, value.y, (starts & 4u) != 0u), (mine & 4u) != 0u);
  let d = select(0u, select(c, value.y, (starts & 8u) != 0u), (mine & 8u) != 0u);
  return vec4u(a, b, c, d);
}

// The same where four divides the width.
@compute @workgroup_size(64)
fn write_labels_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let row = divide(word, params.row_words);
    let column = word - row * params.row_words;
    let to = (row * params.width + 32u * column - params.skipped) / 4u;
    let n = min(8u, params.width / 4u - 8u * column);
    let ones = bits[word];
    let node = row * params.row_nodes + 16u * column;
    var values = vec4u();
    for (var k = 0u; k < n; k++) {
      values = values_of(ones, node, k, values.w);
      wide_labels[to + k] = vec4i(values);
    }
  }
}

// Pixels of a word whose components were marked.
fn kept_of(word: u32) -> u32 {
  let ones = bits[word];
  let node = node_of(word, 0u);
  var kept = 0u;
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let start = lowest_bit(starts);
    kept |= select(0u, run_at(ones, start), value_of(node + (start >> 1u)) != 0u);
  }
  return kept;
}

// 1 in the components whose root was marked, else 0.
@compute @workgroup_size(64)
fn write_marked(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let row = divide(word, params.row_words);
    let column = 32u * (word - row * params.row_words);
    let to = row * params.width + column - params.skipped;
    let n = min(32u, params.width - column);
    let kept = kept_of(word);
    for (var k = 0u; k < n; k++) { marks[to + k] = elem((kept >> k) & 1u); }
  }
}

@compute @workgroup_size(64)
fn write_marked_wide(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let row = divide(word, params.row_words);
    let column = word - row * params.row_words;
    let to = (row * params.width + 32u * column - params.skipped) / 4u;
    let n = min(8u, params.width / 4u - 8u * column);
    var kept = kept_of(word);
    for (var k = 0u; k < n; k++) {
      wide_marks[to + k] = select(elem4(), elem4(1.0), (vec4u(kept) & vec4u(1u, 2u, 4u, 8u)) != vec4u());
      kept >>= 4u;
    }
  }
}

fn mark(node: u32) {
  let root = atomicLoad(&parents[node]);
  // A tagged parent is that of a root that was marked already.
  if (root < TAG) { atomicStore(&parents[root], TAG | 1u); }
}

// Marks the component of each image that holds the pixel nearest to its point (x, y), one invocation an image.
@compute @workgroup_size(64)
fn mark_points(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let image = invocation(id, groups);
  if (image >= params.images) { return; }
  let at = vec2f(points[2u * image], points[2u * image + 1u]);
  let size = vec2f(f32(params.width), f32(params.height));
  // NaN compares false, or is said to: an integer conversion is clamped, and the bits decide.
  let finite = (bitcast<vec2u>(at) & vec2u(0x7f800000u)) != vec2u(0x7f800000u);
  if (!all(finite) || !all(at >= vec2f(-0.5)) || !all(at < size - 0.5)) { return; }
  let pixel = vec2u(floor(at + 0.5));
  let column = min(pixel.x, params.width - 1u);
  let row = image * params.height + min(pixel.y, params.height - 1u);
  let word = row * params.row_words + column / 32u;
  let ones = bits[word];
  if (((ones >> (column % 32u)) & 1u) == 1u) { mark(node_of(word, start_of(ones, column % 32u))); }
}

// The largest component: the pixels of each root, and the most that a root of an image has, as sums only grow, …
@compute @workgroup_size(64)
fn weigh(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let ones = bits[word];
    let node = node_of(word, 0u);
    let at = 2u * divide(divide(word, params.row_words), params.height);
    var most = 0u;
    for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
      let start = lowest_bit(starts);
      let more = countOneBits(run_at(ones, start));
      most = max(most, more + atomicAdd(&sizes[roots[node + (start >> 1u)]], more));
    }
    raise_best(at, most);
  }
}

// … the first root that has so many (as its complement: the least node), …
@compute @workgroup_size(64)
fn find_first_largest(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let word = word_at(turn, id, groups);
    if (word >= params.end) { break; }
    let node = node_of(word, 0u);
    let at = 2u * divide(divide(word, params.row_words), params.height);
    let most = atomicLoad(&best[at]);
    for (var starts = root_starts[word]; starts != 0u; starts &= starts - 1u) {
      let own = node + (lowest_bit(starts) >> 1u);
      if (atomicLoad(&sizes[own]) == most) { raise_best(at + 1u, ~own); }
    }
  }
}

// … is marked.
@compute @workgroup_size(64)
fn mark_largest(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let image = invocation(id, groups);
  if (image >= params.images || atomicLoad(&best[2u * image]) == 0u) { return; }
  mark(~atomicLoad(&best[2u * image + 1u]));
}

// Raises best[at] to at least a value; most calls only read.
fn raise_best(at: u32, value: u32) {
  if (value > atomicLoad(&best[at])) { atomicMax(&best[at], value); }
}

// What is known of parts of four components: pixels, edges (right and bottom exclusive), sums of coordinates. That of a label
// stands at label mod 4; label 0: nothing is known.
struct Parts { label: vec4u, area: vec4u, left: vec4u, right: vec4u, top: vec4u, bottom: vec4u, x: vec4u, y: vec4u }

fn raise(at: u32, value: u32) {
  if (value > atomicLoad(&sums[at])) { atomicMax(&sums[at], value); }
}

// Adds to a sum of 64 bits, low word first.
fn add_wide(at: u32, value: u32) {
  let low = atomicAdd(&sums[at], value);
  if (low > 0xffffffffu - value) { atomicAdd(&sums[at + 1u], 1u); }
}

// Adds the one of the parts that is chosen.
fn add_part(image: u32, parts: Parts, chosen: vec4<bool>) {
  let label = only(parts.label, chosen);
  if (label == 0u || label > params.slots) { return; }
  let at = FIELDS * (image * params.slots + label - 1u);
  atomicAdd(&sums[at], only(parts.area, chosen));
  raise(at + 1u, params.width - only(parts.left, chosen));
  raise(at + 2u, only(parts.right, chosen));
  raise(at + 3u, params.height - only(parts.top, chosen));
  raise(at + 4u, only(parts.bottom, chosen));
  add_wide(at + 5u, only(parts.x, chosen));
  add_wide(at + 7u, only(parts.y, chosen));
}

fn only(values: vec4u, chosen: vec4<bool>) -> u32 {
  let one = select(vec4u(), values, chosen);
  return one.x | one.y | one.z | one.w;
}

const LANES = vec4u(0u, 1u, 2u, 3u);

// Sums over the components of a strip one word wide and STRIP rows high, and writes their labels into all runs. Runs are summed
// here first, into parts of four components: rows that alternate between a few take few atomics, too. All sums are of integers:
// any order gives the same.
@compute @workgroup_size(64)
fn measure(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let strip = strip_at(invocation(id, groups));
  var parts = Parts();
  for (var y = strip.top; y < strip.bottom; y++) {
    let word = word_of(strip, y);
    let ones = bits[word];
    let node = node_of(word, 0u);
    for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
      let start = lowest_bit(starts);
      let length = countOneBits(run_at(ones, start));
      let left = 32u * strip.column + start;
      let own = node + (start >> 1u);
      let parent = atomicLoad(&parents[own]);
      let tagged = atomicLoad(&parents[select(parent, own, parent >= TAG)]);
      // Nobody else reads a run that is no root.
      if (parent < TAG) { atomicStore(&parents[own], tagged); }
      let label = tagged & ~TAG;
      let here = LANES == vec4u(label & 3u);
      let fresh = here & (parts.label != vec4u(label));
      if (any(fresh)) {
        add_part(strip.image, parts, here);
        parts.label = select(parts.label, vec4u(label), fresh);
        parts.area = select(parts.area, vec4u(), fresh);
        parts.left = select(parts.left, vec4u(left), fresh);
        parts.right = select(parts.right, vec4u(), fresh);
        parts.top = select(parts.top, vec4u(y), fresh);
        parts.x = select(parts.x, vec4u(), fresh);
        parts.y = select(parts.y, vec4u(), fresh);
      }
      parts.area += select(vec4u(), vec4u(length), here);
      parts.left = select(parts.left, min(parts.left, vec4u(left)), here);
      parts.right = select(parts.right, max(parts.right, vec4u(left + length)), here);
      parts.bottom = select(parts.bottom, vec4u(y + 1u), here);
      parts.x += select(vec4u(), vec4u(left * length + length * (length - 1u) / 2u), here);
      parts.y += select(vec4u(), vec4u(y * length), here);
    }
  }
  for (var i = 0u; i < 4u; i++) { add_part(strip.image, parts, LANES == vec4u(i)); }
}

// A sum of 64 bits over a count, of which the quotient fits 32 bits: whole part by long division, then the rest.
fn mean_of(at: u32, divisor: u32) -> f32 {
  let low = atomicLoad(&sums[at]);
  var rest = atomicLoad(&sums[at + 1u]);
  var whole = 0u;
  for (var k = 0u; k < 32u; k++) {
    rest = (rest << 1u) | ((low >> (31u - k)) & 1u);
    whole <<= 1u;
    if (rest >= divisor) {
      rest -= divisor;
      whole |= 1u;
    }
  }
  return f32(whole) + f32(rest) / f32(divisor);
}

// The tables of each image's components; rows past the last component are zero.
@compute @workgroup_size(64)
fn tabulate(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  for (var turn = 0u; turn < RUN; turn++) {
    let i = place_at(turn, id, groups);
    if (i >= params.images * params.slots) { break; }
    let image = divide(i, params.slots);
    var area = 0u;
    var box = vec4f();
    var centroid = vec2f();
    if (i - image * params.slots < u32(count[image])) {
      let at = FIELDS * i;
      area = atomicLoad(&sums[at]);
      let left = params.width - atomicLoad(&sums[at + 1u]);
      let top = params.height - atomicLoad(&sums[at + 3u]);
      box = vec4f(vec4u(left, top, atomicLoad(&sums[at + 2u]) - left, atomicLoad(&sums[at + 4u]) - top));
      centroid = vec2f(mean_of(at + 5u, area), mean_of(at + 7u, area));
    }
    areas[i] = i32(area);
    boxes[i] = box;
    centroids[i] = centroid;
  }
}
