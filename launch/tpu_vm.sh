#!/usr/bin/env bash
# Cloud TPU VMs: creates a queued resource of one or several slices, copies the repository to every
# host, installs it, and runs the command on all of them. JAX finds the other hosts by itself.
#
#   export NAME=hourglass ZONE=us-west4-a TYPE=v5litepod-16
#   launch/tpu_vm.sh --config=configs/mpii.py --workdir=gs://BUCKET/mpii \
#     --config.data.manual_dir=gs://BUCKET/mpii_files --config.data.data_dir=gs://BUCKET/records
#
# What to put where: the data set's own files into BUCKET/mpii_files, by `gcloud storage cp -r`; records,
# checkpoints and results appear in the bucket. It should be in the region of ZONE, and the TPUs'
# service account needs the roles of docs/buckets.md. Folders work in place of a bucket, on a file system
# that all hosts share, such as Filestore: SETUP='sudo mkdir -p /shared && sudo mount SERVER:/share
# /shared' runs first on every host.
#
# The run goes on when this terminal or the connection ends (launch/keep.sh); the same command shows
# its output again. STOP=1 launch/tpu_vm.sh stops it: it saves, and the same command continues it.
# SLICES=2 takes two slices (multi-slice). SPOT=1 asks for spot capacity; a preempted run saves before its
# machines are deleted. Delete the resource then, and the same command creates another one and
# continues. If the resource exists, the command only copies, installs and runs. Needs gcloud,
# logged in, with a project set. DRY_RUN=1 prints what it would do.
# To delete: gcloud compute tpus queued-resources delete NAME --zone=ZONE --force.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${NAME:?set NAME, the name of the queued resource}" "${ZONE:?set ZONE, e.g. us-west4-a}"
: "${TYPE:?set TYPE, e.g. v5litepod-16}"
SLICES=${SLICES:-1}
[[ $SLICES =~ ^[1-9][0-9]*$ ]] || { echo "error: SLICES=$SLICES must be a number from 1" >&2; exit 2; }
case $TYPE in
  v5p-*) default=v2-alpha-tpuv5 ;;
  v6e-*) default=v2-alpha-tpuv6e ;;
  v5litepod-*) default=v2-alpha-tpuv5-lite ;;
  *) default=tpu-ubuntu2204-base ;;
esac
RUNTIME=${RUNTIME:-$default}

do_it() {
  echo "+ $*"
  [ -n "${DRY_RUN:-}" ] || "$@"
}

resource=(gcloud compute tpus queued-resources)
there() {
  [ -z "${DRY_RUN:-}" ] && "${resource[@]}" describe "$NAME" --zone="$ZONE" >/dev/null 2>&1
}
if [ -z "${STOP:-}" ] && ! there; then
  node=(--node-id="$NAME")
  [ "$SLICES" = 1 ] || node=(--node-count="$SLICES" --node-prefix="$NAME")
  do_it "${resource[@]}" create "$NAME" --zone="$ZONE" --accelerator-type="$TYPE" \
    --runtime-version="$RUNTIME" "${node[@]}" ${SPOT:+--spot}
fi
state=
until [ -n "${DRY_RUN:-}" ] || [ "$state" = ACTIVE ]; do
  [ -z "$state" ] || sleep 30
  state=$("${resource[@]}" describe "$NAME" --zone="$ZONE" --format='value(state.state)')
  case $state in
    ACTIVE) ;;
    SUSPENDED | SUSPENDING | FAILED) # preempted, or refused
      echo "error: $NAME is $state; delete it, then start the same command again:" >&2
      echo "  ${resource[*]} delete $NAME --zone=$ZONE --force" >&2
      exit 1
      ;;
    *) echo "waiting for the machines, which are $state" ;;
  esac
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
run="cd hourglass_jax && ${STOP:+STOP=1 }launch/keep.sh .venv/bin/python -m hourglass_jax.main"
[ $# = 0 ] || run+=$(printf ' %q' "$@")
if [ -z "${STOP:-}" ]; then
  archive=$(mktemp -d)/hourglass_jax.tar.gz
  do_it git archive --format=tar.gz --output="$archive" HEAD
  on_all scp "$archive" :hourglass_jax.tar.gz
  install='mkdir -p hourglass_jax && tar xzf hourglass_jax.tar.gz -C hourglass_jax && cd hourglass_jax'
  # The images' own Python is 3.10.
  install+=' && { command -v python3.11 || sudo apt-get install -y python3.11-venv; } >/dev/null'
  install+=' && { EXTRAS=tpu; PYTHON=python3.11; source launch/environment.sh; }'
  # A program that is at work is not changed.
  free='mkdir -p hourglass_jax/runs && flock --nonblock hourglass_jax/runs/kept.lock true'
  on_all ssh "" "" --command="if $free; then ${SETUP:-true} && $install; fi"
fi
on_all ssh "" "" --command="$run"
