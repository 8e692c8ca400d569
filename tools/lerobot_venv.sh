#!/usr/bin/env bash
# Makes a virtual environment in which LeRobot's own loader reads what Loopwright exports.
#
#   tools/lerobot_venv.sh [FOLDER]      default: ~/.cache/loopwright/lerobot-venv
#
# LeRobot 0.4.4 is the last for Python 3.11. It asks for an older torch than ours and for forty
# packages that loading a dataset never touches, so it is installed without them and only what its
# loader imports is added. Running this again does nothing if the environment is whole.
set -euo pipefail

folder="${1:-$HOME/.cache/loopwright/lerobot-venv}"
python="${PYTHON:-$(command -v python3.11 || true)}"
done_mark="$folder/.installed-lerobot-0.4.4"

if [[ -e "$done_mark" ]]; then
  echo "$folder is there already" >&2
  exit 0
fi
if [[ -z "$python" ]] || ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
  echo "LeRobot 0.4.4 with torch 2.13.0 is tested on Python 3.11; set PYTHON to one" >&2
  exit 1
fi

echo "==> 1/3 virtual environment in $folder" >&2
"$python" -m venv "$folder"
pip=("$folder/bin/python" -m pip --disable-pip-version-check install --quiet)

# torch first and alone: with an exact version pip takes the build it is configured to prefer.
echo "==> 2/3 torch 2.13.0" >&2
"${pip[@]}" 'torch==2.13.0'

echo "==> 3/3 LeRobot 0.4.4 and what its loader imports" >&2
"${pip[@]}" 'datasets>=4.0,<5' 'huggingface-hub>=0.34.2,<0.36' 'av>=15,<16' 'pandas<3' pillow \
  'packaging>=24.2,<26' 'accelerate>=1.10,<2'
"${pip[@]}" --no-deps 'lerobot==0.4.4' 'torchvision==0.28.0'

touch "$done_mark"
