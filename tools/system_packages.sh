#!/usr/bin/env bash
# Installs missing Debian packages when it may, else prints the exact line to type.
#
#   tools/system_packages.sh            what headless MuJoCo rendering needs
#   tools/system_packages.sh NAME...    these packages
#
# Never fails: without the libraries everything but rendering works.
set -uo pipefail

packages=("$@")
if [[ ${#packages[@]} -eq 0 ]]; then
  packages=(libegl1 libegl-mesa0 libgl1-mesa-dri libosmesa6)
fi

if [[ "$(uname -s)" != Linux ]]; then
  exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "note: no apt-get here; rendering needs EGL or OSMesa from your distribution" >&2
  exit 0
fi

missing=()
for package in "${packages[@]}"; do
  if [[ "$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null)" != "install ok installed" ]]; then
    missing+=("$package")
  fi
done
if [[ ${#missing[@]} -eq 0 ]]; then
  exit 0
fi

by_hand="sudo apt-get update && sudo apt-get install -y --no-install-recommends ${missing[*]}"
if [[ "$(id -u)" -eq 0 ]]; then
  as_root=(env)
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
  as_root=(sudo -n env)
else
  printf '==> Missing system packages. Type this once:\n    %s\n' "$by_hand" >&2
  exit 0
fi

echo "==> Installing system packages: ${missing[*]}" >&2
quiet=(DEBIAN_FRONTEND=noninteractive apt-get -q -o Dpkg::Use-Pty=0 -o Acquire::Retries=2)
if ! { "${as_root[@]}" "${quiet[@]}" update &&
  "${as_root[@]}" "${quiet[@]}" install -y --no-install-recommends "${missing[@]}"; } \
  </dev/null >/dev/null; then
  printf '==> That did not work. Type this by hand:\n    %s\n' "$by_hand" >&2
fi
exit 0
