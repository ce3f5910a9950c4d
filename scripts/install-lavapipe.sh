#!/bin/sh
# Installs lavapipe, Mesa's Vulkan driver for the CPU, on Debian and Ubuntu where this runs as root.
# fovea works without it (SwiftShader), about five times slower. Dawn wants Mesa 23 or newer; Debian 12 has
# it in backports only. Run it as often as you like: it never fails a build, and is quick once all is there.
#
#   sh scripts/install-lavapipe.sh
set -u
export DEBIAN_FRONTEND=noninteractive
least=23
list=/etc/apt/sources.list.d/fovea-backports.list

leave() { echo "lavapipe: $*"; exit 0; }
enough() { [ -n "$1" ] && dpkg --compare-versions "$1" ge "$least"; }
installed() { dpkg-query -W -f '${db:Status-Status} ${Version}\n' "$1" 2>/dev/null | sed -n 's/^installed //p' | head -n 1; }
candidate() { apt-cache policy mesa-vulkan-drivers 2>/dev/null | sed -n 's/^ *Candidate: //p' | grep -v none; }
offered() { apt-cache madison mesa-vulkan-drivers 2>/dev/null | grep -qF " $codename-backports/"; }

command -v apt-get >/dev/null 2>&1 && command -v dpkg-query >/dev/null 2>&1 ||
  leave "this is not Debian or Ubuntu; install Mesa's Vulkan drivers with your package manager"
present=$(installed mesa-vulkan-drivers)
if enough "$present" && [ -n "$(installed libvulkan1)" ]; then leave "Mesa $present is installed"; fi
[ "$(id -u)" = 0 ] || leave "not root, so nothing is installed; fovea uses SwiftShader"

codename=$(. /etc/os-release 2>/dev/null && echo "${VERSION_CODENAME:-}")
distribution=$(. /etc/os-release 2>/dev/null && echo "${ID:-}")
apt-get update -qq >/dev/null 2>&1 || echo "lavapipe: apt-get update failed, going on with what apt knows"

release=''
if ! enough "$(candidate)"; then
  [ "$distribution" = debian ] && [ -n "$codename" ] ||
    leave "apt offers Mesa '$(candidate)', Dawn wants $least or newer; fovea uses SwiftShader"
  if ! offered; then
    # The mirror that apt is set up with; it may be the only one that can be reached.
    mirror=$(apt-get indextargets --format '$(REPO_URI)' "Codename: $codename" 'Created-By: Packages' 2>/dev/null | head -n 1)
    echo "deb ${mirror:-http://deb.debian.org/debian} $codename-backports main" >"$list" ||
      leave "$list cannot be written; fovea uses SwiftShader"
    apt-get update -qq >/dev/null 2>&1
    if ! offered; then
      rm -f "$list"
      apt-get update -qq >/dev/null 2>&1
      leave "${mirror:-deb.debian.org} has no $codename-backports with Mesa $least; fovea uses SwiftShader"
    fi
  fi
  release="-t $codename-backports"
fi

log=$(mktemp)
# shellcheck disable=SC2086 # $release is two words or none
if apt-get install -y -qq --no-install-recommends $release mesa-vulkan-drivers libvulkan1 >"$log" 2>&1; then
  rm -f "$log"
  leave "Mesa $(installed mesa-vulkan-drivers) installed"
fi
tail -n 3 "$log"
rm -f "$log"
leave "apt-get could not install it (above); fovea uses SwiftShader"
