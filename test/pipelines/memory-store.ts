import type { CheckpointStore } from '../../src/pipelines/checkpoint.ts'

/** A run folder in memory that remembers every write. */
export class MemoryStore implements CheckpointStore {
  readonly files = new Map<string, Uint8Array>()
  readonly writes: string[] = []
  lines: number[] = []

  async read(name: 'last' | 'best') {
    return this.files.get(name)
  }

  async write(name: 'last' | 'best', bytes: Uint8Array) {
    this.files.set(name, bytes)
    this.writes.push(name)
  }

  async addMetrics({ epoch }: { epoch: number }) {
    this.lines.push(epoch)
  }

  async keepMetrics(epochs: number) {
    this.lines = this.lines.slice(0, epochs)
  }
}
