/** What training and running a U-Net takes of jax-js; jaxjs.mjs uses the same names, bundle-size.mjs weighs this. */
export { blockUntilReady, defaultDevice, init, jit, lax, nn, numpy, tree, valueAndGrad } from '@jax-js/jax'
