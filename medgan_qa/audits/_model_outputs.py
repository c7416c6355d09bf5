"""What the model under audit made in this run, and which test images are such: nearly equal ones, and by their traces.

A sampler's outputs are its samples, held against test images. A translator's and a super-resolver's are made from the
test images, and held against the paired targets and the images themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._partitions import PartitionedRun, partition, pixel_digest
from medgan_qa.audits._same_images import FEWEST_PATIENTS, Rule, calibrated
from medgan_qa.audits.run import NotFiniteError, grey
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.cohort import Case
from medgan_qa.metrics._working import Working, working
from medgan_qa.metrics.near_copies import ClosePairs, Prepared, near_copies, prepared

Float = NDArray[np.float32]
Vector = NDArray[np.float64]
Index = NDArray[np.intp]

STORED = 1 / 255
"""Largest difference (unit range) that storing an output in 8 bits makes."""
SAMPLER, TRANSLATOR = "samples", "outputs"


@dataclass(frozen=True, eq=False)
class Made:
    """Images that the model made, all finite, and what of each test case they are held against."""

    kind: str
    """`samples` or `outputs`."""
    names: tuple[str, ...]
    """(M,) names of samples, or the cases that outputs were made from."""
    units: tuple[str, ...]
    """(M,) what is independent of what: the sample, or the patient that an output was made from."""
    images: tuple[Float, ...]
    """(M,) of (H, W) in unit range."""
    small: Working
    """(M, 64, 64)"""
    targets: dict[str, Float]
    """Paired targets (H, W) by case id; empty for samples."""
    digests: frozenset[str]
    """Of the pixels of samples with all their channels; empty for outputs."""


class Near(NamedTuple):
    """Test images that are outputs of the model."""

    pairs: ClosePairs
    """Test image and output."""
    roles: tuple[str, ...]
    """(P,) `image` or `target` of the test case."""
    cases: tuple[Case, ...]
    """(P,)"""
    sources: tuple[str, ...]
    """(P,) names of the outputs."""
    threshold: float
    untold: tuple[str, ...] = ()
    """Why outputs could not be told among images, or among targets."""


def made(run: PartitionedRun) -> Made | str | None:
    """What the run's model made; None for a model that makes no images, a text where nothing can be said of them."""
    if isinstance(run, SynthesisRun):
        samples = run.sampled
        finite = np.isfinite(samples.images).all(axis=(1, 2, 3))
        kept = [grey(image) for image in samples.images[finite]]
        names, units = ([values[i] for i in np.flatnonzero(finite)] for values in (samples.names, samples.patients))
        digests = frozenset(pixel_digest(image) for image in samples.images[finite])
        return _made(SAMPLER, names, units, kept, {}, digests)
    if isinstance(run, TranslationRun):
        try:
            items = run.items
        except NotFiniteError:
            return "The model's outputs are not all finite, so test images are not compared with them."
        targets = {item.case.case_id: item.reference for item in items if item.reference is not None}
        outputs = [item.output for item in items]
        names = [item.case.case_id for item in items]
        return _made(TRANSLATOR, names, [item.case.patient_id for item in items], outputs, targets, frozenset())
    return None


def _made(
    kind: str,
    names: Sequence[str],
    units: Sequence[str],
    images: list[Float],
    targets: dict[str, Float],
    digests: frozenset[str],
) -> Made | str:
    if not images:
        return "The model made no image that is finite."
    small = [working(np.asarray(image, np.float32)) for image in images]
    together = Working(np.concatenate([s.pixels for s in small]), np.concatenate([s.extent for s in small]))
    return Made(kind, tuple(names), tuple(units), tuple(images), together, targets, digests)


