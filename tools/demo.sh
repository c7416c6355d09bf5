#!/usr/bin/env bash
# Audits two reference translators on the embedded phantoms. That one of them is rejected is what the demo is there to show,
# so the exit codes of a verdict (0 passed, 1 failed, 3 inconclusive) count as success; any other ends the demo.
set -euo pipefail
cd "$(dirname "$0")/.."

sentences=()
for model in cyclegan-balanced cyclegan-healthy; do
  out=demo-output/$model
  rm -rf "$out"
  echo
  echo "\$ medgan-qa audit reference:$model --suite translation --out $out"
  code=0
  .venv/bin/medgan-qa audit "reference:$model" --suite translation --out "$out" || code=$?
  case $code in
    0) verdict="passed every criterion" ;;
    1) verdict="failed a criterion" ;;
    3) verdict="is inconclusive" ;;
    *)
      echo "The demo broke: the audit of reference:$model ended with exit code $code, which is no verdict." >&2
      exit "$code"
      ;;
  esac
  if [ ! -s "$out/report.pdf" ]; then
    echo "The demo broke: the audit of reference:$model left no $out/report.pdf." >&2
    exit 5
  fi
  echo "\$ medgan-qa verify $out"
  .venv/bin/medgan-qa verify "$out"
  sentences+=("reference:$model $verdict (exit code $code): $PWD/$out/report.pdf")
done

echo
echo "Two CycleGANs were audited on the same embedded brain phantoms, and each has its report:"
printf '  %s\n' "${sentences[@]}"
echo "A failed criterion is an answer, not a breakdown. Phantom data is no evidence of clinical performance."
