/**
 * Dawn's Node binding has no thread that waits for the GPU. While anything is pending it asks the driver in
 * an endless row of `setImmediate`: one core is busy with asking (200 times a millisecond, each time with a
 * new function to be collected), which a driver on the CPU then lacks for computing. Here Dawn gets a slower
 * `setImmediate`: after a moment of asking without a pause it asks ever more rarely, at last every three
 * milliseconds. (A question takes 20 to 40 µs of a core, which on two cores is 2 % of a training step where it is
 * asked every millisecond.)
 *
 * Dawn looks `setImmediate` up on the global object whenever something becomes pending and again in each
 * asking. It is exchanged for the length of exactly these calls, all synchronous, so that no other code
 * ever sees another `setImmediate` than the host's.
 */

/** Milliseconds of asking without a pause after the last call: the shortest kernels are answered at once. */
const EAGER_MS = 0.1
/** The pause before the next question, as a part of the time since the last call. */
const LATE = 1 / 16
/** Milliseconds of the longest pause. */
const PAUSE_MS = 3
/** Pauses from here on are kept by timers, and the host's events need not wait. Windows sleeps no part of a millisecond. */
const TIMERS_FROM_MS = process.platform === 'win32' ? LATE : 1

/** Methods of Dawn's prototypes that leave something pending. */
const ASYNCHRONOUS: Readonly<Record<string, readonly string[]>> = {
  GPU: ['requestAdapter'],
  GPUAdapter: ['requestDevice'],
  GPUBuffer: ['mapAsync'],
  GPUDevice: ['createComputePipelineAsync', 'createRenderPipelineAsync', 'destroy', 'popErrorScope'],
  GPUQueue: ['onSubmittedWorkDone'],
  GPUShaderModule: ['getCompilationInfo'],
}

type Ask = () => void

const { setImmediate, setTimeout, clearTimeout } = globalThis

/** Nobody wakes who sleeps here. */
const bed = new Int32Array(new SharedArrayBuffer(4))

let lastCall = 0
/** Questions of Dawn's (one for each of its instances) that wait for their time. */
const paused = new Map<Ask, NodeJS.Timeout>()

function pace(ask: Ask): void {
  const waited = performance.now() - lastCall
  const pause = waited < EAGER_MS ? 0 : waited * LATE
  if (pause >= TIMERS_FROM_MS) paused.set(ask, setTimeout(resume, Math.min(pause, PAUSE_MS), ask))
  else setImmediate(pause > 0 ? sleepAndAsk : withPace, ask, pause)
}

function sleepAndAsk(ask: Ask, pause: number): void {
  Atomics.wait(bed, 0, 0, pause)
  withPace(ask)
}

function resume(ask: Ask): void {
  paused.delete(ask)
  withPace(ask)
}

/** Something new is pending: asks at once, and for a moment without a pause. */
function hurry(): void {
  lastCall = performance.now()
  for (const [ask, timer] of paused) {
    clearTimeout(timer)
    setImmediate(withPace, ask)
  }
  paused.clear()
}

/** Runs a synchronous call of Dawn's with the slower `setImmediate`. */
function withPace<R>(call: () => R): R {
  const host = globalThis.setImmediate
  globalThis.setImmediate = pace as unknown as typeof setImmediate
  try {
    return call()
  } finally {
    globalThis.setImmediate = host
  }
}

const PACED = Symbol.for('fovea.paced')

/** Slows the questions of this Dawn; `globals` are its classes by name. Once a process. */
export function paceDawn(globals: Readonly<Record<string, unknown>>): void {
  for (const [name, methods] of Object.entries(ASYNCHRONOUS)) {
    const prototype = (globals[name] as { prototype?: Record<PropertyKey, unknown> } | undefined)?.prototype
    if (!prototype || prototype[PACED]) continue
    for (const method of methods) {
      const original = prototype[method]
      if (typeof original !== 'function') continue
      prototype[method] = function (this: unknown, ...args: unknown[]) {
        hurry()
        return withPace(() => original.apply(this, args))
      }
    }
    prototype[PACED] = true
  }
}