def near_outputs(run: PartitionedRun, made: Made, rule: Rule) -> Near | str:
    """Test images that are outputs, under the changes that the search of HYG-001 undoes; a text where none is told.

    Samples are held against every test image, outputs against image and target of the case that they were made from.
    The limit is taken from how near they come to all of these; of outputs, which are near their targets by purpose, a
    residual below `duplicate` is asked for besides.
    """
    test = partition(run, "test")
    assert test is not None
    if len(set(test.patients)) < FEWEST_PATIENTS or len(made.images) < FEWEST_PATIENTS:
        return f"{FEWEST_PATIENTS} test patients and as many {made.kind} are needed to know how near they come."
    asked = [("image", test.cases, test.working)]
    if made.targets:
        asked.append(("target", *_targets(test.cases, made)))
    known = prepared(made.small.pixels, made.small.extent)
    parts = [_near(role, cases, small, made, known, rule) for role, cases, small in asked]
    found = [part for part in parts if isinstance(part, Near)]
    if not found:
        return str(parts[0])
    pairs = [(part, k) for part in found for k in range(len(part.pairs))]
    every = ClosePairs(
        **{name: np.concatenate([getattr(p.pairs, name) for p in found]) for name in ClosePairs.__dataclass_fields__}
    )
    return Near(
        every,
        tuple(part.roles[k] for part, k in pairs),
        tuple(part.cases[k] for part, k in pairs),
        tuple(part.sources[k] for part, k in pairs),
        max(part.threshold for part in found),
        tuple(part for part in parts if isinstance(part, str)),
    )


def _targets(cases: Sequence[Case], made: Made) -> tuple[tuple[Case, ...], Working]:
    held = tuple(case for case in cases if case.case_id in made.targets)
    small = [working(np.asarray(made.targets[case.case_id], np.float32)) for case in held]
    return held, Working(np.concatenate([s.pixels for s in small]), np.concatenate([s.extent for s in small]))


def _near(role: str, cases: tuple[Case, ...], small: Working, made: Made, known: Prepared, rule: Rule) -> Near | str:
    asked = prepared(small.pixels, small.extent)
    if made.targets:
        close = near_copies(asked, known, [case.case_id for case in cases], made.names, among="own")
        scores = close.residual, close.quiet
    else:
        groups = [f"patient {case.patient_id}" for case in cases]
        close = near_copies(asked, known, groups, [f"made {unit}" for unit in made.units])
        scores = close.score, close.quiet_score
    half = rule._replace(false_alarm=rule.false_alarm / 2)
    people = len({case.patient_id for case in cases})
    limits = [calibrated(close.residual, score, half, len(cases), people) for score in scores]
    if isinstance(limits[0], str) or isinstance(limits[1], str):
        return (
            f"The model's {made.kind} are as near to many of the test partition's {role}s as copies are, so that one "
            "among them cannot be told from a faithful one."
        )
    plain, quiet = limits[0][0].threshold, limits[1][0].threshold
    flagged = (scores[0] < plain) | (scores[1] < quiet)
    if made.targets:
        # An output is near its target by purpose, and very near where the model is good.
        flagged &= np.minimum(close.residual, close.quiet) < rule.duplicate
        plain = min(plain, rule.duplicate)
    chosen = close.where(flagged)
    sources = tuple(made.names[k] for k in chosen.reference)
    return Near(chosen, (role,) * len(chosen), tuple(cases[k] for k in chosen.query), sources, plain)


def equal_outputs(run: PartitionedRun, made: Made) -> dict[str, str]:
    """Test cases whose target is what the model makes of the case, as stored in 8 bits; `target` by case id.

    Where that is so in more than a third of the cases of a drawn cohort, the model computes the drawing, and nothing is
    said: a planted control without a fault does.
    """
    equal = {
        name: "target"
        for name, output in zip(made.names, made.images, strict=True)
        if name in made.targets and _equal(made.targets[name], output)
    }
    return {} if run.cohort.phantom and len(equal) * 3 > len(made.targets) else equal


def _equal(target: Float, output: Float) -> bool:
    if target.shape != output.shape or np.ptp(target) == 0:
        return False
    return bool(np.abs(np.asarray(target, np.float64) - np.clip(output, 0, 1)).max() <= STORED)
