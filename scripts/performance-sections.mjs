// The measured parts of docs/performance.md by name: each makes Markdown of what its JSON files hold.

const ms = (value) => (value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2))
const megabytes = (bytes) => (bytes / 2 ** 20).toFixed(0)
const percent = (part) => `${(100 * part).toFixed(0)} %`
const sum = (list, of) => list.reduce((total, each) => total + of(each), 0)

function groupBy(list, keyOf) {
  const groups = new Map()
  for (const each of list) groups.set(keyOf(each), [...(groups.get(keyOf(each)) ?? []), each])
  return groups
}

/** A table; the first `texts` columns are text, the others numbers. */
function table(columns, rows, texts = 1) {
  const line = (cells) => `| ${cells.join(' | ')} |`
  return [
    line(columns),
    `|${columns.map((_, i) => (i < texts ? '---' : '---:')).join('|')}|`,
    ...rows.map(line),
  ].join('\n')
}

/** Where and when, and what the adapter gives at most. */
function machine({ date, adapter, cpu, platform, node, webgpu, ceiling, overheadUs }) {
  const parts = [
    `${adapter}; ${cpu}, ${platform}; Node ${node}, webgpu ${webgpu}; ${date}.`,
    ceiling &&
      `Multiply-adds ${ceiling.gflops.toFixed(1)} GFLOP/s; copies ${ceiling.copies
        .map((c) => `of ${c.bytes / 2 ** 21} MB ${c.gbs.toFixed(1)}`)
        .join(
          ', ',
        )} GB/s${ceiling.gathers ? `; values gathered one by one ${ceiling.gathers.toFixed(2)} G/s` : ''}.`,
    overheadUs !== undefined && `One more launch of a kernel that does nothing: ${overheadUs.toFixed(1)} µs.`,
  ]
  return parts.filter(Boolean).join('  \n')
}

const profilesOf = (files) => files.flatMap((file) => file.profiles)
const sizeOf = (p) => `${p.batch}×${p.inChannels}×${p.side}²`

const nsAPixel = (ms, { pixels }) => ((1e6 * ms) / pixels).toFixed(0)

/** Time a pixel over the sizes, in turns or each in a profile of its own, and how far the dearest lies over the cheapest. */
function pixels(files) {
  const timed = files.flatMap((file) => file.pixels ?? file.profiles)
  const groups = groupBy(timed, (p) => `${p.title} ${p.phase}, batch ${p.batch}`)
  const sides = [...new Set(timed.map((p) => p.side))].sort((a, b) => a - b)
  const rows = [...groups].map(([name, list]) => {
    const at = (side) => list.find((p) => p.side === side)
    const spread = (time) => {
      const each = list.map((p) => time(p) / p.pixels)
      return list.length > 1 ? (Math.max(...each) / Math.min(...each)).toFixed(2) : '–'
    }
    return [
      name,
      ...sides.map((side) => {
        const p = at(side)
        return p ? `${nsAPixel(p.ms, p)} (${nsAPixel(p.min, p)})` : '–'
      }),
      `${spread((p) => p.ms)} (${spread((p) => p.min)})`,
    ]
  })
  const columns = ['ns a pixel, median (least)', ...sides.map((s) => `${s}²`), 'dearest / cheapest']
  return table(columns, rows)
}

/** One line a network, phase and size. */
function steps(files) {
  const rows = profilesOf(files).map((p) => [
    `${p.title} ${p.phase} ${sizeOf(p)}`,
    `${ms(p.ms)} (${ms(p.min)})`,
    ms(p.kernelMs),
    ms(p.floorMs),
    percent(p.floorMs / p.kernelMs),
    p.dispatches,
    p.submissions,
    p.newBuffers,
    `${p.jsMs.toFixed(2)} (${p.jsMinMs.toFixed(2)})`,
    megabytes(p.peakBytes),
    `${megabytes(p.plannedBytes)} (${megabytes(p.unsharedBytes)})`,
  ])
  const columns = [
    'work',
    'ms median (least)',
    'in kernels',
    'floor',
    'floor / kernels',
    'launches',
    'submissions',
    'new buffers',
    'JS ms median (least)',
    'peak MB',
    'intermediates MB (unshared)',
  ]
  return table(columns, rows)
}

