"""Time the audits of the synthesis suite on cached features, with 200 half samples by patient behind every interval.

    python benchmarks/suite.py
    python benchmarks/suite.py --images 1000 --features 512 2048

Features are drawn at random (two images a patient, no files, no network), so what is timed is the statistics alone. The
audits of images (technical faults, anatomy, copies in aligned images, patches) are timed by `benchmarks/run.py`, in a
whole audit. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.metrics import (
    authenticity_of,
    clipped_density_coverage_of,
    density_coverage_of,
    frechet_distance,
    frechet_distance_infinity,
    frechet_infinity_replicates,
    frechet_replicates,
    kernel_distance,
    kernel_replicates,
    median_bandwidth,
    ndb,
    neighbourhood,
    precision_recall_of,
    vendi_replicates,
    vendi_score,
)
from medgan_qa.metrics.neighbours import KEEP_FOR_HALVES
from medgan_qa.stats import draw_halves

RESAMPLES = 200
TARGETS = {1000: "60 s", 10000: "5 min, 4 GB"}


def features(images: int, dimensions: int, name: str) -> NDArray[np.float32]:
    """Correlated features with a decaying spectrum, as networks give them."""
    g = rng.child(0, "benchmark", name, images, dimensions)
    scale = 1 / np.sqrt(1 + np.arange(dimensions) / 16)
    return (g.standard_normal((images, dimensions), dtype=np.float32) * scale).astype(np.float32)


def steps(n: int, d: int) -> dict[str, Callable[[], Any]]:
    """Every estimator with its replicates, by name."""
    real, generated, train = (features(n, d, name) for name in ("real", "generated", "train"))
    patients, samples = [str(i // 2) for i in range(n)], [str(i) for i in range(n)]
    halves = (
        draw_halves(patients, RESAMPLES, rng.child(0, "real")),
        draw_halves(samples, RESAMPLES, rng.child(0, "gen")),
    )
    bandwidth = median_bandwidth(real)
    groups: dict[str, Any] = {"clusters_real": patients, "clusters_generated": samples}

    def neighbours() -> None:
        near = neighbourhood(real, generated, keep=KEEP_FOR_HALVES)
        for function in (precision_recall_of, density_coverage_of, clipped_density_coverage_of, authenticity_of):
            function(near)
            function(near, *halves)

    def infinity() -> None:
        frechet_distance_infinity(real, generated, generator=rng.child(0, "a"), **groups)
        frechet_infinity_replicates(real, generated, *halves, generator=rng.child(0, "b"), **groups)

    def kernels() -> None:
        for options in ({}, {"kernel": "rbf", "bandwidth": bandwidth}):
            kernel_distance(real, generated, **options)
            kernel_replicates(real, generated, *halves, **options)

    def frechet() -> None:
        frechet_distance(real, generated)
        frechet_replicates(real, generated, *halves)

    def vendi() -> None:
        vendi_score(generated)
        vendi_replicates(generated, halves[1])

    return {
        "precision, recall, density, coverage, clipped forms, authenticity": neighbours,
        "Frechet distance": frechet,
        "Frechet distance, extrapolated": infinity,
        "kernel distances, polynomial and Gaussian": kernels,
        "Vendi score": vendi,
        "number of different bins": lambda: ndb(
            train, real, generated, rng.child(0, "bins"), bins=20, real_clusters=patients
        ),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description="Time the estimators of the synthesis suite with 200 half samples each."
    )
    parser.add_argument("--images", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--features", type=int, nargs="+", default=[512, 2048])
    options = parser.parse_args()
    print("| images a side | features | estimator | seconds |\n| --- | --- | --- | --- |")
    for n in options.images:
        for d in options.features:
            total = 0.0
            for name, call in steps(n, d).items():
                began = time.perf_counter()
                call()
                seconds = time.perf_counter() - began
                total += seconds
                print(f"| {n:,} | {d:,} | {name} | {seconds:.1f} |", flush=True)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
            target = TARGETS.get(n, "none")
            print(
                f"| {n:,} | {d:,} | **all**, peak {peak:.1f} GB so far (target {target}) | **{total:.1f}** |",
                flush=True,
            )


if __name__ == "__main__":
    main()
