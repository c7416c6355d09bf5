"""Run planted defects through the audits that must catch them, and clean subjects through the same rules many times.

    python -m benchmarks.controls planted --seeds 10 --lines planted.jsonl
    python -m benchmarks.controls samplers --seeds 5 --lines samplers.jsonl
    python -m benchmarks.controls clean-splits --splits 1000 --lines clean-splits.jsonl
    python -m benchmarks.controls tables --lines planted.jsonl samplers.jsonl clean-splits.jsonl

Every run is judged by the default criteria of its suite, as `medgan-qa audit` judges it. One line a run is appended to
the file of `--lines`, and runs that stand there are not made again. Nothing passes or fails here: the table says what
was caught and what was not. `docs/controls.md` holds one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from benchmarks.controls import clean_splits, planted, samplers, samplers_table
from benchmarks.controls.lines import append, read
from benchmarks.controls.rows import ROWS
from medgan_qa.features.store import FeatureStore


def main() -> None:
    """Run what is asked for and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["planted", "samplers", "clean-splits", "tables"])
    parser.add_argument("--seeds", type=int, default=5, help="seeds, from 0")
    parser.add_argument("--rows", nargs="+", default=[], help="only rows of these suites or names, e.g. T1 translation")
    parser.add_argument("--samples", type=int, default=1000, help="samples of a planted sampler")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--lines", type=Path, nargs="+", required=True, help="where each run's line is appended")
    options = parser.parse_args()
    chosen = [row for row in ROWS if not options.rows or {row.row, row.suite} & set(options.rows)]
    with tempfile.TemporaryDirectory() as folder:
        store = FeatureStore(Path(folder))
        if options.what == "planted":
            planted.run_rows(chosen, options.seeds, options.lines[0])
        elif options.what == "samplers":
            samplers.run_controls(options.seeds, options.samples, options.lines[0], store)
        elif options.what == "clean-splits":
            for line in clean_splits.clean_splits(options.splits, store):
                append(options.lines[0], line)
    lines = read(options.lines)
    if own := [line for line in lines if "planted" in line]:
        print(planted.table(chosen, own), end="\n\n")
    if own := [line for line in lines if "control" in line]:
        print(samplers_table.table(own), end="\n\n")
    if own := [line for line in lines if "split" in line]:
        print(clean_splits.false_alarm_table(own), end="\n\n")


if __name__ == "__main__":
    main()
