import type { AdapterKind } from './dawn.ts'

const LAVAPIPE =
  'as root run scripts/install-lavapipe.sh (Debian, Ubuntu; Debian 12 needs Mesa from bookworm-backports), ' +
  '`dnf install mesa-vulkan-drivers` (Fedora) or `pacman -S vulkan-swrast` (Arch)'

const CARD =
  "its Vulkan driver (NVIDIA: NVIDIA's own driver; AMD and Intel: mesa-vulkan-drivers; in a container also " +
  'pass the device, `--gpus all` or `--device /dev/dri`)'

/** What to install where nothing was found, as a sentence for this platform (`process.platform`). */
export function installAdvice(platform: string = process.platform): string {
  if (platform === 'linux') {
    return (
      `Install one of: for a graphics processor, ${CARD}; for the CPU, lavapipe: ${LAVAPIPE}; ` +
      'or, without root on x64, `npm install @sparticuz/chromium@143`, from which fovea takes SwiftShader.'
    )
  }
  if (platform === 'darwin') {
    return (
      'fovea needs Metal: macOS 12 or newer on a Mac with Apple silicon or a Metal 2 graphics processor; ' +
      'virtual machines often lack it. Update macOS, or run on the host.'
    )
  }
  if (platform === 'win32') {
    return (
      'fovea needs Direct3D 12: Windows 10 or newer with a current driver from NVIDIA, AMD or Intel; ' +
      'in a virtual machine or over remote desktop pass the graphics processor through, or use WSL 2.'
    )
  }
  return `Dawn has no build for ${platform}; run fovea on Linux, macOS or Windows, or in a browser.`
}

/** How to get a faster adapter than one of this kind on this platform, as a sentence. */
export function fasterAdvice(kind: AdapterKind, platform: string = process.platform): string {
  if (kind === 'hardware') return 'This is the fastest kind of adapter.'
  if (kind === 'lavapipe') return `lavapipe computes on the CPU. With a graphics processor, install ${CARD}.`
  if (kind === 'swiftshader') {
    const faster = 'SwiftShader computes on the CPU, ten times slower than lavapipe or more.'
    if (platform !== 'linux') return faster
    return `${faster} To get lavapipe, ${LAVAPIPE}. With a graphics processor, install ${CARD}.`
  }
  return `WARP computes on the CPU. ${installAdvice(platform)}`
}
