import { join } from 'node:path'
import type { Device } from '../autograd/device.ts'
import { shareOf } from '../data/split.ts'
import { CheckpointError, listed, WeightsMismatchError } from '../gpu/errors.ts'
import type { Module } from '../nn/module.ts'
import { cosineSchedule } from '../nn/optim/schedulers.ts'
import { loadPretrained } from '../node/pretrained.ts'
import { RunFolder } from '../node/run-folder.ts'
import { readWeights } from '../node/safetensors.ts'
import { readCheckpoint } from '../pipelines/checkpoint.ts'
import type { JointNetwork } from '../pipelines/joint-network.ts'
import type { RecoveringDevice } from '../pipelines/recover.ts'
import { type NetworkOutput, type TrainResult, train } from '../pipelines/training.ts'
import { Interrupted, type RunHost } from './host.ts'
import { type MethodName, methodOf } from './methods/index.ts'
import type { NetworkPlan, Networks } from './methods/method.ts'
import { kindOf, type NetworkKind } from './network-kinds.ts'
import { type DataPlan, networkFolder } from './plan.ts'
import { epochsFor, type Settings } from './settings.ts'

/** A network of a run and how its training went. */
export interface TrainedNetwork extends TrainResult {
  readonly name: string
  readonly title: string
  /** What its history holds. */
  readonly lossName: string
  readonly scoreName: string
  /** The network whose weights it began from. */
  readonly from?: NonNullable<NetworkPlan['from']>
  readonly seconds: number
}

export interface RunContext {
  readonly host: RunHost
  /** The run's folder. */
  readonly out: string
  readonly settings: Settings
  readonly device: RecoveringDevice
  /** In training. */
  readonly activationCheckpointing?: boolean
}

/** Loads the best weights that a run has for one of its networks. Throws a CheckpointError that says what to do. */
async function loadBest(device: Device, net: Module, out: string, folder: string): Promise<void> {
  const file = join(folder, 'best.safetensors')
  try {
    await readCheckpoint(device, await readWeights(file), file, net)
  } catch (cause) {
    if (cause instanceof WeightsMismatchError) {
      throw new CheckpointError(
        `${file}: the weights are not those of the network that ${join(out, 'config.json')} describes ` +
          `(${listed(cause.differences, 2)}); put back the file that belongs to it`,
        { cause },
      )
    }
    const missing = ((cause as Error).cause as NodeJS.ErrnoException | undefined)?.code === 'ENOENT'
    if (!missing) throw cause
    throw new CheckpointError(
      `${file} is not there: this network of the run was not trained yet. Run the fovea train command of ${out} again`,
      { cause },
    )
  }
}

const kindFor = (network: NetworkPlan, settings: Settings): NetworkKind =>
  network.kind ?? kindOf(settings.network)

/** Fills a network with the best weights of the one that it starts from, or its parts with those of one each. */
async function begin(
  device: Device,
  net: Module,
  { out, settings }: RunContext,
  plan: DataPlan,
  { from, receive }: NetworkPlan,
): Promise<void> {
  if (typeof from === 'object') {
    const { networks } = net as JointNetwork<Networks>
    for (const [part, name] of Object.entries(from))
      await loadBest(device, networks[part]!, out, networkFolder(out, plan.name, name))
    return
  }
  const folder = networkFolder(out, plan.name, from!)
  if (!receive) return loadBest(device, net, out, folder)
  const earlier = methodOf(plan.method)
    .networks(settings)
    .find((n) => n.name === from)!
  const { features, seed } = settings
  const source = kindFor(earlier, settings).build(device, {
    inChannels: plan.dataset.channels,
    features,
    seed,
  })
  try {
    await loadBest(device, source, out, folder)
    receive(net, source)
  } finally {
    if (!device.lost) source.dispose()
  }
}

/** Fills a network from the file of `--pretrained` and says what fitted. Throws a CheckpointError where nothing did. */
async function pretrain(net: Module, file: string, host: RunHost): Promise<void> {
  const { matched, skipped, kept } = await loadPretrained(net, file, { extraChannels: 'zero' })
  const because = skipped[0] ? ` (${skipped[0].name}: ${skipped[0].why})` : ''
  host.note(
    `${file}: ${matched.length} weights taken, ${skipped.length} skipped${because}, ${kept.length} stay as they begin\n`,
  )
}

/**
 * Trains one network of a data set, or goes on with it, until it is done; a lost device is opened anew and
 * training goes on from the last checkpoint. Throws Interrupted after Ctrl-C.
 */
