// Connected components by union-find. Source and proof sketch: src/autograd/ops/union_find.ts.
//
// A row is cut into words of 32 pixels, one bit a pixel, one invocation a word. The elements of the forest are
// the runs of ones inside words. A run that starts at (row, x) is node row · row_nodes + ⌊x/2⌋: two runs never
// start in the same pair of pixels, and nodes are numbered in raster order. parents[node] is a node of the same
// component, never a later one; a root is its own parent. Only nodes of runs are ever read.

struct Params {
  words: u32,         // of all images
  images: u32,
  height: u32,
  width: u32,
  row_words: u32,     // ⌈width / 32⌉
  row_nodes: u32,     // ⌈width / 2⌉
  strips: u32,        // ⌈height / STRIP⌉
  diagonal: u32,      // 1: 8-connectivity
  slots: u32,         // components an image that the tables hold
  threshold: f32,     // foreground is x > threshold
}

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> packing: array<u32>;
@group(0) @binding(2) var<storage, read> bits: array<u32>;            // packing, once it is written
@group(0) @binding(3) var<storage, read_write> parents: array<atomic<u32>>;
@group(0) @binding(4) var<storage, read> roots: array<u32>;           // parents, once the forest is flat
@group(0) @binding(5) var<storage, read_write> found: array<u32>;     // roots in each word
@group(0) @binding(6) var<storage, read> before: array<u32>;          // roots of the image before each word
@group(0) @binding(7) var<storage, read_write> labels: array<i32>;
@group(0) @binding(8) var<storage, read_write> marks: array<f32>;
@group(0) @binding(9) var<storage, read> points: array<f32>;
@group(0) @binding(10) var<storage, read_write> sums: array<atomic<u32>>;
@group(0) @binding(11) var<storage, read> count: array<i32>;
@group(0) @binding(12) var<storage, read_write> areas: array<i32>;
@group(0) @binding(13) var<storage, read_write> boxes: array<f32>;
@group(0) @binding(14) var<storage, read_write> centroids: array<f32>;
@group(0) @binding(15) var<storage, read_write> sizes: array<atomic<u32>>;
@group(0) @binding(16) var<storage, read_write> best: array<atomic<u32>>;
@group(0) @binding(17) var<uniform> params: Params;

const TAG: u32 = 0x80000000u;   // on the parent of a root: the other bits are a value of its component
const STRIP: u32 = 8u;          // rows that one invocation of `measure` walks down
const FIELDS: u32 = 9u;         // of a component in `sums`

// Long launches are folded into rows of workgroups.
fn invocation(id: vec3u, groups: vec3u) -> u32 { return id.x + id.y * groups.x * 64u; }

// NaN is background; WGSL may assume that there is none, so it is told by its bits.
fn above(value: f32, threshold: f32) -> bool {
  return value > threshold && (bitcast<u32>(value) & 0x7fffffffu) <= 0x7f800000u;
}

// The word of one bit a pixel: x > threshold.
fn threshold_word(word: u32) -> u32 {
  let column = 32u * (word % params.row_words);
  let first = (word / params.row_words) * params.width + column;
  let n = min(32u, params.width - column);
  var ones = 0u;
  for (var k = 0u; k < n; k++) {
    ones |= select(0u, 1u << k, above(x[first + k], params.threshold));
  }
  return ones;
}

// Ones from the start of a run to its end.
fn run_at(ones: u32, start: u32) -> u32 {
  let length = countTrailingZeros(~(ones >> start));   // 32 where all bits are ones
  if (length >= 32u) { return 0xffffffffu; }
  return ((1u << length) - 1u) << start;
}

// Where the run that holds the bit starts.
fn start_of(ones: u32, bit: u32) -> u32 {
  return 32u - countLeadingZeros(~ones & ((1u << bit) - 1u));
}

// Node of the run of a word that starts at a bit.
fn node_of(word: u32, start: u32) -> u32 {
  return (word / params.row_words) * params.row_nodes + 16u * (word % params.row_words) + (start >> 1u);
}

// Root of a node. Halves the path on the way: every node passed is hung onto its grandparent. Parents only
// ever fall, so the walk ends.
fn find(node: u32) -> u32 {
  var i = node;
  var p = atomicLoad(&parents[i]);
  while (p != i) {
    let g = atomicLoad(&parents[p]);
    if (g == p) { return p; }
    atomicMin(&parents[i], g);
    i = g;
    p = atomicLoad(&parents[i]);
  }
  return i;
}

// Makes two nodes one component. The later of two roots is hung onto the earlier. Where another invocation has
// hung it elsewhere meanwhile, atomicMin keeps the earlier of both parents, and the two are joined next: the
// later node of the pair falls each time, so the loop ends.
fn join(node: u32, other: u32) {
  var a = find(node);
  var b = find(other);
  while (a != b) {
    let late = max(a, b);
    let early = min(a, b);
    let parent = atomicMin(&parents[late], early);
    if (parent == late) { return; }
    a = find(parent);
    b = find(early);
  }
}

