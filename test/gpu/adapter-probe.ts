import { selfCheck } from '../../src/gpu/selfcheck.ts'
import { findAdapter } from '../../src/node/adapters.ts'

/** Run as a process of its own: prints, as JSON, what `findAdapter` gives for the first argument. */
const choice = process.argv[2] === '' ? undefined : process.argv[2]
const answer = await findAdapter({ adapter: choice })
  .then(async ({ adapter, kind, reason }) => {
    const device = await adapter.requestDevice()
    await selfCheck(device, kind)
    device.destroy()
    return { kind, reason }
  })
  .catch((error: Error) => ({ error: `${error.name}: ${error.message}` }))
process.stdout.write(`${JSON.stringify(answer)}\n`)
