#!/usr/bin/env bash
# Packs what a bare x86-64 Linux machine with a graphics processor needs to run bench/gpu/measure.mjs: Node, the
# Vulkan and EGL loaders, the packages that the tests and the bench use, and dist/.
#
#   bash bench/gpu/pack.sh         here, on x86-64 Debian or Ubuntu; leaves .gpu/ (copy the repository with it)
#   source .gpu/enter.sh           there, as root, in the repository; then node bench/gpu/measure.mjs
#
# The graphics driver itself (NVIDIA's libraries, and its Vulkan manifest) has to be there, and for the comparison
# a python3 with PyTorch.
set -euo pipefail
cd "$(dirname "$0")/../.."
[ "$(uname -sm)" = 'Linux x86_64' ] || { echo 'pack.sh: it packs for Linux on x86-64 and runs only there' >&2; exit 1; }
command -v apt-get > /dev/null || { echo 'pack.sh: the loaders come by apt-get download: run it on Debian or Ubuntu' >&2; exit 1; }
[ -d node_modules ] || npm ci
npm run --silent build
mkdir -p .gpu/debs
[ -s .gpu/node.xz ] || xz -T0 -6 -c "$(readlink -f "$(command -v node)")" > .gpu/node.xz
ls .gpu/debs/*.deb > /dev/null 2>&1 || (cd .gpu/debs && apt-get download libvulkan1 libegl1 libglvnd0 libopengl0 libgl1 libglx0 libgles2)
# Neither linters and the browser nor Dawn for other systems. (Tests in pages are skipped without a browser, but want Playwright's code.)
tar --exclude='node_modules/@biomejs' --exclude='node_modules/@typescript' --exclude='node_modules/knip' \
  --exclude='chromium.br' --exclude='webgpu/dist/darwin*' --exclude='webgpu/dist/win32*' \
  --exclude='webgpu/dist/*arm64' --exclude='*.map' -c node_modules dist | xz -T0 -6 > .gpu/packages.tar.xz
cat > .gpu/enter.sh <<'S'
# source this in the repository on the machine with the graphics processor
for f in .gpu/debs/*.deb; do dpkg -x "$f" /; done; ldconfig
mkdir -p "$HOME/node/bin" && xz -dc .gpu/node.xz > "$HOME/node/bin/node" && chmod +x "$HOME/node/bin/node"
export PATH="$HOME/node/bin:$PATH" XDG_RUNTIME_DIR="${XDG_RUNTIME_DIR:-$HOME}"
[ -d node_modules/webgpu ] || tar -xJf .gpu/packages.tar.xz
# Containers of NVIDIA's mount the manifest where the Vulkan loader does not look.
[ -f /usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json ] && export VK_DRIVER_FILES=/usr/local/nvidia/share/vulkan/icd.d/nvidia_icd.json
node --version && node dist/cli.js devices
S
du -sh .gpu