@compute @workgroup_size(64)
fn pack(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = threshold_word(word);
  packing[word] = ones;
  let node = node_of(word, 0u);
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let own = node + (countTrailingZeros(starts) >> 1u);
    atomicStore(&parents[own], own);
  }
}

// Joins the runs of a word to those they touch in the word before it and in the row above.
@compute @workgroup_size(64)
fn connect(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = bits[word];
  if (ones == 0u) { return; }
  let column = word % params.row_words;
  let row = word / params.row_words;
  let first_column = column == 0u;
  var left = 0u;
  if (!first_column) { left = bits[word - 1u]; }
  let node = node_of(word, 0u);
  let left_node = node - 16u;
  let from_left = (left >> 31u) & ones & 1u;
  if (from_left == 1u) { join(left_node + (start_of(left, 31u) >> 1u), node); }

  if (row % params.height == 0u) { return; }
  let up = bits[word - params.row_words];
  let up_node = node - params.row_nodes;
  var up_left = 0u;
  if (!first_column) { up_left = bits[word - params.row_words - 1u]; }
  // Both rows come in from the left, joined there: no need to join their first runs again.
  let joined = from_left & (up_left >> 31u) & up;
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let start = countTrailingZeros(starts);
    let run = run_at(ones, start);
    let reach = select(run, run | (run << 1u) | (run >> 1u), params.diagonal == 1u);
    let touched = up & reach;
    for (var touches = touched & ~(touched << 1u); touches != 0u; touches &= touches - 1u) {
      let touch = countTrailingZeros(touches);
      if (joined == 1u && start == 0u && touch == 0u) { continue; }
      join(up_node + (start_of(up, touch) >> 1u), node + (start >> 1u));
    }
  }
  if (params.diagonal == 0u) { return; }
  // Diagonals over the edges of the word, unless a neighbour joins the same two anyway.
  if ((ones & 1u & ~up & (up_left >> 31u) & ~(left >> 31u)) == 1u) {
    join(up_node - 16u + (start_of(up_left, 31u) >> 1u), node);
  }
  if (column + 1u < params.row_words) {
    let right = bits[word + 1u];
    let up_right = bits[word - params.row_words + 1u];
    if (((ones >> 31u) & ~(up >> 31u) & up_right & ~right & 1u) == 1u) {
      join(up_node + 16u, node + (start_of(ones, 31u) >> 1u));
    }
  }
}

// Hangs every run onto its root, and counts the roots of each word.
@compute @workgroup_size(64)
fn flatten(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = bits[word];
  let node = node_of(word, 0u);
  var own_roots = 0u;
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let own = node + (countTrailingZeros(starts) >> 1u);
    let root = find(own);
    if (root == own) {
      own_roots++;
    } else {
      atomicStore(&parents[own], root);
    }
  }
  found[word] = own_roots;
}

// Writes into each root the label of its component: 1 + roots of the image before it.
@compute @workgroup_size(64)
fn number(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = bits[word];
  let node = node_of(word, 0u);
  var label = before[word];
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let own = node + (countTrailingZeros(starts) >> 1u);
    if (atomicLoad(&parents[own]) == own) {
      label++;
      atomicStore(&parents[own], TAG | label);
    }
  }
}

// Value of the component of a run; 0 where its root holds none.
fn value_of(node: u32) -> u32 {
  var value = roots[node];
  if (value < TAG) { value = roots[value]; }
  return select(0u, value & ~TAG, value >= TAG);
}

@compute @workgroup_size(64)
fn write_labels(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let column = 32u * (word % params.row_words);
  let to = (word / params.row_words) * params.width + column;
  let n = min(32u, params.width - column);
  let ones = bits[word];
  let node = node_of(word, 0u);
  var label = 0u;
  for (var k = 0u; k < n; k++) {
    if (((ones >> k) & 1u) == 0u) {
      label = 0u;
    } else if (label == 0u) {
      label = value_of(node + (k >> 1u));
    }
    labels[to + k] = i32(label);
  }
}

// 1 in the components whose root was marked, else 0.
@compute @workgroup_size(64)
fn write_marked(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let column = 32u * (word % params.row_words);
  let to = (word / params.row_words) * params.width + column;
  let n = min(32u, params.width - column);
  let ones = bits[word];
  let node = node_of(word, 0u);
  var kept = 0u;
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let start = countTrailingZeros(starts);
    if (value_of(node + (start >> 1u)) != 0u) { kept |= run_at(ones, start); }
  }
  for (var k = 0u; k < n; k++) { marks[to + k] = f32((kept >> k) & 1u); }
}

fn mark(node: u32) {
  let root = atomicLoad(&parents[node]);
  // A tagged parent is that of a root that was marked already.
  if (root < TAG) { atomicStore(&parents[root], TAG | 1u); }
}