export async function trainNetwork(
  context: RunContext,
  plan: DataPlan,
  network: NetworkPlan,
): Promise<TrainedNetwork> {
  const { host, out, settings, device: recovering } = context
  const { size, features, schedule, weightDecay, seed, share, augment, pretrained } = settings
  const lr = settings.lr * (network.learningRate ?? 1)
  const { batch = settings.batch } = network
  const precision = settings.precision ? { precision: settings.precision } : {}
  const folder = networkFolder(out, plan.name, network.name)
  const images = shareOf(plan.train, share, seed)
  const samples = (await network.trainOf?.(images)) ?? images
  const validation = (await network.validationOf?.(plan.validation)) ?? plan.validation
  // By objects, an epoch is longer, and fewer are as many images.
  const epochs =
    (network.epochs ?? 1) * epochsFor(network.trainOf ? samples.length : plan.train.length * share, settings)
  const { channels: inChannels } = plan.dataset
  const kind = kindFor(network, settings)
  const store = await RunFolder.open(folder, {
    network: kind.network,
    task: network.task.name,
    ...(network.from ? { from: network.from } : pretrained && !network.kind ? { pretrained } : {}),
    ...{
      channels: inChannels,
      size,
      features,
      epochs,
      batch,
      lr,
      schedule,
      weightDecay,
      seed,
      share,
      augment,
    },
    ...precision,
  })
  const title = `${plan.name}, ${network.title}`
  const { lossOf } = network
  const { loss, score, lossName = 'soft Dice loss', scoreName = 'DSC' } = network.measure ?? {}
  const display = await host.display(title, epochs, scoreName)
  try {
    const result = await recovering.run(async (device) => {
      const net = kind.build(device, { inChannels, features, seed })
      net.activationCheckpointing = context.activationCheckpointing ?? false
      try {
        if (network.from) await begin(device, net, context, plan, network)
        else if (pretrained && !network.kind) await pretrain(net, pretrained, host)
        return await train<NetworkOutput>(net, device, {
          task: network.task,
          train: samples,
          validation,
          ...{ epochs, lr, weightDecay, seed, store, ...precision },
          batchSize: batch,
          ...(lossOf || loss ? { loss: lossOf?.(net) ?? loss! } : {}),
          ...(score ? { score } : {}),
          ...(settings.patience === null ? {} : { patience: settings.patience }),
          ...(schedule === 'cosine' ? { schedule: cosineSchedule({ epochs }) } : {}),
          ...(settings.plateau === null ? {} : { plateau: settings.plateau }),
          signal: host.signal,
          onStart: display.start,
          onFirstStep: display.firstStep,
          onProgress: display.progress,
          onEpoch: display.epoch,
        })
      } finally {
        if (!device.lost) net.dispose()
      }
    })
    const seconds = result.history.reduce((sum, m) => sum + m.seconds, 0)
    const { name, from } = network
    if (!result.interrupted)
      return {
        ...result,
        name,
        title: network.title,
        lossName,
        scoreName,
        ...(from ? { from } : {}),
        seconds,
      }
  } finally {
    display.end()
  }
  throw new Interrupted(
    `stopped while training ${title}; its checkpoint is in ${folder}. Run the same command again to go on`,
  )
}

/** Runs `use` with the best weights of a method's networks; again on a new device if one was lost. */
export function withNetworks<R>(
  context: RunContext,
  data: { readonly name: string; readonly method: MethodName; readonly channels: number },
  use: (device: Device, nets: Networks) => Promise<R>,
): Promise<R> {
  const { out, settings, host } = context
  return context.device.run(async (device) => {
    if (host.signal.aborted) throw new Interrupted('stopped; every checkpoint is whole')
    const nets: Record<string, Module> = {}
    try {
      const { features, seed } = settings
      for (const network of methodOf(data.method).networks(settings)) {
        const { name } = network
        nets[name] = kindFor(network, settings).build(device, { inChannels: data.channels, features, seed })
        await loadBest(device, nets[name], out, networkFolder(out, data.name, name))
        nets[name].eval()
      }
      return await use(device, nets)
    } catch (error) {
      if (!host.signal.aborted || error !== host.signal.reason) throw error
      throw new Interrupted('stopped while scoring; every checkpoint is whole, the same command scores again')
    } finally {
      if (!device.lost) for (const net of Object.values(nets)) net.dispose()
    }
  })
}
