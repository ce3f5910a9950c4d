/**
 * Choices that fovea ships, by a part of the adapter's name and by key: where a measurement found another
 * candidate clearly faster than the first. Written by scripts/tuner-defaults.mjs.
 */
export const TUNER_DEFAULTS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  llvmpipe: {
    'conv2d.forward 4x512x1x1 to 256x1x1, kernel 1x1, stride 1x1, padding 0x0, dilation 1x1, groups 1':
      'tile',
    'conv2d.inputGrad 4x512x1x1 to 256x1x1, kernel 1x1, stride 1x1, padding 0x0, dilation 1x1, groups 1':
      'direct',
    'conv2d.weightGrad 4x16x4x4 to 32x4x4, kernel 1x1, stride 1x1, padding 0x0, dilation 1x1, groups 1':
      'lanes',
    'conv2d.weightGrad 4x1x16x16 to 32x16x16, kernel 1x1, stride 1x1, padding 0x0, dilation 1x1, groups 1':
      'depthwise',
  },
  swiftshader: {
    'conv2d.weightGrad 4x1x64x64 to 8x64x64, kernel 3x3, stride 1x1, padding 1x1, dilation 1x1, groups 1':
      'tile3x3',
  },
}
