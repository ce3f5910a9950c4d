// Strips of a depthwise convolution: which one is a lane's, how it walks down, and the window of its channel. A kernel that
// includes this binds x, weight, bias and y; its `params` say how many rows a walk has.
// SHARED: the lanes of a subgroup work on the same channel; each loads some of its weights, which go round by shuffles.
// TURN reads the windows turned by 180°.
override SHARED: bool = false;
override TURN: bool = false;
override BIAS: bool = false;

// A row of the window.
struct Taps { a: f32, b: f32, c: f32, d: f32, e: f32, f: f32, g: f32 }

// What a lane loaded of the window, eight taps further on each.
alias Held = array<f32, 7>;

fn tap(held: ptr<function, Held>, first: i32, ky: u32, kx: u32) -> f32 {
  if (kx >= KW) { return 0.0; }
  let k = ky * KW + kx;
  if (SHARED) { return subgroupShuffle((*held)[k / 8u], k % 8u); }
  return weight[first + i32(select(k, KH * KW - 1u - k, TURN))];
}

fn taps(held: ptr<function, Held>, first: i32, ky: u32) -> Taps {
  if (ky >= KH) { return Taps(); }
  return Taps(
    tap(held, first, ky, 0u), tap(held, first, ky, 1u), tap(held, first, ky, 2u), tap(held, first, ky, 3u),
    tap(held, first, ky, 4u), tap(held, first, ky, 5u), tap(held, first, ky, 6u));
}

fn hold(first: i32, k: u32) -> f32 {
  let last = KH * KW - 1u;
  let tap = min(k, last);
  return weight[first + i32(select(tap, last - tap, TURN))];
}

fn window_of(first: i32, lane: i32) -> array<Taps, 7> {
  var held = Held();
  if (SHARED) {
    held[0] = hold(first, u32(lane));
    if (KH * KW > 8u) { held[1] = hold(first, u32(lane) + 8u); }
    if (KH * KW > 16u) { held[2] = hold(first, u32(lane) + 16u); }
    if (KH * KW > 24u) { held[3] = hold(first, u32(lane) + 24u); }
    if (KH * KW > 32u) { held[4] = hold(first, u32(lane) + 32u); }
    if (KH * KW > 40u) { held[5] = hold(first, u32(lane) + 40u); }
    if (KH * KW > 48u) { held[6] = hold(first, u32(lane) + 48u); }
  }
  return array<Taps, 7>(
    taps(&held, first, 0u), taps(&held, first, 1u), taps(&held, first, 2u), taps(&held, first, 3u),
    taps(&held, first, 4u), taps(&held, first, 5u), taps(&held, first, 6u));
}

// The strip of a lane: an image, one of so many channels (or blocks of them), a column, and rows first, first + dilation, … so many.
struct Strip { image: i32, o: i32, ox: i32, first: i32, rows: i32 }

fn strip_of(index: i32, lane: i32, channels: i32) -> Strip {
  let tiles = params.strips * params.bands * params.residues;
  var tile = 8 * index + lane;
  var o = 0;
  var image = 0;
  var there = true;
  if (SHARED) {
    // The strips of all images are dealt out to lanes.
    let eights = over(tiles * params.n + 7, 8);
    o = over(index, eights);
    tile = (index - o * eights) * 8 + lane;
    there = (o < channels) & (tile < tiles * params.n);
    o = min(o, channels - 1);
    image = over(tile, tiles);
    tile -= image * tiles;
  } else {
    let plane = over(tile, tiles);
    tile -= plane * tiles;
    image = over(plane, channels);
    there = image < params.n;
    o = plane - image * channels;
  }
  let line = over(tile, params.strips);
  let band = over(line, params.residues);
  let first = line - band * params.residues + band * params.band * params.dilationH;
  let rows = min(params.band, over(params.rows - 1 - first + params.dilationH, params.dilationH));
  return Strip(image, o, (tile - line * params.strips) * 4, first, select(0, rows, there & (first < params.rows)));
}

// How a lane walks: where planes of x and y begin, what it adds, where the window does.
struct Walk { plane: i32, to: i32, add: f32, first: i32 }

fn walk_of(s: Strip) -> Walk {
  let size = params.h * params.w;
  var add = 0.0;
  if (BIAS) { add = bias[s.o]; }
  return Walk(
    (s.image * params.cin + over(s.o, params.outG)) * size + params.sourceOffset + s.image * params.sourceGap,
    (s.image * params.cout + s.o) * params.outH * params.outW + params.offset + s.image * params.gap,
    add, s.o * i32(KH * KW));
}
