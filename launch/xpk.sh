#!/usr/bin/env bash
# XPK, which makes a JobSet on Google Kubernetes Engine and queues it: one or several slices of TPUs.
#
#   docker build -f launch/tpu.Dockerfile -t IMAGE . && docker push IMAGE
#   export CLUSTER=xpk-test NAME=hourglass TYPE=v5litepod-16 IMAGE=...
#   launch/xpk.sh --config=configs/mpii.py --workdir=gs://BUCKET/mpii \
#     --config.data.manual_dir=gs://BUCKET/mpii_files --config.data.data_dir=gs://BUCKET/records
#
# What to put where: the data set's own files into BUCKET/mpii_files, by `gcloud storage cp -r`; records,
# checkpoints and results appear in the bucket. It should be in the region of the cluster, whose
# nodes' account needs the roles of docs/buckets.md. Make the cluster by `xpk cluster create`.
#
# SLICES=2 takes two slices. The run goes on without this terminal; `xpk workload list` shows it. A pod
# that is preempted has two minutes to save, and exits with 75; one that has lost another exits with 1.
# In both cases the job set restarts and continues from the workdir, RESTARTS times at most, 30 unless
# it is set. ZONE and PROJECT default to gcloud's.
# DRY_RUN=1 prints the command. To delete: xpk workload delete --cluster=CLUSTER --workload=NAME.
set -euo pipefail
: "${CLUSTER:?set CLUSTER, the name of the cluster}" "${NAME:?set NAME, the name of the workload}"
: "${TYPE:?set TYPE, e.g. v5litepod-16}" "${IMAGE:?set IMAGE, the image in a registry}"
# XPK sends SIGTERM to the shell in which it runs the command: `exec` puts Python there.
command="exec python -m hourglass_jax.main$(printf ' %q' "$@")"
create=(
  xpk workload create --cluster="$CLUSTER" --workload="$NAME" --tpu-type="$TYPE"
  --num-slices="${SLICES:-1}" --docker-image="$IMAGE" --max-restarts="${RESTARTS:-30}"
  --restart-on-exit-codes="1,75" --termination-grace-period-seconds=120
  ${ZONE:+--zone="$ZONE"} ${PROJECT:+--project="$PROJECT"} --command="$command"
)
if [ -n "${DRY_RUN:-}" ]; then
  printf '%q ' "${create[@]}"
  echo
  exit
fi
exec "${create[@]}"