const kernelName = (kernel) => {
  const [file, entry] = kernel.split('/')
  return file.startsWith(entry) ? file : kernel
}

/** Rows that are at least this part of a step's time. */
const SHOWN = 0.01

/** By kernel: the smallest and the largest size of each network and phase, most lost first. */
function floors(files) {
  const groups = groupBy(profilesOf(files), (p) => `${p.title} ${p.phase}`)
  const parts = []
  for (const list of groups.values()) {
    const bySide = [...list].sort((a, b) => a.pixels - b.pixels)
    for (const p of new Set([bySide[0], bySide.at(-1)])) {
      const shown = p.byKernel.filter((r) => r.ms >= SHOWN * p.kernelMs)
      const rows = shown.map((r) => [
        `\`${kernelName(r.kernel)}\``,
        r.op,
        r.launches,
        ms(r.ms),
        ms(r.floorMs),
        ms(r.lostMs),
        r.gflops > 0 ? r.gflops.toFixed(1) : '–',
        r.gbs.toFixed(1),
      ])
      const rest = p.kernelMs - sum(shown, (r) => r.ms)
      const restFloor = p.floorMs - sum(shown, (r) => r.floorMs)
      rows.push([
        'others',
        '',
        p.dispatches - sum(shown, (r) => r.launches),
        ms(rest),
        ms(restFloor),
        ms(rest - restFloor),
        '',
        '',
      ])
      const columns = ['kernel', 'op', 'launches', 'ms', 'floor', 'lost', 'GFLOP/s', 'GB/s']
      parts.push(
        `**${p.title} ${p.phase}, ${sizeOf(p)}**: ${ms(p.kernelMs)} ms in kernels, floor ${ms(p.floorMs)} ms.\n\n${table(columns, rows, 2)}`,
      )
    }
  }
  return parts.join('\n\n')
}

/** By op, one column a size. */
function ops(files) {
  const parts = []
  for (const [name, list] of groupBy(profilesOf(files), (p) => `${p.title} ${p.phase}`)) {
    const bySize = [...list].sort((a, b) => a.pixels - b.pixels)
    const msOf = (p, op) =>
      sum(
        p.byKernel.filter((r) => r.op === op),
        (r) => r.ms,
      )
    const names = [...new Set(list.flatMap((p) => p.byKernel.map((r) => r.op)))]
    const largest = bySize.at(-1)
    const rows = names
      .filter((op) => bySize.some((p) => msOf(p, op) >= SHOWN * p.kernelMs))
      .sort((a, b) => msOf(largest, b) - msOf(largest, a))
      .map((op) => [op, ...bySize.map((p) => nsAPixel(msOf(p, op), p))])
    rows.push(['all', ...bySize.map((p) => nsAPixel(p.kernelMs, p))])
    parts.push(`**${name}**, ns a pixel by op:\n\n${table(['op', ...bySize.map(sizeOf)], rows)}`)
  }
  return parts.join('\n\n')
}

/** From the start of a process to the second step. */
function start(files) {
  const rows = files.flatMap(({ start: { cold, warm, oneByOne } }) =>
    [
      ['empty', cold],
      ['full', warm],
      ['full, kernels compiled one after the other', oneByOne],
    ].map(([cache, t]) => [
      cache,
      ms(t.openMs),
      ms(t.buildMs),
      ms(t.firstStepMs),
      ms(t.secondStepMs),
      t.pipelines,
    ]),
  )
  const columns = [
    "driver's shader cache",
    'to device, ms',
    'network',
    'first step',
    'second step',
    'pipelines',
  ]
  return table(columns, rows)
}

/** Training steps fed from files: what they wait for images, and what the GPU does. */
function input(files) {
  const idle = (value) => (value === undefined ? '–' : value.toFixed(2))
  const rows = files.flatMap(({ input: { network, batch, channels, side, rows: sources } }) =>
    sources.map((r) => [
      `${network} ${batch}×${channels}×${side}²`,
      r.source,
      r.ms.toFixed(1),
      `${r.waitMs.toFixed(2)} (${r.longestWaitMs.toFixed(2)})`,
      `${idle(r.idleMs)} (${idle(r.longestIdleMs)})`,
    ]),
  )
  const columns = [
    'training step of',
    'images come from',
    'ms a step',
    'the loop waits for images, ms (at most)',
    'the GPU is idle, ms (at most)',
  ]
  return table(columns, rows, 2)
}

