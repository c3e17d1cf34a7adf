#!/usr/bin/env bash
# One machine with one or several NVIDIA GPUs: a single process drives them all, and the global
# batch is split over them. Makes the environment with CUDA if it is missing.
#
#   launch/gpus.sh --config=configs/mpii.py --config.data.manual_dir=DIR
#   launch/keep.sh launch/gpus.sh --config=configs/mpii.py --config.data.manual_dir=DIR
#
# The first one saves and ends when the terminal is closed; the second one goes on. Workdir, records
# and data set may be in a bucket (--workdir=gs://BUCKET/mpii), after `gcloud auth
# application-default login`. CUDA_VISIBLE_DEVICES=0,1 uses only these GPUs; DRY_RUN=1 prints the command.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=launch/again.sh
source launch/again.sh
if [ -z "${DRY_RUN:-}" ]; then
  # shellcheck disable=SC2034  # read by environment.sh
  EXTRAS=cuda
  # shellcheck source=launch/environment.sh
  source launch/environment.sh
fi
again .venv/bin/python -m hourglass_jax.main "$@"
