#!/usr/bin/env bash
#SBATCH --job-name=hourglass-predict
#SBATCH --array=0-3
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@60
#SBATCH --requeue
#SBATCH --output=slurm-%A_%a.log
# SLURM: each task of an array predicts its share of the images. The number of tasks is the array's;
# number it from 0.
#
#   sbatch --array=0-15 launch/slurm_predict.sh --input=SHARED/images --output=SHARED/poses --no_overlays
#
# Before its time limit, and when it is preempted, a task gets SIGTERM, is queued again and continues.
# To start one of them again, say how many there are: sbatch --array=7 ... --shards=16. When all are
# finished, `.venv/bin/hourglass merge SHARED/poses` checks and merges what they have found.
#
# The repository, the images and the output must lie on a file system that all nodes share; images and
# output may also be in a bucket, gs://BUCKET/images, if GOOGLE_APPLICATION_CREDENTIALS names a key
# that all nodes can read. Make the environment once beforehand, on a node with a GPU:
#
#   EXTRAS=cuda bash -c 'source launch/environment.sh'
#
# DRY_RUN=1 prints the command.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
command=(srun .venv/bin/python -m hourglass_jax.predict "$@")
if [ -n "${DRY_RUN:-}" ]; then
  echo "${command[*]}"
  exit
fi
status=0
"${command[@]}" || status=$?
if [ "$status" = 143 ]; then # stopped by SIGTERM
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
