import type { Dispatch, ParamValues } from './commands.ts'
import { Kernel, type Pipeline } from './kernel.ts'
import type { Storage } from './storage.ts'
import { withoutComments } from './wgsl.ts'

/**
 * Workgroups dealt out while a launch runs, on a CPU driver whose subgroups have eight lanes. Such a driver cuts a launch into as
 * many equal runs of workgroups as it has threads, before it begins: whoever gets a core late, or one that a neighbour of the
 * machine is using, keeps all others waiting, launch after launch. So a launch is made of no more workgroups than there may be
 * threads, and each takes from a counter what is to be done next until nothing is left. What a workgroup computes does not depend
 * on who runs it: results are the same to the bit.
 *
 * The first half of them takes from the front, the second from the back, until they meet: a thread gets a half of the launch, as the
 * driver would cut it, and of the next launch mostly the same half, which its core's own cache may hold.
 *
 * A kernel's dealt form is made from its text: an entry point becomes a function of its built-in values, and a loop of eight lanes
 * calls it. A larger workgroup is run eight invocations after eight, as the driver runs it, too; one that waits at barriers cannot
 * be, and stays as it is. What is written otherwise than fovea's kernels are is not guessed at: it has no such form.
 */

/** Threads that a driver may have: lavapipe's most. A workgroup that finds nothing left costs less than a microsecond. */
const THREADS = 32
/** Times that a launch asks the counter, at most: enough for runs of equal length. Both halves of the counter hold as many. */
const TURNS = 512
const LANES = 8

/** Uniform values of a dealt launch, before those of its kernel. */
const FIELDS = ['dealX', 'dealY', 'dealZ', 'dealTotal', 'dealTake', 'dealTurns', 'dealThreads'] as const
/** Uniform values that a launch has room for: of UNIFORM_SLOT bytes (commands.ts), whose import would cost pages a file of its own. */
const WORDS = 64
/** The binding of the counter. */
const COUNTER = 31
/** What the text of a kernel that has a dealt form does not hold: names and numbers of the form's own, and other rules for uniformity. */
const TAKEN = new RegExp(`\\bdeal|@binding\\(${COUNTER}\\)|\\bdiagnostic\\b`)

/** What an entry point may ask for, in terms of the loop's own. */
const BUILT_IN: Readonly<Record<string, string>> = {
  workgroup_id: 'deal_group',
  num_workgroups: 'deal_groups',
  local_invocation_index: 'deal_lane',
  local_invocation_id: 'deal_local',
  global_invocation_id: 'deal_group * deal_size + deal_local',
  subgroup_invocation_id: 'deal_invocation',
}

