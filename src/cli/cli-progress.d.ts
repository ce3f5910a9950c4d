/** The part of npm `cli-progress` that fovea uses; the package has no types of its own. */
declare module 'cli-progress' {
  export class SingleBar {
    constructor(options: {
      format: string
      stream: NodeJS.WritableStream
      hideCursor?: boolean
      clearOnComplete?: boolean
      fps?: number
    })
    start(total: number, value: number, payload: Record<string, string>): void
    update(value: number, payload: Record<string, string>): void
    stop(): void
  }
  const exported: { SingleBar: typeof SingleBar }
  export default exported
}
