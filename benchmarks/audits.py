"""Time every audit of a suite on 500 cases of 128 x 128 pixels.

    python benchmarks/audits.py translation
    python benchmarks/audits.py super-resolution discriminator augmentation --people 100

What the audits of a suite share (images read and passed through the model, the detector's readings, features) is made
by the first that asks for it, so a list is run in the suite's order with what is shared named first. The subject is the
suite's faithful control, whose own time is next to nothing. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from typing import Any

from medgan_qa.audits import AUDITS, RUNS
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices, BrainTruths
from medgan_qa.controls.named import control_subject
from medgan_qa.engines import LocalEngine
from medgan_qa.features.store import FeatureStore
from medgan_qa.subjects.load import load_subject
from medgan_qa.suites import suite

COHORTS: dict[str, tuple[str, Callable[[int, int], Cohort]]] = {
    "translation": ("faithful", lambda people, size: BrainPhantoms(people=people, size=size)),
    "super-resolution": ("faithful", lambda people, size: BrainTruths(people=people, size=size)),
    "discriminator": ("faithful", lambda people, size: BrainSlices(people=people, size=size)),
    "augmentation": ("independent", lambda people, size: BrainSlices(people=people, size=size)),
    "synthesis": ("independent", lambda people, size: BrainSlices(people=people, size=size)),
}
SHARED = {
    "translation": ("items", "readings"),
    "super-resolution": ("items", "readings", "comparators"),
    "discriminator": ("items", "logits"),
    "augmentation": ("reference", "train", "sampled"),
    "synthesis": ("reference", "train", "sampled"),
}
FIRST = "PAT-005"
"""The detection limit, whose planting PAT-001 and PAT-002 quote, is charged to itself."""


def steps(name: str, people: int, size: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is timed, in order."""
    whole = suite(name)
    control, make = COHORTS[name]
    cohort = make(people, size)
    reader = load_subject(f"reference:{whole.detector}") if whole.detector else None
    options = {**whole.options, **({"store": FeatureStore(None)} if name in ("augmentation", "synthesis") else {})}
    run = RUNS[name](control_subject(control, name, cohort), cohort, reader, LocalEngine(), 0, **options)
    for shared in SHARED[name]:
        yield f"shared: {shared}", lambda shared=shared: getattr(run, shared)
    for audit in sorted((*whole.audits, *whole.optional), key=lambda a: a.code != FIRST):
        yield audit.code, lambda audit=audit: AUDITS[audit.code].run(run, audit.parameters)


def main() -> None:
    """Print a table a suite."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("suites", nargs="+", choices=sorted(COHORTS))
    parser.add_argument("--people", type=int, default=250, help="patients, two slices each [250]")
    parser.add_argument("--size", type=int, default=128)
    options = parser.parse_args()
    for name in options.suites:
        print(f"\n{name}, {2 * options.people} cases of {options.size} x {options.size}\n")
        print("| | wall s | processor s | peak MB so far |\n| --- | --- | --- | --- |")
        for label, step in steps(name, options.people, options.size):
            wall, processor = time.perf_counter(), time.process_time()
            step()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            spent = time.perf_counter() - wall, time.process_time() - processor
            print(f"| {label} | {spent[0]:.1f} | {spent[1]:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
