import { FoveaError, ShaderError } from './errors.ts'
import { SHADER_STAGE_COMPUTE } from './flags.ts'
import { type Binding, type EntryPoint, parseWgsl, type WgslMetadata } from './wgsl.ts'

/** A kernel file: its WGSL and what was read from it. Made once a file, at import. */
export class Kernel {
  readonly meta: WgslMetadata
  /** It includes parts/turns.wgsl: the launch says how many elements an invocation takes. */
  readonly takesTurns: boolean
  constructor(
    /** File name under kernels/, without ending; appears in profiles and errors. */
    readonly name: string,
    readonly source: string,
  ) {
    this.meta = parseWgsl(`kernels/${name}.wgsl`, source)
    this.takesTurns = this.meta.params.some((field) => field.name === 'turns')
  }

  #half: Kernel | undefined

  /**
   * The same kernel with its activations in half precision: `elem` and `elem4` stand for f16 and vec4h (`full` for
   * f32) instead of what the file says. Throws a FoveaError if the file has no such aliases.
   */
  get half(): Kernel {
    this.#half ??= new Kernel(`${this.name}@f16`, halfForm(this.name, this.source))
    return this.#half
  }

  entry(name: string): EntryPoint {
    const entry = this.meta.entries.get(name)
    if (entry) return entry
    const known = [...this.meta.entries.keys()].join(', ')
    throw new FoveaError(`kernels/${this.name}.wgsl has no entry point '${name}'; it has ${known}`)
  }

  /** Workgroup size of an entry point under the given overrides. */
  workgroupSize(entry: EntryPoint, overrides: Readonly<Record<string, number>>): [number, number, number] {
    const value = (text: string): number => {
      const name =
        overrides[text] ?? this.meta.overrides.get(text)?.default ?? this.meta.constants.get(text) ?? text
      const n = Number.parseInt(String(name), 10)
      if (Number.isNaN(n))
        throw new FoveaError(`kernels/${this.name}.wgsl: @workgroup_size(${text}) is not a number`)
      return n
    }
    const [x, y, z] = entry.workgroupSize
    return [value(x ?? '1'), value(y ?? '1'), value(z ?? '1')]
  }
}

/** Lines keep their numbers, so that compile errors point into the file. */
function halfForm(name: string, source: string): string {
  const text = source
    .replace(/^alias elem = \w+;/m, 'alias elem = f16;')
    .replace(/^alias elem4 = \w+;/m, 'alias elem4 = vec4h;')
    .replace(/^alias full = \w+;/m, 'alias full = f32;')
  if (text === source) {
    throw new FoveaError(
      `kernels/${name}.wgsl has no half form; cast its inputs to float32, or declare \`alias elem = f32;\` in it`,
    )
  }
  return `enable f16; ${text}`
}

/**
 * A kernel's text with arrays that its half form, too, holds in float32: those of the given names, which the file declares
 * as aliases of `elem` or `elem4`. A form of the file, called `file@form`.
 */
export const inFull = (source: string, ...names: readonly string[]): string =>
  source.replace(/^alias (\w+) = elem(4?);/gm, (line, name, four) =>
    names.includes(name) ? `alias ${name} = ${four ? 'vec4f' : 'f32'};` : line,
  )

/** Declares a kernel from its imported text: `const relu = kernel('elementwise', source)`. */
export const kernel = (name: string, source: string): Kernel => new Kernel(name, source)

/**
 * Declares a kernel of your own from its text: `const mine = kernel('mine', source)`. It is launched as it is written, which a
 * last line says (deal.ts).
 */
export const kernelAsIs = (name: string, source: string): Kernel =>
  new Kernel(name, `${source}\n// launched as it is`)

/** An entry point of a kernel under given overrides. Compiled at its first use, or ahead of it by `compile`. */
export class Pipeline {
  #gpu: GPUComputePipeline | undefined
  #ahead: Promise<void> | undefined

  constructor(
    readonly cache: PipelineCache,
    readonly kernel: Kernel,
    readonly entry: EntryPoint,
    readonly overrides: Readonly<Record<string, number>>,
    readonly layout: Layout,
    readonly workgroupSize: readonly [number, number, number],
  ) {}

  /** `file/entry`, as profiles print it. */
  get label(): string {
    return `${this.kernel.name}/${this.entry.name}`
  }

  /** The compiled pipeline. Compiles it now, which blocks, if nobody did. */
  get gpu(): GPUComputePipeline {
    this.#gpu ??= this.cache.compileNow(this)
    return this.#gpu
  }

  /** False until it is compiled, here or ahead. */
  get compiled(): boolean {
    return this.#gpu !== undefined
  }

  /** Compiles it beside others without blocking. Rejects with a ShaderError. */
  compile(): Promise<void> {
    if (this.compiled) return Promise.resolve()
    this.#ahead ??= this.cache
      .compileAhead(this)
      .then((gpu) => {
        this.#gpu ??= gpu
      })
      .finally(() => {
        this.#ahead = undefined
      })
    return this.#ahead
  }
}

interface Layout {
  readonly bind: GPUBindGroupLayout
  readonly pipeline: GPUPipelineLayout
}

