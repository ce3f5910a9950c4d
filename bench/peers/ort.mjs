/**
 * ONNX Runtime on its own WebGPU provider (native, its own Dawn, the same driver). It has no training, and counts
 * cannot be taken: its calls do not pass through JavaScript. Prints one JSON line; see README.md.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { measure, packageVersion, probeAdapter, report } from './measure.mjs'
import { convModel, unetModel } from './onnx.mjs'
import { CONV, convData, ITEMS, meanAbs, UNET, unetBatch } from './workload.mjs'

/** Loads a model through a temporary file, with every node on WebGPU: a fall-back to the CPU is an error. */
async function session(model) {
  const folder = mkdtempSync(join(tmpdir(), 'fovea-peers-'))
  const file = join(folder, 'model.onnx')
  try {
    writeFileSync(file, model)
    return await ort.InferenceSession.create(file, {
      executionProviders: ['webgpu'],
      extra: { session: { disable_cpu_ep_fallback: '1' } },
      logSeverityLevel: 3,
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

/** A run uploads the input, computes, and reads the output back: outputs stay on the CPU in onnxruntime-node. */
async function time(name, model, values, shape) {
  const loaded = await session(model)
  const feeds = { x: new ort.Tensor('float32', values, shape) }
  const result = await measure(name, () => loaded.run(feeds))
  const { y } = await loaded.run(feeds)
  await loaded.release()
  return { ...result, check: [meanAbs(y.data)] }
}

function conv(name) {
  const { x, weight } = convData()
  return time(name, convModel(weight), x, [CONV.batch, CONV.channels, CONV.size, CONV.size])
}

function inference(name) {
  const { images } = unetBatch()
  return time(name, unetModel(), images, [UNET.batch, UNET.channels, UNET.size, UNET.size])
}

await report('onnxruntime-node WebGPU', packageVersion('onnxruntime-node'), await probeAdapter(), [
  [ITEMS.conv, conv],
  [ITEMS.inference, inference],
])
