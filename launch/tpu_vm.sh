#!/usr/bin/env bash
# Cloud TPU VMs: creates a queued resource of one or several slices, copies the repository to every
# host, installs it, and runs the command on all of them. JAX finds the other hosts by itself.
#
#   export NAME=hourglass ZONE=us-west4-a TYPE=v5litepod-16
#   export SETUP='sudo mkdir -p /shared && sudo mount SERVER:/share /shared'
#   launch/tpu_vm.sh --config=configs/mpii.py --workdir=/shared/mpii \
#     --config.data.manual_dir=/shared/mpii_files --config.data.data_dir=/shared/records
#
# SETUP runs first on every host: workdir and records must lie on a file system that all hosts share,
# for instance Filestore, mounted there.
# SLICES=2 takes two slices (multi-slice). SPOT=1 asks for spot capacity; a preempted run saves before
# its machines are deleted, and the same command creates new ones and resumes from the workdir. If the
# resource exists, the command only copies, installs and runs. Needs gcloud, logged in, with a project set.
# DRY_RUN=1 prints what it would do. To delete: gcloud compute tpus queued-resources delete NAME.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${NAME:?set NAME, the name of the queued resource}" "${ZONE:?set ZONE, e.g. us-west4-a}"
: "${TYPE:?set TYPE, e.g. v5litepod-16}"
SLICES=${SLICES:-1}
[[ $SLICES =~ ^[1-9][0-9]*$ ]] || { echo "error: SLICES=$SLICES must be a number from 1" >&2; exit 2; }
RUNTIME=${RUNTIME:-v2-alpha-tpuv5-lite}

do_it() {
  echo "+ $*"
  [ -n "${DRY_RUN:-}" ] || "$@"
}

resource=(gcloud compute tpus queued-resources)
if [ -n "${DRY_RUN:-}" ] ||
  ! "${resource[@]}" describe "$NAME" --zone="$ZONE" >/dev/null 2>&1; then
  node=(--node-id="$NAME")
  [ "$SLICES" = 1 ] || node=(--node-count="$SLICES" --node-prefix="$NAME")
  do_it "${resource[@]}" create "$NAME" --zone="$ZONE" --accelerator-type="$TYPE" \
    --runtime-version="$RUNTIME" "${node[@]}" ${SPOT:+--spot}
fi
until [ -n "${DRY_RUN:-}" ] ||
  [ "$("${resource[@]}" describe "$NAME" --zone="$ZONE" --format='value(state.state)')" = ACTIVE ]; do
  echo "waiting for the machines"
  sleep 30
done

on_all() { # VERB SOURCE PLACE FLAGS...: runs a gcloud command for each node, NAMEPLACE being its target
  local verb=$1 source=$2 place=$3 node status=0 pids=()
  shift 3
  for ((slice = 0; slice < SLICES; slice++)); do
    node=$NAME
    [ "$SLICES" = 1 ] || node=$NAME-$slice
    do_it gcloud compute tpus tpu-vm "$verb" ${source:+"$source"} "$node$place" "$@" \
      --zone="$ZONE" --worker=all &
    pids+=("$!")
  done
  for pid in "${pids[@]}"; do
    wait "$pid" || status=$?
  done
  return "$status"
}
archive=$(mktemp -d)/hourglass_jax.tar.gz
do_it git archive --format=tar.gz --output="$archive" HEAD
on_all scp "$archive" :hourglass_jax.tar.gz
install='mkdir -p hourglass_jax && tar xzf hourglass_jax.tar.gz -C hourglass_jax && cd hourglass_jax'
# The images' own Python is 3.10.
install+=' && { command -v python3.11 || sudo apt-get install -y python3.11-venv; } >/dev/null'
install+=' && { EXTRAS=tpu; PYTHON=python3.11; source launch/environment.sh; }'
run="cd hourglass_jax && source launch/again.sh && again .venv/bin/python -m hourglass_jax.main"
[ $# = 0 ] || run+=$(printf ' %q' "$@")
on_all ssh "" "" --command="${SETUP:-true} && $install"
on_all ssh "" "" --command="$run"
