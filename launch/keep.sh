#!/usr/bin/env bash
# Runs a command on this machine that goes on when the terminal or the ssh session ends, and shows its
# output. Called again while the command is at work, it only shows the output; Ctrl-C ends that, and
# not the command. Its exit status is the command's.
#
#   launch/keep.sh launch/gpus.sh --config=configs/mpii.py --config.data.manual_dir=DIR
#   STOP=1 launch/keep.sh
#
# The second one sends SIGTERM: a training saves its state, and the first one continues it. A training
# that a preempted machine has stopped is started again. KEEP=NAME keeps several, with their output in
# runs/NAME.log; without it, NAME is kept. DRY_RUN=1 prints the command. Needs Linux.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -n "${DRY_RUN:-}" ]; then
  echo "$*"
  exit
fi
mkdir -p runs
kept=runs/${KEEP:-kept}
lines=20
if flock --nonblock "$kept.lock" true; then # nobody holds it
  if [ -n "${STOP:-}" ] || [ $# = 0 ]; then
    echo "error: nothing is at work here${STOP:+, and there is nothing to stop}; give a command" >&2
    exit 2
  fi
  lines=+1
  [ ! -e "$kept.log" ] || mv "$kept.log" "$kept.before.log"
  rm -f "$kept.pid" "$kept.status"
  # Its session is not the terminal's; the lock is held until the last of its processes has ended.
  # shellcheck disable=SC2016  # expanded there
  setsid nohup bash -c 'kept=$1; shift
    exec 9>"$kept.lock"
    flock --nonblock 9 || exit 0
    echo $$ >"$kept.pid"
    source launch/again.sh
    status=0
    again "$@" || status=$?
    echo "$status" >"$kept.status"' kept "$kept" "$@" >"$kept.log" 2>&1 </dev/null &
  until [ -s "$kept.pid" ]; do
    sleep 0.1
  done
  echo "at work, also without this terminal: $kept.log; STOP=1 launch/keep.sh stops it"
else
  echo "at work already; this is the end of $kept.log:"
fi
pid=$(cat "$kept.pid")
[ -z "${STOP:-}" ] || kill -TERM "$pid"
tail --lines=$lines --follow --pid="$pid" --sleep-interval=0.5 "$kept.log"
if ! [ -s "$kept.status" ]; then
  echo "error: the command was killed" >&2
  exit 1
fi
exit "$(cat "$kept.status")"