const bufferType = { uniform: 'uniform', read: 'read-only-storage', read_write: 'storage' } as const

/** Makes pipelines once per (file, entry point, overrides) and shares modules and layouts between them. */
export class PipelineCache {
  readonly #modules = new Map<Kernel, GPUShaderModule>()
  readonly #messages = new Map<Kernel, Promise<string | undefined>>()
  readonly #layouts = new Map<string, Layout>()
  readonly #pipelines = new Map<Kernel, Map<string, Pipeline>>()
  #count = 0

  constructor(
    private readonly device: GPUDevice,
    private readonly onError: (pending: Promise<Error | undefined>) => void,
  ) {}

  /** Pipelines compiled so far. */
  get count(): number {
    return this.#count
  }

  get(kernel: Kernel, entryName: string, overrides: Readonly<Record<string, number>>): Pipeline {
    const byKey = this.#pipelines.get(kernel) ?? new Map<string, Pipeline>()
    this.#pipelines.set(kernel, byKey)
    const key = `${entryName} ${JSON.stringify(overrides)}`
    const pipeline = byKey.get(key) ?? this.#make(kernel, entryName, overrides)
    byKey.set(key, pipeline)
    return pipeline
  }

  #make(kernel: Kernel, entryName: string, overrides: Readonly<Record<string, number>>): Pipeline {
    const entry = kernel.entry(entryName)
    for (const name of Object.keys(overrides)) {
      if (!kernel.meta.overrides.has(name)) {
        throw new FoveaError(`kernels/${kernel.name}.wgsl has no override '${name}'`)
      }
    }
    const size = kernel.workgroupSize(entry, overrides)
    return new Pipeline(this, kernel, entry, { ...overrides }, this.#layout(entry.bindings), size)
  }

  /** Compiles while the caller waits; what the compiler says against it arrives at the next wait for the GPU. */
  compileNow(pipeline: Pipeline): GPUComputePipeline {
    this.device.pushErrorScope('validation')
    const gpu = this.device.createComputePipeline(this.#descriptor(pipeline))
    this.#count++
    const scope = this.device.popErrorScope()
    this.onError(scope.then((error) => (error ? this.#explain(pipeline, error.message) : undefined)))
    return gpu
  }

  /** Compiles on the driver's own threads. Rejects with a ShaderError. */
  async compileAhead(pipeline: Pipeline): Promise<GPUComputePipeline> {
    this.device.pushErrorScope('validation')
    const compiled = this.device.createComputePipelineAsync(this.#descriptor(pipeline))
    this.#count++
    // Handled now: where a lost device rejects it, nobody may be waiting for it.
    const scope = this.device.popErrorScope().catch(() => null)
    try {
      return await compiled
    } catch (cause) {
      const error = await scope
      throw await this.#explain(pipeline, (error ?? (cause as Error)).message)
    }
  }

  #descriptor(pipeline: Pipeline): GPUComputePipelineDescriptor {
    return {
      label: pipeline.label,
      layout: pipeline.layout.pipeline,
      compute: {
        module: this.#module(pipeline.kernel),
        entryPoint: pipeline.entry.name,
        constants: { ...pipeline.overrides },
      },
    }
  }

  #module(kernel: Kernel): GPUShaderModule {
    let module = this.#modules.get(kernel)
    if (!module) {
      module = this.device.createShaderModule({ label: `kernels/${kernel.name}.wgsl`, code: kernel.source })
      this.#modules.set(kernel, module)
    }
    return module
  }

  async #explain({ kernel, entry, label }: Pipeline, message: string): Promise<ShaderError> {
    // Asked once a kernel: Chromium 156 crashes at a later question about a module that is not valid.
    const asked = this.#messages.get(kernel) ?? compilationMessage(kernel, this.#module(kernel))
    this.#messages.set(kernel, asked)
    const at = (await asked) ?? message
    return new ShaderError(`kernels/${kernel.name}.wgsl, entry point ${entry.name}: ${at}`, { op: label })
  }

  #layout(bindings: readonly Binding[]): Layout {
    const key = bindings.map((b) => `${b.index}${b.access}`).join(' ')
    let layout = this.#layouts.get(key)
    if (!layout) {
      const bind = this.device.createBindGroupLayout({
        entries: bindings.map((b) => ({
          binding: b.index,
          visibility: SHADER_STAGE_COMPUTE,
          buffer: { type: bufferType[b.access] },
        })),
      })
      layout = { bind, pipeline: this.device.createPipelineLayout({ bindGroupLayouts: [bind] }) }
      this.#layouts.set(key, layout)
    }
    return layout
  }
}

/** First compile error as `file:line:column message` with the source line under it (in pages kernels are a line: what is near). */
async function compilationMessage(kernel: Kernel, module: GPUShaderModule): Promise<string | undefined> {
  const info = await module.getCompilationInfo()
  const error = info.messages.find((m) => m.type === 'error')
  if (!error) return undefined
  const { lineNum, linePos, message } = error
  const near = kernel.source.split('\n')[lineNum - 1]?.slice(Math.max(0, linePos - 99), linePos + 99)
  return `kernels/${kernel.name}.wgsl:${lineNum}:${linePos} ${message}\n    ${near?.trim()}`
}
