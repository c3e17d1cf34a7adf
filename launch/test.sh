#!/usr/bin/env bash
# Makes the environment with the test extras if it is missing, then runs the tests. Flags go to
# pytest: `launch/test.sh -m core` takes at most a minute, `launch/test.sh --slow` also runs the slow
# tests. It can be run again.
set -euo pipefail
cd "$(dirname "$0")/.."
EXTRAS=dev
source launch/environment.sh
echo "Running: python -m pytest $*"
exec .venv/bin/python -m pytest "$@"
