import type { Dispatch, ParamValues } from './commands.ts'
import { Kernel } from './kernel.ts'
import type { Storage } from './storage.ts'
import { functionsOf, reach, withoutComments } from './wgsl.ts'

/**
 * Workgroups dealt out while a launch runs, on a CPU driver whose subgroups have eight lanes. Such a driver cuts a launch into as
 * many equal runs of workgroups as it has threads, before it begins: whoever gets a core late, or one that a neighbour of the
 * machine is using, keeps all others waiting, launch after launch. So a launch is made of one workgroup for each thread that there
 * may be, and each takes from a counter what is to be done next until nothing is left. What a workgroup computes does not depend
 * on who runs it: results are the same to the bit.
 *
 * A kernel's dealt form is made from its text: an entry point becomes a function of its built-in values, and a loop calls it.
 * The loop's workgroup is a subgroup; larger ones run eight invocations after eight, as the driver runs them, too, which is why
 * entry points that wait at barriers stay as they are.
 */

/** Threads that a driver may have: lavapipe's most. A workgroup that finds nothing left costs less than a microsecond. */
const THREADS = 32
/** Times that a launch asks the counter, about: enough for runs of equal length, few enough not to be seen. */
const TURNS = 512
const LANES = 8

/** Uniform values of a dealt launch, before those of its kernel. */
const FIELDS = ['dealX', 'dealY', 'dealZ', 'dealTotal', 'dealTake', 'dealLast'] as const
/** The binding of the counter. No kernel's own binding has this number. */
const COUNTER = 31

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

/**
 * An entry point as a loop over what it is dealt, and the head of the function that takes its place. Undefined if it asks for what
 * the loop does not know.
 */
