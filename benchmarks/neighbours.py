"""Time every neighbour statistic together against three bare matrix products and against prdc.

    python benchmarks/neighbours.py
    python benchmarks/neighbours.py --sizes 10000 --widths 2048 --rounds 3 --replicates

Features are standard normal, as many real as generated ones; the first half of the real ones stands for the training
set. "All statistics" are precision, recall, density and coverage, the clipped forms, authenticity, C_T and the nearest
training sample, from float32 features, everything included. "Bare" is X X', Y Y' and X Y' in float32 by NumPy, each of
two different arrays: of an array with itself NumPy computes one triangle only. Calls alternate and the minimum of the
rounds counts, so that other work on the machine weighs on all alike. OPENBLAS_NUM_THREADS=1 makes it steadier.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
import tracemalloc
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from run import machine

from medgan_qa.metrics.authenticity import authenticity_of
from medgan_qa.metrics.data_copying import data_copying_of
from medgan_qa.metrics.density_coverage import clipped_density_coverage_of, density_coverage_of
from medgan_qa.metrics.neighbours import KEEP, KEEP_FOR_HALVES, neighbourhood
from medgan_qa.metrics.precision_recall import precision_recall_of
from medgan_qa.rng import child

try:
    from prdc import compute_prdc
except ImportError:
    compute_prdc = None

TARGETS = {512: 1.6, 2048: 1.2}
REPLICATES = 200


class Sets(NamedTuple):
    """Features and which of the real ones are training samples."""

    real: NDArray[np.float32]
    generated: NDArray[np.float32]
    train: NDArray[np.bool_]


def draw(count: int, width: int) -> Sets:
    """Two sets of one distribution."""
    real, generated = child(0, "benchmark", count, width).standard_normal((2, count, width), dtype=np.float32)
    return Sets(real, generated, np.arange(count) < count // 2)


def bare(sets: Sets) -> None:
    """Three products."""
    for a, b in ((sets.real, sets.real.copy()), (sets.generated, sets.generated.copy()), (sets.real, sets.generated)):
        a @ b.T


def everything(sets: Sets) -> None:
    """All neighbour statistics of one pair of sets."""
    near = neighbourhood(sets.real, sets.generated, keep=KEEP)
    precision_recall_of(near)
    density_coverage_of(near)
    clipped_density_coverage_of(near)
    authenticity_of(near, sets.train)
    data_copying_of(near, sets.train)
    near.to_real.kth(near.real.weights(sets.train, "train")[0], 1)


def peer(sets: Sets, dtype: Any) -> None:
    """Precision, recall, density and coverage by prdc."""
    with contextlib.redirect_stdout(None):
        compute_prdc(sets.real.astype(dtype), sets.generated.astype(dtype), nearest_k=5)


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def peak(sets: Sets) -> float:
    """Gigabytes allocated at most beside the features."""
    tracemalloc.start()
    everything(sets)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most / 1e9


def replicated(sets: Sets) -> float:
    """Wall time of all statistics that have an interval, in `REPLICATES` halves."""
    rng = child(0, "benchmark", "halves")
    count = len(sets.real)
    halves = [np.stack([rng.permutation(count) < count // 2 for _ in range(REPLICATES)]) for _ in range(2)]

    def work() -> None:
        near = neighbourhood(sets.real, sets.generated, keep=KEEP_FOR_HALVES)
        for statistic in (precision_recall_of, density_coverage_of, clipped_density_coverage_of, authenticity_of):
            statistic(near, *halves)

    return seconds(work)


def row(count: int, width: int, rounds: int, replicates: bool, peers: bool) -> str:
    """One line of the table."""
    sets = draw(count, width)
    calls: list[Callable[[], object]] = [lambda: bare(sets), lambda: everything(sets)]
    if peers:
        calls += [lambda: peer(sets, np.float32), lambda: peer(sets, np.float64)]
    times = np.min([[seconds(call) for call in calls] for _ in range(rounds)], axis=0).tolist()
    cells = [f"{count}", f"{width}", f"{times[0]:.3f} s", f"{times[1]:.3f} s", f"{times[1] / times[0]:.2f}"]
    cells += [f"{TARGETS[width]}" if width in TARGETS else ""]
    cells += [f"{t / times[1]:.1f} x" for t in times[2:]] or ["", ""]
    cells += [f"{peak(sets):.2f} GB", f"{replicated(sets):.1f} s" if replicates else ""]
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the neighbour statistics and print them as a Markdown table.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 5000], help="samples in each set [%(default)s]")
    parser.add_argument("--widths", type=int, nargs="+", default=[512, 2048], help="features [%(default)s]")
    parser.add_argument("--rounds", type=int, default=3, help="calls of which the fastest counts [%(default)s]")
    parser.add_argument("--replicates", action="store_true", help=f"also {REPLICATES} half samples")
    parser.add_argument("--no-peer", action="store_true", help="leave prdc out")
    options = parser.parse_args()
    if compute_prdc is None and not options.no_peer:
        print("prdc is not installed (pip install prdc scikit-learn); its columns stay empty", file=sys.stderr)
    print(f"Machine: {machine()}\n")
    print("| N | D | bare | all statistics | ratio | target | prdc float32 | prdc float64 | peak memory | replicates |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for count in options.sizes:
        for width in options.widths:
            peers = compute_prdc is not None and not options.no_peer
            print(row(count, width, options.rounds, options.replicates, peers), flush=True)


if __name__ == "__main__":
    main()
