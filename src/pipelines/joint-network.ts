import type { Tensor } from '../autograd/tensor.ts'
import { Module } from '../nn/module.ts'
import type { Segment } from './inference.ts'

/** Two or more whole networks that are trained as one. Its weights are named `PART.…`. */
export abstract class JointNetwork<Parts extends Readonly<Record<string, Module>>> extends Module {
  override readonly leastTrainingBatch: number

  /** @param networks belong to this module from now on */
  constructor(readonly networks: Parts) {
    super()
    for (const [name, net] of Object.entries(networks)) this.part(name, net)
    this.leastTrainingBatch = Math.max(...Object.values(networks).map((net) => net.leastTrainingBatch))
    // Each network named its weights by itself; optimisers and checkpoints want them apart.
    for (const [name, t] of [...this.namedParameters(), ...this.namedBuffers()]) t.name = name
  }

  /** One of them as a function, with this module's activation checkpointing. */
  protected forwardOf(name: keyof Parts): Segment {
    const net = this.networks[name]!
    return (input) => {
      net.activationCheckpointing = this.activationCheckpointing
      return net.forward(input) as Tensor
    }
  }
}