function loop(
  head: string,
  [size, name, args]: readonly [string, string, string],
  uniform: string,
  privates: readonly RegExpMatchArray[],
): string | undefined {
  const wanted = [...args.matchAll(/@builtin\((\w+)\)/g)].map((m) => m[1]!)
  if (!wanted.every((b) => b in BUILT_IN)) return undefined
  const [x, y = '1', z = '1'] = size.split(',')
  const flat = y === '1' && z === '1'
  const local = flat
    ? 'vec3u(deal_lane, 0u, 0u)'
    : 'vec3u(deal_lane % deal_size.x, deal_lane / deal_size.x % deal_size.y, deal_lane / (deal_size.x * deal_size.y))'
  const once = size.trim() === `${LANES}`
  const text = `
    @compute @workgroup_size(${LANES})
    fn ${name}(@builtin(local_invocation_index) deal_own: u32, @builtin(subgroup_invocation_id) deal_invocation: u32) {
      let deal_size = vec3u(u32(${x}), u32(${y}), u32(${z}));
      let deal_groups = vec3u(${uniform}.dealX, ${uniform}.dealY, ${uniform}.dealZ);
      var deal_at = 0u;
      var deal_end = 0u;
      loop {
        if (deal_at == deal_end) {
          var deal_turn = 0u;
          if (deal_own == 0u) { deal_turn = atomicAdd(&deal, 1u); }
          deal_turn = subgroupBroadcastFirst(deal_turn);
          deal_at = deal_turn * ${uniform}.dealTake;
          deal_end = min(deal_at + ${uniform}.dealTake, ${uniform}.dealTotal);
          if (deal_at >= ${uniform}.dealTotal) {
            /* Each finds nothing left once; the last to do so leaves the counter as it was. */
            if (deal_own == 0u && deal_turn == ${uniform}.dealLast) { atomicStore(&deal, 0u); }
            break;
          }
        }
        let deal_row = deal_over(deal_at, deal_groups.x);
        let deal_layer = deal_over(deal_row, deal_groups.y);
        let deal_group = vec3u(deal_at - deal_row * deal_groups.x, deal_row - deal_layer * deal_groups.y, deal_layer);
        ${once ? '{ let deal_lane = deal_own;' : `for (var deal_lane = deal_own; deal_lane < deal_size.x * deal_size.y * deal_size.z; deal_lane += ${LANES}u) {`}
          let deal_local = ${local};
          ${privates.map(([, variable, type]) => `${variable} = ${type}();`).join(' ')}
          deal_${name}(${wanted.map((b) => BUILT_IN[b]).join(', ')});
        }
        deal_at++;
      }
    }
    fn deal_${name}`
  // Line for line, so that what the compiler says points into the file.
  const before = '\n'.repeat(head.split('\n').length - args.split('\n').length)
  return `${before}${text.replace(/\s+/g, ' ')}(${args.replace(/@builtin\(\w+\)\s*/g, '')}) {`
}

/** a / b below 2²⁴ by floats: to such drivers an integer division is one a lane. */
const OVER =
  'fn deal_over(deal_a: u32, deal_b: u32) -> u32 { let deal_q = u32(f32(deal_a) / f32(deal_b)); ' +
  'return deal_q - u32(deal_q * deal_b > deal_a) + u32((deal_q + 1u) * deal_b <= deal_a); }'
/** Workgroups of a launch that is dealt out, at most: `deal_over` divides them. */
const MOST = 2 ** 24

/** A kernel's dealt form; undefined if none of its entry points has one. Lines keep their numbers. */
export function dealtForm(kernel: Kernel): Kernel | undefined {
  const { source } = kernel
  const text = withoutComments(source)
  const uniform = /var<uniform>\s*(\w+)\s*:\s*Params\b/.exec(text)?.[1]
  if (!uniform) return undefined
  const barriers = text.match(/\b(workgroupBarrier|storageBarrier|workgroupUniformLoad)\b/g) ?? []
  const functions = new Map(barriers.length > 0 ? functionsOf(text).map((f) => [f.name, f] as const) : [])
  const waits = (name: string): boolean => {
    if (barriers.length === 0) return false
    const names = reach(functions.get(name)!, functions)
    return barriers.some((b) => names.has(b))
  }
  // Without initial values: zero when a workgroup begins.
  const privates = [...text.matchAll(/var<private>\s*(\w+)\s*:\s*([^;=]+?)\s*;/g)]
  let some = false
  const looped = source.replace(ENTRY, (head, size: string, name: string, args: string) => {
    const made = waits(name) ? undefined : loop(head, [size, name, args], uniform, privates)
    some ||= made !== undefined
    return made ?? head
  })
  if (!some) return undefined
  const dealt = looped
    .replace(/struct\s+Params\s*\{/, (head) => `${head} ${FIELDS.map((f) => `${f}: u32, `).join('')}`)
    .replace(
      /@group\(0\)/,
      (first) =>
        `@group(0) @binding(${COUNTER}) var<storage, read_write> deal: atomic<u32>; ${OVER} ${first}`,
    )
  // The turn of a workgroup is the same for all its lanes, which the compiler cannot know.
  return new Kernel(kernel.name, `enable subgroups; diagnostic(off, subgroup_uniformity); ${dealt}`)
}

/**
 * Changes launches into dealt ones where their kernels have such a form. All share `counter`, 4 bytes that are zero between
 * launches; an entry point that has `maxStorages` of its own has no place for it.
 */
export function dealing(counter: Storage, maxStorages: number): (launch: Dispatch) => Dispatch {
  const forms = new WeakMap<Kernel, Kernel | false>()
  return (launch) => {
    const { pipeline, workgroups, params, storages } = launch
    const { kernel, entry, overrides, cache } = pipeline
    const [sx, sy, sz] = pipeline.workgroupSize
    if ((sx * sy * sz) % LANES !== 0 || storages.length >= maxStorages) return launch
    if (!entry.bindings.some((b) => b.access === 'uniform')) return launch
    const form = forms.get(kernel) ?? dealtForm(kernel) ?? false
    forms.set(kernel, form)
    const dealt = form ? cache.get(form, entry.name, overrides) : pipeline
    if (!dealt.entry.bindings.some((b) => b.index === COUNTER)) return launch
    const [dealX, dealY, dealZ] = workgroups
    const dealTotal = dealX * dealY * dealZ
    if (dealTotal >= MOST) return launch
    const dealTake = Math.ceil(dealTotal / TURNS)
    const turns = Math.ceil(dealTotal / dealTake)
    const threads = Math.min(turns, THREADS)
    const own = { dealX, dealY, dealZ, dealTotal, dealTake, dealLast: turns + threads - 1 }
    const withOwn = (values: ParamValues): ParamValues => ({ ...values, ...own })
    return {
      ...launch,
      pipeline: dealt,
      storages: [...storages, { index: COUNTER, storage: counter }],
      params: typeof params === 'function' ? () => withOwn(params()) : withOwn(params),
      workgroups: [threads, 1, 1],
    }
  }
}