/** Networks with their launches dealt out and as the driver cuts them, in turns. */
function dealt(files) {
  const ms = (value) => (value < 1000 ? value.toPrecision(3) : value.toFixed(0))
  const rows = files
    .flatMap((file) => file.dealt)
    .map((r) => [
      r.name,
      `${ms(r.cutMs)} (${ms(r.cutMin)})`,
      `${ms(r.dealtMs)} (${ms(r.dealtMin)})`,
      `${(r.dealtMs / r.cutMs).toFixed(2)} (${(r.dealtMin / r.cutMin).toFixed(2)})`,
    ])
  return table(['ms, median (least)', 'cut by the driver', 'dealt out', 'ratio'], rows)
}

/** What was aimed at on lavapipe: milliseconds. */
const TARGETS = {
  'conv3x3 4x32->32x64x64': 30,
  'conv3x3 gradients 4x32->32x64x64': 75,
  'unet16 inference 4x1x64x64': 110,
  'unet16 training step 4x1x64x64': 450,
}

/** Beside the peers, from one run. */
function peers([{ peers: reports, comparison }], targets = TARGETS) {
  const rows = comparison.map(({ name, fovea, peers: others }) => [
    name,
    `**${ms(fovea)}**`,
    ...(targets ? [targets[name] ? `≤ ${targets[name]}` : '–'] : []),
    ...reports.map(({ peer }) => {
      const found = others.find((o) => o.peer === peer)
      return found ? `${ms(found.ms)} (${found.ratio.toFixed(1)}×)` : '–'
    }),
  ])
  const heads = reports.map(({ peer, version }) => `${peer} ${version ?? ''}`.trim())
  return table(['ms, median', 'fovea', ...(targets ? ['target'] : []), ...heads], rows)
}

/** The peers' items as the README names them. */
const NAMES = {
  'conv3x3 4x32->32x64x64': 'convolution 3×3, 4×32→32×64²',
  'conv3x3 gradients 4x32->32x64x64': 'its two gradients',
  'unet16 inference 4x1x64x64': 'U-Net (16 features) inference, 4×1×64²',
  'unet16 training step 4x1x64x64': 'U-Net training step',
}

/** What the README says of it: the comparison, the step's counts, the machine. */
function summary([file]) {
  const { date, adapter, cpu, networks, peers: reports } = file
  const named = file.comparison.map((row) => ({ ...row, name: NAMES[row.name] ?? row.name }))
  const step = networks.find((r) => r.name === 'unet16 training step 4x1x64x64')
  const theirs = reports.flatMap((r) =>
    r.results.filter((x) => x.name === step.name && x.submissions).map((x) => ({ peer: r.peer, ...x })),
  )
  const counts = ({ dispatches, submissions, newBuffers }) =>
    `${dispatches} launches in ${submissions} submission${submissions === 1 ? '' : 's'}, ${newBuffers} new buffers`
  return [
    peers([{ ...file, comparison: named }], null),
    '',
    `${adapter}; ${cpu}; ${date}. A training step of fovea is ${counts(step)} and ${step.jsMs.toFixed(2)} ms of JavaScript; of ` +
      `${theirs.map((x) => `${x.peer} ${counts(x)}`).join('; of ')}.`,
  ].join('\n')
}

/** Every kernel against its floor. */
function kernels([{ kernels: list }]) {
  const rows = list.map((k) => [
    k.name,
    k.min.toFixed(3),
    k.median.toFixed(3),
    k.gflops.toFixed(1),
    k.gbs.toFixed(2),
    percent(k.share),
  ])
  return table(['kernel', 'least ms', 'median', 'GFLOP/s', 'GB/s', 'floor / time'], rows)
}

