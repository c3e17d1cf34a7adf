# Sourced by the launchers: `again COMMAND...` runs a command, and restarts it whenever it exits with
# 75, which means that it was stopped by SIGTERM and has saved its state. A signal to the launcher is
# passed on to the command, and ends both; a second Ctrl-C does so without saving.
again() {
  local child status stopped=
  # What runs in the background ignores SIGINT.
  trap 'stopped=KILL; kill -TERM "$child" 2>/dev/null || true' TERM HUP
  trap 'kill -"${stopped:-TERM}" "$child" 2>/dev/null || true; stopped=KILL' INT
  while true; do
    if [ -n "${DRY_RUN:-}" ]; then
      echo "$*"
      return 0
    fi
    "$@" &
    child=$!
    # A trapped signal ends `wait` early; the status of a child that has ended is kept.
    while kill -0 "$child" 2>/dev/null; do
      wait "$child" || true
    done
    status=0
    wait "$child" || status=$?
    if [ "$status" != 75 ] || [ -n "$stopped" ]; then
      return "$status"
    fi
    echo "stopped and saved; going on"
  done
}
