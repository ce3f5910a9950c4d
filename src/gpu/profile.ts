/** What one kernel took, summed over its launches. */
export interface KernelProfile {
  readonly kernel: string
  readonly op: string
  readonly launches: number
  readonly ms: number
  /** Part of the sum over all kernels, 0 to 1. */
  readonly share: number
  /** 0 where the op states no operation count. */
  readonly gflops: number
  /** Bytes bound divided by time: what it would be if each byte were touched once. */
  readonly gbs: number
}

/** One launch of a kernel, in the order of submission. */
export interface LaunchProfile {
  readonly kernel: string
  readonly op: string
  readonly ms: number
  readonly flops: number
  /** Bytes of the tensors bound, each tensor once. */
  readonly bytes: number
}

export interface Profile {
  readonly adapter: string
  /** 'timestamps' of the GPU, or 'wall': each kernel was submitted and awaited alone. */
  readonly clock: 'timestamps' | 'wall'
  readonly kernels: readonly KernelProfile[]
  readonly launches: readonly LaunchProfile[]
  readonly totalMs: number
  readonly dispatches: number
  readonly submissions: number
  readonly bytesHeld: number
}

/** A profile as a table for a terminal. */
export function formatProfile(profile: Profile): string {
  const lines = [
    `${profile.adapter} · ${profile.clock} · ${profile.totalMs.toFixed(2)} ms in kernels · ${profile.dispatches} dispatches · ` +
      `${profile.submissions} submissions · ${(profile.bytesHeld / 2 ** 20).toFixed(1)} MB held`,
    `${'kernel'.padEnd(44)}${'op'.padEnd(26)}${'launches'.padStart(9)}${'ms'.padStart(11)}${'share'.padStart(8)}${'GFLOP/s'.padStart(9)}${'GB/s'.padStart(8)}`,
  ]
  for (const k of profile.kernels) {
    lines.push(
      k.kernel.padEnd(44) +
        k.op.padEnd(26) +
        String(k.launches).padStart(9) +
        k.ms.toFixed(3).padStart(11) +
        `${(100 * k.share).toFixed(1)} %`.padStart(8) +
        (k.gflops > 0 ? k.gflops.toFixed(2) : '–').padStart(9) +
        k.gbs.toFixed(2).padStart(8),
    )
  }
  return lines.join('\n')
}
