#!/usr/bin/env bash
# Makes the environment if it is missing, then runs the main job: by default a small network on the
# built-in data set, into runs/synthetic. Flags go to hourglass_jax.main. It can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
[ $# -gt 0 ] || set -- --config=configs/synthetic.py --workdir=runs/synthetic
echo "Running: python -m hourglass_jax.main $*"
exec .venv/bin/python -m hourglass_jax.main "$@"
