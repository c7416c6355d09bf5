"""Time the distances between feature distributions beside those of other packages, in one run.

    python benchmarks/distances.py
    python benchmarks/distances.py --samples 500 1000 --features 512 --repeats 5
    python benchmarks/distances.py --replicates 200

Ours and theirs are run in turn on the same features, so that both meet the same load, and the shortest of the repeats
counts. Needs torch-fidelity; torchmetrics is timed where it is installed. Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch_fidelity import metric_fid, metric_kid

from medgan_qa.metrics.frechet import frechet_distance, frechet_replicates
from medgan_qa.metrics.kernel_distance import kernel_distance, kernel_replicates
from medgan_qa.rng import child
from medgan_qa.stats import draw_halves

Single = NDArray[np.float32]
SEED = 20240607
KID = {"kid_subsets": 100, "kid_subset_size": 1000, "kid_kernel": "poly", "kid_kernel_poly_degree": 3}
KID |= {"kid_kernel_poly_gamma": None, "kid_kernel_poly_coef0": 1, "rng_seed": 2020, "verbose": False}


class Row(NamedTuple):
    """One line of the table."""

    what: str
    samples: int
    features: int
    ours: float
    theirs: float
    difference: str


def features(n: int, d: int, purpose: str) -> Single:
    """Features as networks make them: not negative, with a mean, correlated, variances that decay as 1 / rank."""
    rng = child(SEED, purpose, n, d)
    mixing = child(SEED, "mixing", d).normal(size=(d, d)) / np.sqrt(d)
    latent = rng.normal(size=(n, d)) / np.sqrt(np.arange(1, d + 1)) * (1.05 if purpose == "generated" else 1.0)
    return np.maximum(latent @ mixing + 0.3, 0.0).astype(np.float32)


def in_turn(repeats: int, *calls: Callable[[], float]) -> tuple[list[float], list[float]]:
    """Shortest wall time and value of each call; the calls alternate."""
    seconds, values = [float("inf")] * len(calls), [0.0] * len(calls)
    for _ in range(repeats):
        for index, call in enumerate(calls):
            began = time.perf_counter()
            values[index] = call()
            seconds[index] = min(seconds[index], time.perf_counter() - began)
    return seconds, values


def fidelity_frechet(real: Single, generated: Single) -> float:
    """FID of torch-fidelity: non-symmetric eigenvalues."""
    statistics = (metric_fid.fid_features_to_statistics(torch.from_numpy(x).double()) for x in (real, generated))
    return float(metric_fid.fid_statistics_to_metric(*statistics, verbose=False)[metric_fid.KEY_METRIC_FID])


def fidelity_kernel(real: Single, generated: Single) -> float:
    """KID of torch-fidelity: the mean over 100 subsets of 1000."""
    found = metric_kid.kid_features_to_metric(torch.from_numpy(real), torch.from_numpy(generated), **KID)
    return float(found[metric_kid.KEY_METRIC_KID_MEAN])


def metrics_frechet() -> Callable[[Single, Single], float] | None:
    """FID of torchmetrics on features; None where it is not installed."""
    try:
        from torchmetrics.image.fid import _compute_fid
    except ImportError:
        return None

    def compute(real: Single, generated: Single) -> float:
        parts = []
        for x in (real, generated):
            values = torch.from_numpy(x).double()
            mean = values.mean(dim=0)
            # the covariance from raw sums, as the metric's update and compute keep it
            covariance = (values.T @ values - len(values) * torch.outer(mean, mean)) / (len(values) - 1)
            parts += [mean, covariance]
        return float(_compute_fid(*parts))

    return compute


def frechet_rows(n: int, d: int, repeats: int) -> list[Row]:
    """The Frechet distance beside each of the others."""
    real, generated = features(n, d, "real"), features(n, d, "generated")
    others = {"torch-fidelity": fidelity_frechet}
    torchmetrics = metrics_frechet()
    if torchmetrics is not None:
        others["torchmetrics"] = torchmetrics
    calls = [lambda: frechet_distance(real, generated)]
    calls += [lambda other=other: other(real, generated) for other in others.values()]
    seconds, values = in_turn(repeats, *calls)
    return [
        Row(f"Frechet, {name}", n, d, seconds[0], taken, f"{abs(values[0] / value - 1):.1e} of the value")
        for name, taken, value in zip(others, seconds[1:], values[1:], strict=True)
    ]


def kernel_rows(n: int, d: int, repeats: int) -> list[Row]:
    """The kernel distance with its standard error beside the mean over subsets."""
    if n < KID["kid_subset_size"]:
        return []
    real, generated = features(n, d, "real"), features(n, d, "generated")
    calls = (lambda: kernel_distance(real, generated).value, lambda: fidelity_kernel(real, generated))
    seconds, values = in_turn(repeats, *calls)
    error = kernel_distance(real, generated).standard_error
    difference = f"{abs(values[0] - values[1]) / error:.2f} standard errors" if error else "no standard error"
    return [Row("kernel, torch-fidelity", n, d, *seconds, difference)]


def replicate_rows(n: int, d: int, count: int) -> list[tuple[str, int, int, float]]:
    """Seconds for `count` half samples, once."""
    real, generated = features(n, d, "real"), features(n, d, "generated")
    halves = [draw_halves(range(n), count, child(SEED, side, n)) for side in ("real", "generated")]
    rows = []
    for name, replicates in (("Frechet", frechet_replicates), ("kernel", kernel_replicates)):
        began = time.perf_counter()
        replicates(real, generated, *halves)
        rows.append((f"{name}, {count} half samples", n, d, time.perf_counter() - began))
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time the distances beside those of other packages.")
    parser.add_argument("--samples", type=int, nargs="+", default=[500, 1000, 2000, 5000, 10000], metavar="N")
    parser.add_argument("--features", type=int, nargs="+", default=[512, 2048], metavar="D")
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--replicates", type=int, default=0, metavar="B", help="also time B half samples [none]")
    options = parser.parse_args()
    print(f"Machine: {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start, numpy {np.__version__}\n")
    print("| what | N | D | ours, s | theirs, s | ratio | difference |\n| --- | --- | --- | --- | --- | --- | --- |")
    for d in options.features:
        for n in options.samples:
            for row in [*frechet_rows(n, d, options.repeats), *kernel_rows(n, d, options.repeats)]:
                timed = f"{row.ours:.3f} | {row.theirs:.2f} | {row.theirs / row.ours:.1f}"
                print(f"| {row.what} | {row.samples} | {row.features} | {timed} | {row.difference} |")
                sys.stdout.flush()
    if options.replicates:
        print("\n| what | N | D | ours, s |\n| --- | --- | --- | --- |")
        for d in options.features:
            for n in options.samples:
                for what, *sizes, taken in replicate_rows(n, d, options.replicates):
                    print(f"| {what} | {sizes[0]} | {sizes[1]} | {taken:.1f} |")
                    sys.stdout.flush()


if __name__ == "__main__":
    main()