/** Time a pixel of connected components by mask and side: files of `--only "connectedComponents "`. */
function components([{ kernels: list }]) {
  const cases = list.flatMap((k) => {
    const [, mask, side] = /^connectedComponents (.+) (\d+)²$/.exec(k.name) ?? []
    return mask ? [{ mask, side: Number(side), ns: k.nsPerPixel }] : []
  })
  const sides = [...new Set(cases.map((c) => c.side))].sort((a, b) => a - b)
  const rows = [...groupBy(cases, (c) => c.mask)].map(([mask, each]) => [
    mask,
    ...sides.map((side) => each.find((c) => c.side === side)?.ns.toPrecision(3) ?? '–'),
  ])
  return table(['ns a pixel (least)', ...sides.map((side) => `${side}²`)], rows)
}

/** Geometry beside OpenCV on the same processor: what both have timed. */
function opencv([{ kernels: own }, { version, threads, kernels: theirs }]) {
  const rows = theirs.flatMap(({ name, min }) => {
    const k = own.find((each) => each.name === name)
    return k ? [[name, k.min.toFixed(2), min.toFixed(2), `${(k.min / min).toFixed(1)}×`]] : []
  })
  return table(['least ms', 'fovea', `OpenCV ${version}, ${threads} threads`, 'fovea / OpenCV'], rows)
}

/** What a web page loads. */
function bundle([{ fovea, peers: others }]) {
  const kb = (bytes) => (bytes / 1000).toFixed(1)
  const rows = [
    ...fovea.map((f) => [
      `fovea: ${f.page}`,
      kb(f.minified),
      kb(f.gzipped),
      kb(f.withSubgroups),
      kb(f.onCpu),
      kb(f.everything),
    ]),
    ...others.map((p) => [`${p.peer} ${p.version}`, kb(p.minified), kb(p.gzipped), '–', '–', '–']),
  ]
  const columns = [
    'browser bundle',
    'minified kB',
    'gzipped kB',
    'more with subgroups',
    'more on a CPU driver',
    'all its files',
  ]
  return table(columns, rows)
}

/** The runs on a graphics processor, or that there was none. */
function gpu(files) {
  if (files.length === 0)
    return 'No graphics processor has run this yet: none could be had. Nothing in this section is measured.'
  return files.map(gpuRun).join('\n\n')
}

function gpuRun({ tests, conv, training, objects, ...where }) {
  const parts = [machine(where)]
  if (tests)
    parts.push(
      `Test suite on this adapter: ${tests.passed} passed, ${tests.failed} failed, ${tests.skipped} skipped.`,
    )
  if (conv) {
    const rows = conv.map((c) => [
      c.name,
      c.min.toFixed(3),
      c.gflops.toFixed(0),
      percent(c.gflops / where.ceiling.gflops),
    ])
    parts.push(table(['convolution, tuned', 'least ms', 'GFLOP/s', 'of the multiply-adds measured'], rows))
  }
  if (training) {
    const torch = training.rows.find((r) => r.torch)
    if (torch) parts.push(`PyTorch ${torch.torch} on ${torch.device}, float32 without TF32.`)
    const base = training.rows.find((r) => r.name === 'PyTorch float32')?.ms
    const own = training.rows.find((r) => r.name === 'fovea float32')?.ms
    const ratio = (of, r) => (of && r.ms ? `${(of / r.ms).toFixed(2)}×` : '–')
    const rows = training.rows.map((r) => [
      r.name,
      r.ms === undefined ? `– (${r.skipped})` : `${ms(r.ms)} (${ms(r.min)})`,
      ratio(base, r),
      ratio(own, r),
    ])
    const columns = [
      `training step, ${training.size}`,
      'ms median (least)',
      'as fast as PyTorch float32',
      'as fast as fovea float32',
    ]
    parts.push(table(columns, rows))
  }
  if (objects) {
    const rows = objects.map((r) => [
      r.method,
      r.objects,
      ...[r.ms, r.roughMs, r.fineMs, r.restMs].map(ms),
      percent(r.share),
      `${r.passes.toFixed(1)}×`,
    ])
    const columns = [
      'many objects',
      'objects',
      'whole ms',
      'rough',
      'fine',
      'rest',
      'rest / networks',
      'whole / rough',
    ]
    parts.push(table(columns, rows))
  }
  return parts.join('\n\n')
}

export const SECTIONS = {
  machine: (files) => files.map(machine).join('\n\n'),
  pixels,
  steps,
  floors,
  ops,
  start,
  input,
  dealt,
  peers,
  summary,
  kernels,
  components,
  opencv,
  bundle,
  gpu,
}
