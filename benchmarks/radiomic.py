"""Time the radiomic features beside those of frd-score (PyRadiomics), on the same images.

    python benchmarks/radiomic.py
    python benchmarks/radiomic.py --peer-python /path/to/other/environment/bin/python
    python benchmarks/radiomic.py --sizes 64 256 --images 16 --repeats 5

frd-score and PyRadiomics are imported where they are installed; PyRadiomics wants an older NumPy, so `--peer-python`
may name the interpreter of another environment. Where they are missing, our times stand alone. The peer is run as its
own users run it, with the settings that it ships and without a mask, on images of 2 mm pixels: it resamples to 2 mm, so
both sides see the same number of pixels. Ours and theirs are run in turn, and the shortest of the repeats counts.
Nothing passes or fails here.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

PEERS = ("radiomics", "frd_score", "SimpleITK")
SPACING_MM = 2.0
"""Pixels of the size to which frd-score's settings resample."""


class Timed(NamedTuple):
    """What one side took for all images."""

    wall: float
    processor: float
    features: int


def timed(call: Callable[[], int]) -> Timed:
    """Seconds of a call that returns how many features an image has."""
    wall, processor = time.perf_counter(), time.process_time()
    features = call()
    return Timed(time.perf_counter() - wall, time.process_time() - processor, features)


def phantoms(size: int, count: int) -> Any:
    """The embedded phantom in FLAIR, float32 (N, H, W)."""
    from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
    from medgan_qa.cohorts.phantom_render import render

    specs = draw_cohort(COHORT_SEED, "benchmark", count)[:count]
    return np.stack([render(spec, "FLAIR", size) for spec in specs])


def ours(images: Any) -> Timed:
    """Our extractor on all images."""
    from medgan_qa.features.radiomic import RadiomicExtractor

    source = RadiomicExtractor()
    source.features(images[:1, None])  # imports, and tables that images of one size share
    return timed(lambda: source.features(images[:, None]).shape[1])


def theirs(images: Any) -> Timed:
    """frd-score's extraction of one image after the other, in this process; reading the files is not counted."""
    import frd_score
    import SimpleITK
    from frd_score import frd

    logging.getLogger("radiomics").setLevel(logging.ERROR)
    settings = Path(frd_score.__file__).parent / "configs" / "extraction_2d.yaml"
    extractor = frd.get_feature_extractor_v1(str(settings))
    with tempfile.TemporaryDirectory() as folder:
        pairs = []
        for k, image in enumerate(images):
            stored = SimpleITK.GetImageFromArray(image)
            stored.SetSpacing((SPACING_MM, SPACING_MM))
            SimpleITK.WriteImage(stored, str(Path(folder) / f"{k}.mha"))
            pairs.append((str(Path(folder) / f"{k}.mha"), None))

        def run() -> int:
            return [frd.process_image_mask_pair(pair, feature_extractor=extractor)[2] for pair in pairs][-1]

        frd.process_image_mask_pair(pairs[0], feature_extractor=extractor)
        return timed(run)


def missing() -> list[str]:
    """Which of the peer's packages this interpreter lacks."""
    return [name for name in PEERS if importlib.util.find_spec(name) is None]


def peer(python: str, images: Any) -> Timed:
    """`theirs` in another interpreter."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.npy"
        np.save(file, images)
        command = [python, __file__, "--as-peer", str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"The peer failed in {python}:\n{done.stderr}")
    return Timed(*json.loads(done.stdout.splitlines()[-1]))


def shortest(runs: list[Timed]) -> Timed:
    """The shortest wall and the shortest processor time."""
    return Timed(min(run.wall for run in runs), min(run.processor for run in runs), runs[0].features)


def row(size: int, count: int, repeats: int, python: str | None) -> str:
    """One line of the table."""
    images = phantoms(size, count)
    runs: list[list[Timed]] = [[], []]
    for _ in range(repeats):
        runs[0].append(ours(images))
        if python is not None:
            runs[1].append(peer(python, images))
    mine = shortest(runs[0])
    cells = [f"{size} x {size}", _milliseconds(mine, count), str(mine.features)]
    if python is None:
        return " | ".join([*cells, "not installed", "", ""])
    other = shortest(runs[1])
    ratio = f"{other.wall / mine.wall:.0f} ({other.processor / mine.processor:.0f})"
    return " | ".join([*cells, _milliseconds(other, count), str(other.features), ratio])


def _milliseconds(found: Timed, count: int) -> str:
    return f"{1e3 * found.wall / count:.2f} ({1e3 * found.processor / count:.2f})"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Time radiomic features beside frd-score's.")
    parser.add_argument("--sizes", type=int, nargs="+", default=[64, 256], help="pixels along a side %(default)s")
    parser.add_argument("--images", type=int, default=16, help="images of each size [%(default)s]")
    parser.add_argument("--repeats", type=int, default=3, help="runs of each side [%(default)s]")
    parser.add_argument("--peer-python", help="interpreter that has frd-score and PyRadiomics [this one]")
    parser.add_argument("--as-peer", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.as_peer:
        print(json.dumps(theirs(np.load(options.as_peer))))
        return
    python = options.peer_python or (None if missing() else sys.executable)
    if python is None:
        print(f"frd-score cannot be timed here, missing: {', '.join(missing())} (see --peer-python)\n", file=sys.stderr)
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} at the start, {platform.machine()}\n")
    print("Milliseconds an image, wall time (processor time).\n")
    print(
        "| image | medgan-qa | features | frd-score | features | times as fast |\n| --- | --- | --- | --- | --- | --- |"
    )
    for size in options.sizes:
        print(f"| {row(size, options.images, options.repeats, python)} |", flush=True)


if __name__ == "__main__":
    main()
