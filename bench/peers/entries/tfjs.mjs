/**
 * What training and running a U-Net takes of TensorFlow.js: esbuild bundles this for tfjs.mjs (Node cannot import
 * the files that hold the gradients) and bundle-size.mjs weighs it. Gradients and operations by name, so that the
 * rest falls away; the WebGPU backend registers all its kernels, as its documentation has users import it.
 */
import '@tensorflow/tfjs-backend-webgpu'
import { registerGradient } from '@tensorflow/tfjs-core'
import { addGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Add_grad.js'
import { castGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Cast_grad.js'
import { concatGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Concat_grad.js'
import { conv2DGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Conv2D_grad.js'
import { conv2DBackpropInputGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Conv2DBackpropInput_grad.js'
import { fusedBatchNormGradConfig } from '@tensorflow/tfjs-core/dist/gradients/FusedBatchNorm_grad.js'
import { maxPoolGradConfig } from '@tensorflow/tfjs-core/dist/gradients/MaxPool_grad.js'
import { meanGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Mean_grad.js'
import { multiplyGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Multiply_grad.js'
import { divGradConfig } from '@tensorflow/tfjs-core/dist/gradients/RealDiv_grad.js'
import { reluGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Relu_grad.js'
import { reshapeGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Reshape_grad.js'
import { sigmoidGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Sigmoid_grad.js'
import { squareGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Square_grad.js'
import { subGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Sub_grad.js'
import { sumGradConfig } from '@tensorflow/tfjs-core/dist/gradients/Sum_grad.js'

for (const gradient of [
  addGradConfig,
  castGradConfig,
  concatGradConfig,
  conv2DBackpropInputGradConfig,
  conv2DGradConfig,
  divGradConfig,
  fusedBatchNormGradConfig,
  maxPoolGradConfig,
  meanGradConfig,
  multiplyGradConfig,
  reluGradConfig,
  reshapeGradConfig,
  sigmoidGradConfig,
  squareGradConfig,
  subGradConfig,
  sumGradConfig,
])
  registerGradient(gradient)

export {
  AdamOptimizer,
  abs,
  add,
  backend,
  batchNorm,
  concat,
  conv2d,
  conv2dTranspose,
  div,
  engine,
  maxPool,
  mean,
  moments,
  mul,
  ones,
  ready,
  relu,
  setBackend,
  sigmoid,
  sub,
  sum,
  tensor1d,
  tensor4d,
  tidy,
  transpose,
  variable,
  zeros,
} from '@tensorflow/tfjs-core'
