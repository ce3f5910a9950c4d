/** The workload as ONNX models, made when they are needed. Names of the input and output: x, y. */
import onnxProto from 'onnx-proto'
import { BATCH_NORM, CONV, UNET, unetLayers, unetWeights } from './workload.mjs'

const { onnx } = onnxProto
const { FLOAT } = onnx.TensorProto.DataType
const OPSET = 17

/** A graph under construction: `node` adds an operation and returns its output's name, `weight` an initializer. */
function graph() {
  const node = []
  const initializer = []
  return {
    node(opType, inputs, output, attributes = {}) {
      const attribute = Object.entries(attributes).map(([name, value]) =>
        Array.isArray(value)
          ? { name, type: onnx.AttributeProto.AttributeType.INTS, ints: value }
          : Number.isInteger(value)
            ? { name, type: onnx.AttributeProto.AttributeType.INT, i: value }
            : { name, type: onnx.AttributeProto.AttributeType.FLOAT, f: value },
      )
      node.push({ opType, name: output, input: inputs, output: [output], attribute })
      return output
    },
    weight(name, values, dims) {
      initializer.push({ name, dataType: FLOAT, dims, rawData: new Uint8Array(values.buffer) })
      return name
    },
    /** The model's bytes. */
    model(inputShape, outputShape) {
      const value = (name, shape) => ({
        name,
        type: { tensorType: { elemType: FLOAT, shape: { dim: shape.map((dimValue) => ({ dimValue })) } } },
      })
      const model = {
        irVersion: 8,
        opsetImport: [{ domain: '', version: OPSET }],
        graph: {
          name: 'fovea',
          node,
          initializer,
          input: [value('x', inputShape)],
          output: [value('y', outputShape)],
        },
      }
      return onnx.ModelProto.encode(onnx.ModelProto.fromObject(model)).finish()
    },
  }
}

const CONV3 = { kernel_shape: [3, 3], pads: [1, 1, 1, 1] }

export function convModel(weight) {
  const { batch, channels, filters, size, kernel } = CONV
  const g = graph()
  g.node('Conv', ['x', g.weight('weight', weight, [filters, channels, kernel, kernel])], 'y', CONV3)
  return g.model([batch, channels, size, size], [batch, filters, size, size])
}

export function unetModel() {
  const g = graph()
  const weights = unetWeights()
  const layers = new Map(unetLayers().map((layer) => [layer.name, layer]))

  function conv(opType, x, name, attributes) {
    const { input, output, size, kind } = layers.get(name)
    const { weight, bias } = weights.get(name)
    const channels = kind === 'up' ? [input, output] : [output, input]
    const inputs = [x, g.weight(`${name}.weight`, weight, [...channels, size, size])]
    if (bias) inputs.push(g.weight(`${name}.bias`, bias, [output]))
    return g.node(opType, inputs, name, attributes)
  }

  function norm(x, name) {
    const { output } = layers.get(name)
    const { scale, shift } = weights.get(name)
    const inputs = [
      g.weight(`${name}.weight`, scale, [output]),
      g.weight(`${name}.bias`, shift, [output]),
      g.weight(`${name}.running_mean`, new Float32Array(output), [output]),
      g.weight(`${name}.running_var`, new Float32Array(output).fill(1), [output]),
    ]
    return g.node('BatchNormalization', [x, ...inputs], name, { epsilon: BATCH_NORM.epsilon })
  }

  function block(x, name) {
    for (const half of [1, 2]) {
      x = norm(conv('Conv', x, `${name}.conv${half}`, CONV3), `${name}.norm${half}`)
      x = g.node('Relu', [x], `${name}.relu${half}`)
    }
    return x
  }

  const skips = []
  let x = 'x'
  for (let level = 1; level <= UNET.levels; level++) {
    skips.push(block(x, `encoder${level}`))
    x = g.node('MaxPool', [skips.at(-1)], `pool${level}`, { kernel_shape: [2, 2], strides: [2, 2] })
  }
  x = block(x, 'bottleneck')
  for (let level = UNET.levels; level >= 1; level--) {
    x = conv('ConvTranspose', x, `upconv${level}`, { kernel_shape: [2, 2], strides: [2, 2] })
    x = block(g.node('Concat', [x, skips[level - 1]], `concat${level}`, { axis: 1 }), `decoder${level}`)
  }
  g.node('Sigmoid', [conv('Conv', x, 'conv', { kernel_shape: [1, 1] })], 'y')
  const { batch, channels, size } = UNET
  return g.model([batch, channels, size, size], [batch, 1, size, size])
}
