#!/usr/bin/env bash
# Makes the environment if it is missing, then finds poses: by default, with the networks that come
# with the package, those of the people in docs/people, into runs/people. Flags go to
# hourglass_jax.predict.
set -euo pipefail
cd "$(dirname "$0")/.."
source launch/environment.sh
[ $# -gt 0 ] || set -- --input=docs/people --output=runs/people --overwrite
exec .venv/bin/python -m hourglass_jax.predict "$@"
