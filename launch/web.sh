#!/usr/bin/env bash
# Makes the environment with the test extras if it is missing, writes a web page with the networks in
# the package into runs/web, and serves it on this machine alone. Flags go to the export, such as
# --checkpoint=runs/synthetic for a network of your own. PORT=8000 is the port. Needs Node.js with npm.
set -euo pipefail
cd "$(dirname "$0")/.."
if ! command -v npm >/dev/null; then
  echo "error: npm not found; install Node.js 20 or newer" >&2
  exit 2
fi
EXTRAS=dev
source launch/environment.sh
if ! [ web/node_modules/.package-lock.json -nt web/package-lock.json ]; then
  npm ci --prefix web --ignore-scripts --silent
  touch web/node_modules/.package-lock.json
fi
.venv/bin/python -m hourglass_jax.interop.export \
  --checkpoint=people-pose --output=runs/web/ --runtime=web "$@"
exec .venv/bin/python -m hourglass_jax.interop.serve runs/web --port="${PORT:-8000}"
