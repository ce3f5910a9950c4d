import { formatBytes } from '../gpu/bytes.ts'
import type { RunHost, TrainingDisplay } from '../runs/host.ts'
import type { Io } from './io.ts'

const seconds = (s: number): string =>
  !Number.isFinite(s)
    ? '?'
    : s < 90
      ? `${Math.ceil(s)} s`
      : s < 5400
        ? `${Math.ceil(s / 60)} min`
        : `${(s / 3600).toFixed(1)} h`

const score = (v: number | undefined): string => (v === undefined ? '–' : v.toFixed(3))

/** A command as the host of its run. */
export const runHost = (io: Io): RunHost => ({
  note: (text) => io.err(text),
  display: (title, epochs, name) => trainingDisplay(io, title, epochs, name),
  signal: io.signal,
})

/** A bar on a terminal; elsewhere a line an epoch. Both on standard error. */
async function trainingDisplay(
  io: Io,
  title: string,
  epochs: number,
  name: string,
): Promise<TrainingDisplay> {
  if (!io.terminal) return lines(io, title, epochs, name)
  const { default: library } = await import('cli-progress')
  const bar = new library.SingleBar({
    format: `${title}  {bar} epoch {epoch}  loss {loss}  ${name} {score}  {speed} images/s  {left} left  {memory}`,
    stream: process.stderr,
    hideCursor: true,
    fps: 5,
  })
  const unknown = { epoch: `0/${epochs}`, loss: '–', score: '–', speed: '–', memory: '' }
  const payload = { ...unknown, left: 'compiling kernels, ?' }
  let running = true
  bar.start(epochs, 0, payload)
  return {
    start: ({ peak }) => bar.update(0, { memory: `${formatBytes(peak)} on the GPU` }),
    firstStep: () => undefined,
    progress(p) {
      bar.update(p.epoch - 1 + p.step / p.steps, {
        epoch: `${p.epoch}/${p.epochs}`,
        loss: score(p.loss),
        score: score(p.validationScore),
        speed: p.imagesPerSecond.toFixed(1),
        left: seconds(p.secondsLeft),
      })
    },
    epoch: () => undefined,
    end() {
      if (running) bar.stop()
      running = false
    },
  }
}

function lines(io: Io, title: string, epochs: number, name: string): TrainingDisplay {
  let left = Number.NaN
  return {
    start: ({ step, peak }) =>
      io.err(
        `${title}: takes ${formatBytes(peak)} on the GPU, ${formatBytes(step.intermediates.planned)} of it for intermediates\n`,
      ),
    firstStep: (s) =>
      io.err(`${title}: first step after ${s.seconds.toFixed(1)} s, ${s.pipelines} kernels compiled\n`),
    progress: (p) => {
      left = p.secondsLeft
    },
    epoch: (m) =>
      io.err(
        `${title}: epoch ${m.epoch}/${epochs}, loss ${score(m.trainLoss)}, ${name} ${score(m.validationScore)}, ` +
          `${m.imagesPerSecond.toFixed(1)} images/s, ${seconds(left)} left\n`,
      ),
    end: () => undefined,
  }
}
