# Sourced by the launchers: makes .venv from requirements.txt, with all that training needs (and with
# EXTRAS=dev the test tools), unless it exists and is up to date. Needs Python 3.11 or newer
# with venv; uses uv if found.
PYTHON=${PYTHON:-python3}
if ! command -v "$PYTHON" >/dev/null; then
  echo "error: $PYTHON not found; install Python 3.11 or newer, or set PYTHON to its path" >&2
  exit 2
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "error: $("$PYTHON" --version) is too old; set PYTHON to Python 3.11 or newer" >&2
  exit 2
fi
wanted=$(cat requirements.txt pyproject.toml setup.py | cksum)
marker=.venv/installed-${EXTRAS:-base}
if [ "$(cat "$marker" 2>/dev/null)" != "$wanted" ]; then
  package=.[train${EXTRAS:+,$EXTRAS}]
  # PyTorch without CUDA's gigabytes; pip takes that build wherever its index offers it.
  export UV_TORCH_BACKEND=${UV_TORCH_BACKEND:-cpu}
  echo "Installing into .venv (once; 2 to 4 GB on disk)"
  if command -v uv >/dev/null; then
    [ -x .venv/bin/python ] || uv venv --quiet --python "$PYTHON" .venv
    uv pip install --quiet --python .venv/bin/python -c requirements.txt -e "$package" || exit 1
  else
    if ! [ -x .venv/bin/python ] && ! "$PYTHON" -m venv .venv; then
      rm -rf .venv
      echo "error: $PYTHON has no venv; on Debian: apt install python3-venv" >&2
      exit 2
    fi
    .venv/bin/python -m pip install --quiet --disable-pip-version-check \
      -c requirements.txt -e "$package" || exit 1
  fi
  echo "$wanted" >"$marker"
fi
