#!/usr/bin/env bash
# Looks for what pip cannot install: a Python with venv, and the libraries that WeasyPrint sets the PDF report with.
# Prints the interpreter to use. Where something is missing, says on one line what to install and ends with 2.
# PYTHON names an interpreter to use instead of the first one that fits.
set -euo pipefail

missing=()

python=""
for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
  if "$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
    python=$(command -v "$candidate")
    break
  fi
done
[ -n "$python" ] || missing+=(python3 python3-venv)

# Loading is what counts; find_library helps where libraries carry other file names. A Python too old for us can still look.
looks_with=${python:-$(command -v python3 || true)}
if [ -n "$looks_with" ]; then
  libraries=$("$looks_with" - <<'PROBE'
import ctypes
import ctypes.util

PACKAGES = (
    ("libpango-1.0-0", "pango-1.0", "libpango-1.0.so.0"),
    ("libpangoft2-1.0-0", "pangoft2-1.0", "libpangoft2-1.0.so.0"),
    ("libharfbuzz-subset0", "harfbuzz-subset", "libharfbuzz-subset.so.0"),
)


def is_there(name, file):
    try:
        ctypes.CDLL(file)
    except OSError:
        return ctypes.util.find_library(name) is not None
    return True


print(*[package for package, name, file in PACKAGES if not is_there(name, file)])
PROBE
  )
else
  libraries="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"
fi
read -r -a packages <<<"$libraries"
missing+=("${packages[@]}")

if [ ${#missing[@]} -gt 0 ]; then
  note=""
  [ -n "$python" ] || note=" (no Python 3.11 or newer with venv was found${PYTHON:+ under $PYTHON}; Debian 12 and later have one)"
  echo "medgan-qa needs packages of the system that are not there; as root: apt-get install ${missing[*]}$note" >&2
  exit 2
fi
echo "$python"