const ENTRY = /@compute\s*@workgroup_size\(([^)]*)\)\s*fn\s+(\w+)\s*\(([\s\S]*?)\)\s*\{/g

/** An entry point as a loop over what it is dealt, and the head of the function that takes its place. */
function asLoop(
  head: string,
  [size, name, args]: readonly [string, string, string],
  uniform: string,
  privates: readonly string[],
): string | undefined {
  const parts = args.split(/,(?![^<]*>)/).filter((part) => part.trim() !== '')
  const wanted = parts.map(
    (part) => /^\s*@builtin\((\w+)\)\s*\w+\s*:\s*(u32|vec3u|vec3<u32>)\s*$/.exec(part)?.[1],
  )
  if (!wanted.every((b) => b !== undefined && b in BUILT_IN)) return undefined
  const [x, y = '1', z = '1'] = size.split(',').filter((term) => term.trim() !== '')
  const flat = y === '1' && z === '1'
  const local = flat
    ? 'vec3u(deal_lane, 0u, 0u)'
    : 'vec3u(deal_lane % deal_size.x, deal_lane / deal_size.x % deal_size.y, deal_lane / (deal_size.x * deal_size.y))'
  const once = size.trim() === `${LANES}`
  const text = `
    @compute @workgroup_size(${LANES})
    fn ${name}(@builtin(workgroup_id) deal_id: vec3u, @builtin(local_invocation_index) deal_own: u32, @builtin(subgroup_invocation_id) deal_invocation: u32) {
      let deal_size = vec3u(u32(${x}), u32(${y}), u32(${z}));
      let deal_groups = vec3u(${uniform}.dealX, ${uniform}.dealY, ${uniform}.dealZ);
      let deal_from_back = 2u * deal_id.x >= ${uniform}.dealThreads;
      var deal_at = 0u;
      var deal_end = 0u;
      loop {
        if (deal_at == deal_end) {
          /* Turns taken: from the front in the lower half of the counter, from the back in the upper. */
          var deal_taken = 0u;
          if (deal_own == 0u) { deal_taken = atomicAdd(&deal, select(1u, 0x10000u, deal_from_back)); }
          deal_taken = subgroupBroadcastFirst(deal_taken);
          let deal_front = deal_taken & 0xffffu;
          let deal_back = deal_taken >> 16u;
          if (deal_front + deal_back >= ${uniform}.dealTurns) {
            /* Each finds nothing left once; the last to do so leaves the counter as it was. */
            if (deal_own == 0u && deal_front + deal_back + 1u == ${uniform}.dealTurns + ${uniform}.dealThreads) { atomicStore(&deal, 0u); }
            break;
          }
          deal_at = select(deal_front, ${uniform}.dealTurns - 1u - deal_back, deal_from_back) * ${uniform}.dealTake;
          deal_end = min(deal_at + ${uniform}.dealTake, ${uniform}.dealTotal);
        }
        let deal_row = deal_over(deal_at, deal_groups.x);
        let deal_layer = deal_over(deal_row, deal_groups.y);
        let deal_group = vec3u(deal_at - deal_row * deal_groups.x, deal_row - deal_layer * deal_groups.y, deal_layer);
        ${once ? '{ let deal_lane = deal_own;' : `for (var deal_lane = deal_own; deal_lane < deal_size.x * deal_size.y * deal_size.z; deal_lane += ${LANES}u) {`}
          let deal_local = ${local};
          ${privates.join(' ')}
          deal_${name}(${wanted.map((b) => BUILT_IN[b!]).join(', ')});
        }
        deal_at++;
      }
    }
    fn deal_${name}`
  // Line for line, so that what the compiler says points into the file.
  const before = '\n'.repeat(head.split('\n').length - args.split('\n').length)
  return `${before}${text.replace(/\s+/g, ' ')}(${args.replace(/@builtin\(\w+\)\s*/g, '')}) {`
}

/**
 * a / b below 2²⁴ by floats, right by one where the quotient is off by less: the driver rounds it, as IEEE 754 has it, of which
 * WGSL promises less. To such drivers an integer division is one a lane.
 */
const OVER =
  'fn deal_over(deal_a: u32, deal_b: u32) -> u32 { let deal_q = u32(f32(deal_a) / f32(deal_b)); ' +
  'return deal_q - u32(deal_q * deal_b > deal_a) + u32((deal_q + 1u) * deal_b <= deal_a); }'
/** Workgroups of a launch that is dealt out, at most: `deal_over` divides them. */
const MOST = 2 ** 24

interface DealtForm {
  readonly kernel: Kernel
  /** The entry points that are loops. */
  readonly entries: ReadonlySet<string>
}

/** A kernel's dealt form; undefined if none of its entry points has one. Lines keep their numbers. */
export function dealtForm(kernel: Kernel): DealtForm | undefined {
  // Somebody else's (kernelAsIs): what the compiler has against it is to be said of that text.
  if (kernel.source.endsWith('// launched as it is')) return undefined
  const text = withoutComments(kernel.source)
  const uniform = /var<uniform>\s*(\w+)\s*:\s*Params\b/.exec(text)?.[1]
  if (!uniform || TAKEN.test(text) || kernel.meta.params.length + FIELDS.length > WORDS) return undefined
  // Zero when a workgroup begins. One that begins otherwise would have to be known to the letter.
  const privates = [...text.matchAll(/var\s*<\s*private[^;]*;/g)].map(([declared]) => {
    const plain = /^var<private>\s*(\w+)\s*:\s*([^;=]+?)\s*;$/.exec(declared)
    return plain && `${plain[1]} = ${plain[2]}();`
  })
  if (privates.includes(null)) return undefined
  // What a workgroup shares, and where it waits.
  const shared = [...text.matchAll(/var\s*<\s*workgroup\s*,?\s*>\s*(\w+)/g)].map((m) => m[1]!)
  const apart = [...shared, 'workgroupBarrier', 'storageBarrier', 'workgroupUniformLoad']
  const entries = new Set<string>()
  const looped = text.replace(ENTRY, (head, size: string, name: string, args: string) => {
    const { reaches } = kernel.meta.entries.get(name)!
    if (apart.some((other) => reaches.has(other))) return head
    const made = asLoop(head, [size, name, args], uniform, privates as string[])
    if (made === undefined) return head
    entries.add(name)
    return made
  })
  if (entries.size === 0) return undefined
  const dealt = looped
    .replace(/struct\s+Params\s*\{/, (head) => `${head} ${FIELDS.map((f) => `${f}: u32, `).join('')}`)
    .replace(
      /@group\(0\)/,
      (first) =>
        `@group(0) @binding(${COUNTER}) var<storage, read_write> deal: atomic<u32>; ${OVER} ${first}`,
    )
  // The turn of a workgroup is the same for all its lanes, which the compiler cannot know.
  const source = `enable subgroups; diagnostic(off, subgroup_uniformity); ${dealt}`
  return { kernel: new Kernel(kernel.name, source), entries }
}

/**
 * Changes launches into dealt ones where their kernels have such a form. All share `counter`, 4 bytes that are zero between
 * launches; an entry point that has `maxStorages` of its own has no place for it.
 */
export function dealing(counter: Storage, maxStorages: number): (launch: Dispatch) => Dispatch {
  const forms = new Map<Kernel, DealtForm | undefined>()
  const formOf = (kernel: Kernel): DealtForm | undefined => {
    if (!forms.has(kernel)) forms.set(kernel, dealtForm(kernel))
    return forms.get(kernel)
  }
  const find = ({ kernel, entry, overrides, cache, workgroupSize }: Pipeline): Pipeline | undefined => {
    const [x, y, z] = workgroupSize
    const uniforms = entry.bindings.filter((b) => b.access === 'uniform').length
    if ((x * y * z) % LANES !== 0 || uniforms === 0) return undefined
    if (entry.bindings.length - uniforms >= maxStorages) return undefined
    const form = formOf(kernel)
    return form?.entries.has(entry.name) ? cache.get(form.kernel, entry.name, overrides) : undefined
  }
  const pipelines = new Map<Pipeline, Pipeline | undefined>()
  return (launch) => {
    const { pipeline, workgroups, params, storages } = launch
    if (!pipelines.has(pipeline)) pipelines.set(pipeline, find(pipeline))
    const dealt = pipelines.get(pipeline)
    const [dealX, dealY, dealZ] = workgroups
    const dealTotal = dealX * dealY * dealZ
    if (!dealt || dealTotal >= MOST) return launch
    const dealTake = Math.ceil(dealTotal / TURNS)
    const turns = Math.ceil(dealTotal / dealTake)
    const threads = Math.min(turns, THREADS)
    const counts = { dealX, dealY, dealZ, dealTotal, dealTake, dealTurns: turns, dealThreads: threads }
    const withCounts = (values: ParamValues): ParamValues => ({ ...values, ...counts })
    return {
      ...launch,
      pipeline: dealt,
      storages: [...storages, { index: COUNTER, storage: counter }],
      params: typeof params === 'function' ? () => withCounts(params()) : withCounts(params),
      workgroups: [threads, 1, 1],
    }
  }
}