// Marks the components with a pixel x > threshold (the high one).
@compute @workgroup_size(64)
fn mark_strong(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = bits[word];
  if (ones == 0u) { return; }
  let strong = threshold_word(word);
  let node = node_of(word, 0u);
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let start = countTrailingZeros(starts);
    if ((run_at(ones, start) & strong) != 0u) { mark(node + (start >> 1u)); }
  }
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

// The largest component: the pixels of each root, …
@compute @workgroup_size(64)
fn weigh(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = bits[word];
  let node = node_of(word, 0u);
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let start = countTrailingZeros(starts);
    atomicAdd(&sizes[roots[node + (start >> 1u)]], countOneBits(run_at(ones, start)));
  }
}

// … the most that a root of an image has, …
@compute @workgroup_size(64)
fn find_largest(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = bits[word];
  let node = node_of(word, 0u);
  let at = 2u * (word / params.row_words / params.height);
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let own = node + (countTrailingZeros(starts) >> 1u);
    if (roots[own] == own) { raise_best(at, atomicLoad(&sizes[own])); }
  }
}

// … the first root that has so many (as its complement: the least node), …
@compute @workgroup_size(64)
fn find_first_largest(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let word = invocation(id, groups);
  if (word >= params.words) { return; }
  let ones = bits[word];
  let node = node_of(word, 0u);
  let at = 2u * (word / params.row_words / params.height);
  let most = atomicLoad(&best[at]);
  for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
    let own = node + (countTrailingZeros(starts) >> 1u);
    if (roots[own] == own && atomicLoad(&sizes[own]) == most) { raise_best(at + 1u, ~own); }
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

// What is known of part of a component: pixels, edges (right and bottom exclusive), sums of coordinates.
struct Part { label: u32, area: u32, left: u32, right: u32, top: u32, bottom: u32, x: u32, y: u32 }

fn raise(at: u32, value: u32) {
  if (value > atomicLoad(&sums[at])) { atomicMax(&sums[at], value); }
}

// Adds to a sum of 64 bits, low word first.
fn add_wide(at: u32, value: u32) {
  let low = atomicAdd(&sums[at], value);
  if (low > 0xffffffffu - value) { atomicAdd(&sums[at + 1u], 1u); }
}

fn add_part(image: u32, part: Part) {
  if (part.label == 0u || part.label > params.slots) { return; }
  let at = FIELDS * (image * params.slots + part.label - 1u);
  atomicAdd(&sums[at], part.area);
  raise(at + 1u, params.width - part.left);
  raise(at + 2u, part.right);
  raise(at + 3u, params.height - part.top);
  raise(at + 4u, part.bottom);
  add_wide(at + 5u, part.x);
  add_wide(at + 7u, part.y);
}

// Sums over the components of a strip one word wide and STRIP rows high. Runs of one component that follow each
// other are summed here first: solid areas take few atomics. All sums are of integers: any order gives the same.
@compute @workgroup_size(64)
fn measure(@builtin(global_invocation_id) id: vec3u, @builtin(num_workgroups) groups: vec3u) {
  let strip = invocation(id, groups);
  if (strip >= params.images * params.strips * params.row_words) { return; }
  let column = strip % params.row_words;
  let image = strip / params.row_words / params.strips;
  let top = STRIP * (strip / params.row_words % params.strips);
  let bottom = min(top + STRIP, params.height);
  var part = Part();
  for (var y = top; y < bottom; y++) {
    let word = (image * params.height + y) * params.row_words + column;
    let ones = bits[word];
    let node = node_of(word, 0u);
    for (var starts = ones & ~(ones << 1u); starts != 0u; starts &= starts - 1u) {
      let start = countTrailingZeros(starts);
      let length = countOneBits(run_at(ones, start));
      let left = 32u * column + start;
      let label = value_of(node + (start >> 1u));
      if (label != part.label) {
        add_part(image, part);
        part = Part(label, 0u, left, 0u, y, 0u, 0u, 0u);
      }
      part.area += length;
      part.left = min(part.left, left);
      part.right = max(part.right, left + length);
      part.bottom = y + 1u;
      part.x += left * length + length * (length - 1u) / 2u;
      part.y += y * length;
    }
  }
  add_part(image, part);
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
  let i = invocation(id, groups);
  if (i >= params.images * params.slots) { return; }
  let image = i / params.slots;
  var area = 0u;
  var box = vec4f();
  var centroid = vec2f();
  if (i % params.slots < u32(count[image])) {
    let at = FIELDS * i;
    area = atomicLoad(&sums[at]);
    let left = params.width - atomicLoad(&sums[at + 1u]);
    let top = params.height - atomicLoad(&sums[at + 3u]);
    box = vec4f(vec4u(left, top, atomicLoad(&sums[at + 2u]) - left, atomicLoad(&sums[at + 4u]) - top));
    centroid = vec2f(mean_of(at + 5u, area), mean_of(at + 7u, area));
  }
  areas[i] = i32(area);
  for (var k = 0u; k < 4u; k++) { boxes[4u * i + k] = box[k]; }
  for (var k = 0u; k < 2u; k++) { centroids[2u * i + k] = centroid[k]; }
}
