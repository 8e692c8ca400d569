#!/usr/bin/env bash
# Takes the picture of the README: the top of a run's report, in headless Chromium.
#
#   tools/picture_report.sh WORKSPACE [OUT.png]
set -euo pipefail

workspace="${1:?usage: tools/picture_report.sh WORKSPACE [OUT.png]}"
out="$(realpath -m "${2:-docs/images/report.png}")"
page="$(realpath "$(ls -t "$workspace"/reports/*.html | head -1)")"
profile="$(mktemp -d)"
trap 'rm -rf "$profile"' EXIT

# Without the quieting flags Chromium looks for the network at every start.
chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
  --disable-background-networking --disable-component-update --disable-sync \
  --user-data-dir="$profile" --hide-scrollbars --window-size=1200,1180 \
  --screenshot="$out" "file://$page" 2>/dev/null
echo "$out"
