"""What the hygiene audits find, change by change: recall, false alarms and processor time of all cores together.

Phantom patients, two slices each, in train and test. A share of the test images is replaced by images of train (a leak)
or of test (augmentation) after one change; the rest is clean. Run from the repository:

    python -m benchmarks.hygiene [--people 500] [--share 0.05] [--seeds 1]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from medgan_qa import rng
from medgan_qa.audits._same_images import Rule, same_images
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.contaminated import augmented, moved
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.engines import LocalEngine

Float = NDArray[np.float32]
Change = Callable[[Float, np.random.Generator], Float]


def _jpeg(image: Float, g: np.random.Generator) -> Float:
    """Blocks of 8 x 8, their cosine coefficients rounded, coarser towards high frequencies."""
    out = image.copy()
    for y in range(0, image.shape[0], 8):
        for x in range(0, image.shape[1], 8):
            block = fft.dctn(image[y : y + 8, x : x + 8], norm="ortho")
            step = 0.06 * (1 + sum(np.indices(block.shape)) * 0.5)
            out[y : y + 8, x : x + 8] = fft.idctn(np.rint(block / step) * step, norm="ortho")
    return out


def _several(image: Float, g: np.random.Generator) -> Float:
    return augmented(augmented(augmented(image, "flip", g), "rotation", g), "gamma", g)


CHANGES: dict[str, Change] = {
    "none": lambda image, g: image.copy(),
    "flip left-right": lambda image, g: augmented(image, "flip", g),
    "quarter turn": lambda image, g: augmented(image, "quarter turn", g),
    "rotation 3 to 15 degrees": lambda image, g: augmented(image, "rotation", g),
    "rotation 25 to 65 degrees": lambda image, g: moved(image, float(g.uniform(25, 65)), 1.0),
    "shift 1 or 2 px (cyclic)": lambda image, g: augmented(image, "shift", g),
    "scale 0.92 to 1.08": lambda image, g: augmented(image, "scale", g),
    "gamma 0.8 or 1.25": lambda image, g: augmented(image, "gamma", g),
    "gain 0.8, offset 0.05": lambda image, g: (0.8 * image + 0.05).astype(np.float32),
    "noise 2 %": lambda image, g: augmented(image, "noise", g),
    "noise 5 %": lambda image, g: (image + 0.05 * g.standard_normal(image.shape)).astype(np.float32),
    "blur 0.6 to 1.2 px": lambda image, g: augmented(image, "blur", g),
    "JPEG-like": _jpeg,
    "flip, rotation and gamma": _several,
}


class Found(NamedTuple):
    """What was found of one change in one run."""

    leaked: float
    augmented: float
    false_alarms: int
    seconds: float
    """Of the processor, all cores together."""


def _run(people: int) -> SynthesisRun:
    cohort = BrainSlices(people=people)
    return SynthesisRun(planted_sampler(cohort, Independent()), cohort, None, LocalEngine(), 0)


def _with(pictures: Pictures, images: Float) -> Pictures:
    return Pictures(images, pictures.names, pictures.patients, pictures.cases, pictures.masks, pictures.spacing_mm)


def measured(clean: SynthesisRun, change: Change | None, share: float, seed: int) -> Found:
    """Half of the planted images come from train, half from test; None plants nothing."""
    assert clean.train is not None
    test, train = clean.reference, clean.train
    g = rng.child(seed, "hygiene")
    order, images = g.permutation(len(test)), test.images.copy()
    many = round(share * len(test)) if change else 0
    sources = {int(i): ("train", int(k)) for i, k in zip(order[:many:2], g.permutation(len(train)), strict=False)}
    sources |= {int(i): ("test", int(k)) for i, k in zip(order[1:many:2], order[many:], strict=False)}
    for i, (partition, k) in sources.items():
        assert change is not None
        images[i, 0] = change((train if partition == "train" else test).images[k, 0], g)
    run = SynthesisRun(clean.subject, clean.cohort, None, LocalEngine(), seed)
    run.__dict__.update(reference=_with(test, images), train=train)
    began = time.process_time()
    same = same_images(run, Rule())
    seconds = time.process_time() - began
    assert not isinstance(same, str), same
    truth = {
        (k + len(test), i) if partition == "train" else (min(i, k), max(i, k)) for i, (partition, k) in sources.items()
    }
    found = {(pair.one, pair.other) for pair in same.pairs}
    hits = found & truth
    # Two images made from one, or slices of a patient whose image was planted, are no pairs of the truth.
    false = [p for p in found - truth if not {p[0], p[1]} & set(sources)]
    leaks = sum(partition == "train" for partition, _ in sources.values())
    rates = (
        sum(one >= len(test) for one, _ in hits) / max(leaks, 1),
        sum(one < len(test) for one, _ in hits) / max(many - leaks, 1),
    )
    return Found(*rates, len(false), seconds)


def rows(people: int, share: float, seeds: int) -> Iterator[str]:
    """The table, line by line."""
    clean = _run(people)
    assert clean.train is not None
    yield f"{len(clean.reference)} test, {len(clean.train)} train images; {share:.0%} of test planted; {seeds} seed(s)"
    yield "| change | train images found in test | test images found in test | false alarms | CPU seconds |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, change in {"nothing planted": None, **CHANGES}.items():
        got = [measured(clean, change, share, seed) for seed in range(seeds)]
        leaked, made = (f"{np.mean(part):.1%}" if change else "-" for part in list(zip(*got, strict=True))[:2])
        alarms, seconds = sum(f.false_alarms for f in got), np.mean([f.seconds for f in got])
        yield f"| {name} | {leaked} | {made} | {alarms} | {seconds:.0f} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=500, help="patients in each partition, two slices each")
    parser.add_argument("--share", type=float, default=0.05, help="of the test images that are planted")
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    for line in rows(given.people, given.share, given.seeds):
        print(line, flush=True)


if __name__ == "__main__":
    main()
