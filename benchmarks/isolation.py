"""What it costs to run models in processes of their own: the passes of a 200-case translation audit, both ways.

    OMP_NUM_THREADS=1 python -m benchmarks.isolation
    python -m benchmarks.isolation --model reference:resnet-balanced --cases 200 --rounds 7

Every case is translated once, in batches as an audit does it, and its reference and its translation are read by the
detector. After each batch the other way has its turn with the same batch, so that what else the machine does falls on
both. Time is taken on the wall, which on a busy machine holds much waiting for a turn, and on the processor, of the
audit and the models' processes together. Starting up and opening the models is timed apart. Outputs have to be the
same, bit by bit; nothing else passes or fails here.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.translation import BATCH
from medgan_qa.cohorts.cohort import CaseImages
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.subjects.load import load_subject
from medgan_qa.subjects.protocols import Subject

WAYS = {"in process": True, "own process": False}


class Models(NamedTuple):
    """The models of one way."""

    translator: Subject
    detector: Subject

    def processor_s(self) -> float:
        """Seconds on the processor so far, of this process and of the models'."""
        spent = time.process_time()
        for model in self:
            network: Any = model.network
            process = getattr(network.network, "_process", None)
            if process is not None:
                spent += sum(_thread_s(place) for place in Path(f"/proc/{process.pid}/task").iterdir())
        return spent

    def passes(self, batch: Sequence[CaseImages]) -> NDArray[np.float32]:
        """Translate a batch and read reference and translation of each case."""
        translated = self.translator.translate(np.stack([images.image for images in batch]), 0)
        pairs = zip(batch, translated, strict=True)
        return np.stack([self.detector.read(np.stack([_target(images), output])) for images, output in pairs])


def _target(images: CaseImages) -> NDArray[np.float32]:
    assert images.target is not None  # phantoms have both domains
    return images.target


def _thread_s(place: Path) -> float:
    return int((place / "schedstat").read_text().split()[0]) / 1e9


class Spent(NamedTuple):
    """Seconds."""

    wall: float
    processor: float


def timed(models: Models, batch: Sequence[CaseImages]) -> tuple[Spent, NDArray[np.float32]]:
    """The passes of one batch with what they took."""
    wall, processor = time.perf_counter(), models.processor_s()
    out = models.passes(batch)
    return Spent(time.perf_counter() - wall, models.processor_s() - processor), out


def one_round(ways: dict[str, Models], batches: Sequence[Sequence[CaseImages]]) -> dict[str, Spent]:
    """All batches, both ways in turn; seconds a way."""
    total = {way: np.zeros(2) for way in ways}
    for k, batch in enumerate(batches):
        outputs = {}
        for way in list(ways)[:: 1 if k % 2 else -1]:
            spent, outputs[way] = timed(ways[way], batch)
            total[way] += spent
        if not np.array_equal(outputs["in process"], outputs["own process"]):
            raise SystemExit("the two ways gave different outputs")
    return {way: Spent(*seconds) for way, seconds in total.items()}


def opened(model: str, detector: str) -> tuple[dict[str, Models], dict[str, float]]:
    """The models both ways, and the seconds that opening them took."""
    ways, seconds = {}, {}
    for way, trust in WAYS.items():
        began = time.perf_counter()
        ways[way] = Models(load_subject(model, trust=trust), load_subject(detector, trust=trust))
        seconds[way] = time.perf_counter() - began
    return ways, seconds


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="reference:pix2pix-balanced")
    parser.add_argument("--detector", default="reference:detector-flair")
    parser.add_argument("--cases", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cohort = BrainPhantoms(people=-(-options.cases // 2))
    images = [cohort.load(case) for case in cohort.cases[: options.cases]]
    batches = [images[k : k + BATCH] for k in range(0, len(images), BATCH)]
    began = time.perf_counter()
    load_subject(options.model)
    first = time.perf_counter() - began
    opened(options.model, options.detector)
    ways, opening = opened(options.model, options.detector)
    one_round(ways, batches[:2])
    rounds = [one_round(ways, batches) for _ in range(options.rounds)]
    print(f"{len(images)} cases, {options.rounds} rounds, {os.getloadavg()[0]:.1f} processes waiting on average")
    print(f"First model, start of the server with its import of torch included: {first:.2f} s")
    print(f"Opening two models after that: {opening['in process']:.2f} s in process, {opening['own process']:.2f} s\n")
    print("| passes | in process | own process | ratio, median over rounds (each) |\n| --- | --- | --- | --- |")
    for kind in Spent._fields:
        here, own = ([getattr(one[way], kind) for one in rounds] for way in WAYS)
        ratios = [b / a for a, b in zip(here, own, strict=True)]
        listed = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        middle = [statistics.median(values) for values in (here, own, ratios)]
        print(f"| {kind} | {middle[0]:.2f} s | {middle[1]:.2f} s | {middle[2]:.3f} ({listed}) |")


if __name__ == "__main__":
    main()
