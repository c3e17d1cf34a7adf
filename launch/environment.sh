# Sourced by the launchers: makes .venv with the exact versions of requirements.txt, which are all that
# training needs, also from a bucket, and of requirements-EXTRA.txt for each of EXTRAS (dev: the test
# tools; cuda; tpu), unless it exists and is up to date. Files that have other hashes are refused.
# Needs Python 3.11 or newer with venv; uses uv if found.
PYTHON=${PYTHON:-python3} EXTRAS=${EXTRAS:-}
if ! command -v "$PYTHON" >/dev/null; then
  echo "error: $PYTHON not found; install Python 3.11 or newer, or set PYTHON to its path" >&2
  exit 2
fi
if ! "$PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
  echo "error: $("$PYTHON" --version) is too old; set PYTHON to Python 3.11 or newer" >&2
  exit 2
fi
lists=(-r requirements.txt)
for extra in ${EXTRAS//,/ }; do
  lists+=(-r "requirements-$extra.txt")
done
wanted=$(cat requirements*.txt pyproject.toml setup.py | cksum)
marker=.venv/installed-${EXTRAS:-base}
if [ "$(cat "$marker" 2>/dev/null)" != "$wanted" ]; then
  # PyTorch without CUDA's gigabytes; pip takes that build wherever its index offers it.
  export UV_TORCH_BACKEND=${UV_TORCH_BACKEND:-cpu}
  echo "Installing into .venv (once; 2 to 4 GB on disk)"
  if command -v uv >/dev/null; then
    [ -x .venv/bin/python ] || uv venv --quiet --python "$PYTHON" .venv
    install=(uv pip install --quiet --python .venv/bin/python)
  else
    if ! [ -x .venv/bin/python ] && ! "$PYTHON" -m venv .venv; then
      rm -rf .venv
      echo "error: $PYTHON has no venv; on Debian: apt install python3-venv" >&2
      exit 2
    fi
    install=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
  fi
  "${install[@]}" --require-hashes "${lists[@]}" || exit 1
  case ,$EXTRAS, in
    *,dev,*) "${install[@]}" -r requirements-torch.txt || exit 1 ;;
  esac
  "${install[@]}" --no-deps --no-build-isolation -e . || exit 1
  echo "$wanted" >"$marker"
fi
