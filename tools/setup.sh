#!/usr/bin/env bash
# Makes .venv with the pinned versions. Does nothing when it is up to date, finishes or remakes it when it is not.
set -euo pipefail
cd "$(dirname "$0")/.."

python=$(tools/preflight.sh)

# What .venv was made from, written last; "unfinished" while pip runs, so an interrupted installation is never trusted.
# Digests rather than times, because a checkout sets times at will; the folder, because scripts name it in their first line.
state=.venv/.medgan-qa-setup
wanted=$(sha256sum pyproject.toml constraints.txt medgan_qa/__init__.py && pwd)
found=$(cat "$state" 2>/dev/null || true)

runs() { .venv/bin/python "$@" >/dev/null 2>&1; }

if [ "$found" = "$wanted" ] && runs -c ''; then
  exit 0
fi
if [ -e .venv ] && { [ "$found" = unfinished ] || ! runs -c ''; }; then
  echo "The .venv here is unfinished or broken; making it again." >&2
  rm -rf .venv
fi

mkdir -p .venv
echo unfinished >"$state"
runs -m pip --version || "$python" -m venv .venv
echo "Installing into .venv: about 6 GB on disk, most of it torch; some minutes the first time." >&2
.venv/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
.venv/bin/python -c 'import weasyprint'  # fails here, and not in a report, if a library of the system cannot be loaded
echo "$wanted" >"$state"
