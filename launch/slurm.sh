#!/usr/bin/env bash
#SBATCH --job-name=hourglass
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --output=slurm-%j.log
# SLURM: one process per GPU. For more GPUs on a node raise --gpus-per-node and --ntasks-per-node
# to the same number, and do not bind GPUs to tasks: JAX gives each task the GPU with the task's index
# on the node.
#
#   sbatch launch/slurm.sh --config=configs/mpii.py --workdir=SHARED/mpii --config.data.manual_dir=DIR
#
# The repository, the workdir and the records (--config.data.data_dir) must lie on a file system that
# all nodes share; workdir, records and the data set may also be in a bucket, gs://BUCKET/mpii, if
# GOOGLE_APPLICATION_CREDENTIALS names a key that all nodes can read. Make the environment once
# beforehand, on a node with a GPU:
#
#   EXTRAS=cuda bash -c 'source launch/environment.sh'
#
# Two minutes before its time limit, and when it is preempted, the job gets SIGTERM, saves its state,
# exits with 75 and is queued again. DRY_RUN=1 prints the command.
set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-$(dirname "$0")/..}"
# Without --kill-on-bad-exit: it would kill tasks that are still saving when the first exits with 75.
command=(srun --kill-on-bad-exit=0 .venv/bin/python -m hourglass_jax.main "$@")
if [ -n "${DRY_RUN:-}" ]; then
  echo "${command[*]}"
  exit
fi
status=0
"${command[@]}" || status=$?
if [ "$status" = 75 ]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
