"""HYG-002: augmentation left on in the test partition."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._same_images import (
    FEWEST_PATIENTS,
    PartitionedRun,
    Rule,
    Same,
    SameImages,
    by_image,
    kind_of,
    said,
    same_images,
)
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import pairs, sheet
from medgan_qa.audits.numbers import count, rate
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.augmentation_traces import SPECK, augmentation_traces
from medgan_qa.stats.low_tail import low_tail

CODE = "HYG-002"
SHOWN = 20

Bool = NDArray[np.bool_]


class Traced(NamedTuple):
    """Test images with a trace that the others do not have, each (n,)."""

    padded: Bool
    smoothed: Bool
    against: str
    """What they were compared with."""


def augmented_images(
    run: PartitionedRun,
    *,
    false_alarm: float = 0.05,
    duplicate: float = 0.02,
    reread: int = 100,
    worst: int = 8,
) -> Findings:
    """Augmentation inside the test partition.

    Question. Does the test partition hold images that were made from its other images, or moved and turned before they
    were stored, or that change from one reading to the next?

    What it measures. Test images that are another test image, of the same patient or of another, as it is or after a
    flip, rotation, shift, scale, gamma, contrast, blur, noise or compression: each image beyond the first counts. Test
    images with a filled corner or a border that repeats itself, which the other images do not have, and such with less
    noise than the others at the finest scale, as interpolation leaves it. Test images that are read twice and differ.
    Duplicates inside train are counted apart.

    Why it matters. Augmentation multiplies images, not patients: bounds computed from them are too narrow. A turned or
    flipped image is no image that a scanner makes, and a flip exchanges left and right. On the final test partition
    all augmentation has to be off (Reinhold and Shrestha 2021).

    Known limits. An augmented image is found beside its source; alone, only where it carries a trace. Flips, quarter
    turns, whole-pixel shifts into air, gamma and noise leave none. Filling is not seen where air is stored as one value
    anyway, smoothing not where noise differs much between images. Two slices of one patient are near each other by
    nature, so within a patient only nearly equal and flipped or turned images are called augmented. Which of two images
    is the original is not known. Otherwise as HYG-001.

    Method and source. Pairs as in HYG-001. Traces: patches of one value at the border, lines that repeat or mirror the
    next ones exactly, second differences (Immerkaer 1996; Gallagher 2005 on interpolation); the limit is the log-normal
    tail of the same measure over train images, or test images where there is no train partition, at the chance
    `false_alarm` that any image is flagged by mistake. J. Reinhold, Y. Shrestha, "A technical and regulatory
    perspective on generative adversarial networks in medical devices" (2021): switch augmentation off on the test
    partition.
    """
    findings = Findings()
    test = run.reference
    traced, changed = _traced(run, false_alarm), _changed(run, reread)
    same = same_images(run, Rule(false_alarm, duplicate))
    repeated = {} if isinstance(same, str) else by_image(same.within_test())
    findings.estimates = _counts(run, same, repeated)
    findings.estimates += [
        _count(
            "changed_on_reading",
            "Test images that differ when they are read again",
            len(changed),
            min(reread, len(test)),
        )
    ]
    if traced is not None:
        findings.estimates += [
            _count(
                "padded_images", "Test images with a filled or repeated border", int(traced.padded.sum()), len(test)
            ),
            _count("smoothed_images", "Test images without their finest noise", int(traced.smoothed.sum()), len(test)),
        ]
        findings.notes.append(f"Traces are compared with {traced.against}.")
    findings.rows = _rows(run, same, repeated, traced, changed)
    if isinstance(same, str):
        findings.missing = same
    else:
        findings.notes += [*_kinds(list(repeated.values())), *said(same)]
        _show(findings, same, list(repeated.values()), worst)
    _show_traces(findings, test, traced)
    return findings


def _count(name: str, label: str, value: int, n: int, unit: str = "test image") -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=n, unit_of_analysis=unit, better="lower")


def _counts(run: PartitionedRun, same: SameImages | str, repeated: dict[int, Same]) -> list[Estimate]:
    if isinstance(same, str):
        return []
    test = run.reference
    made = [
        _count("augmented_images", "Test images that repeat another test image", len(repeated), len(test)),
        rate(
            f"{CODE}.augmented_rate",
            "Share of test images that repeat another test image",
            [i in repeated for i in range(len(test))],
            test.patients,
            unit_of_analysis="test image",
            units=test.names,
        ),
    ]
    if run.train is not None:
        twice = len(by_image(same.within_train()))
        made.append(
            _count("train_duplicates", "Train images that repeat another one", twice, len(run.train), "train image")
        )
    return made


def _traced(run: PartitionedRun, false_alarm: float) -> Traced | None:
    """Images with traces; None where there are too few to know what the others look like."""
    from_train = run.train is not None and len(set(run.train.patients)) >= FEWEST_PATIENTS
    others = run.train if from_train and run.train is not None else run.reference
    if len(set(others.patients)) < FEWEST_PATIENTS or min(run.reference.grey.shape[1:]) < 24:
        return None
    usual, found = augmentation_traces(others.grey), augmentation_traces(run.reference.grey)
    speck = SPECK / run.reference.grey[0].size
    people = len(set(others.patients))
    padded = _beyond(1 / (usual.filled + speck), 1 / (found.filled + speck), false_alarm, people)
    padded |= _beyond(1 / (usual.repeated + 1), 1 / (found.repeated + 1), false_alarm, people)
    smoothed = _beyond(usual.sharpness, found.sharpness, false_alarm, people)
    return Traced(padded, smoothed, f"{len(others)} {'train' if from_train else 'test'} images")


def _beyond(usual: NDArray[np.float64], found: NDArray[np.float64], false_alarm: float, people: int) -> Bool:
    """Values below the lower tail of what is usual."""
    below: Bool = found < low_tail(usual, false_alarm, len(found), people).threshold
    return below


def _changed(run: PartitionedRun, reread: int) -> list[int]:
    """Test images, drawn by the run's seed, that are not the same when they are read again."""
    test = run.reference
    drawn = rng.child(run.seed, CODE, "reread").permutation(len(test))[:reread]

    def differs(k: int) -> bool:
        return not np.array_equal(run.cohort.load(test.cases[k]).image, test.images[k], equal_nan=True)

    chosen = sorted(int(k) for k in drawn)
    again = run.engine.map(differs, chosen, label="Reading test images again")
    return [k for k, other in zip(chosen, again, strict=True) if other]


def _rows(
    run: PartitionedRun, same: SameImages | str, partner: dict[int, Same], traced: Traced | None, changed: list[int]
) -> list[Row]:
    """One row a test image with a finding."""
    test = run.reference
    traces: dict[int, list[str]] = {}
    for name, flags in () if traced is None else (("padded", traced.padded), ("smoothed", traced.smoothed)):
        for i in np.flatnonzero(flags).tolist():
            traces.setdefault(i, []).append(name)
    for i in changed:
        traces.setdefault(i, []).append("changed on reading")
    rows = []
    for i in sorted({*partner, *traces}):
        pair = partner.get(i)
        source = None if pair is None or isinstance(same, str) else same.names[pair.one]
        rows.append(
            {
                "case_id": test.names[i],
                "patient_id": test.patients[i],
                "source_case": source,
                "source_patient": None if source is None or pair is None else test.patients[pair.one],
                "change": "" if pair is None else pair.change,
                "residual": None if pair is None else round(pair.residual, 4),
                "traces": ", ".join(traces.get(i, [])),
            }
        )
    return rows


def _kinds(found: list[Same]) -> list[str]:
    if not found:
        return []
    kinds = Counter(kind_of(pair.change) for pair in found)
    listed = ", ".join(f"{number} {kind}" for kind, number in kinds.most_common())
    return [f"Of {len(found)} test images that repeat another one: {listed}."]


def _show(findings: Findings, same: SameImages, found: list[Same], worst: int) -> None:
    pairs(
        findings,
        f"{CODE}-pairs",
        "Test images that are one image",
        f"{min(worst, len(found))} of {len(found)} test images that repeat another one, the most alike first. The one "
        "that stands first is shown after the change that gives the other; which is the original is not known.",
        [same.shown(pair, "worst") for pair in found[:worst]],
        ("test image", "other test image, changed"),
    )


def _show_traces(findings: Findings, test: Pictures, traced: Traced | None) -> None:
    if traced is None or not (traced.padded.any() or traced.smoothed.any()):
        return
    groups = {"padded": test.grey[traced.padded][:SHOWN], "smoothed": test.grey[traced.smoothed][:SHOWN]}
    none = ~(traced.padded | traced.smoothed)
    sheet(
        findings,
        f"{CODE}-traces",
        "Test images with traces of having been moved or turned",
        f"{int(traced.padded.sum())} images with a filled or repeated border and {int(traced.smoothed.sum())} without "
        f"their finest noise, up to {SHOWN} of each; below, others for comparison.",
        {**groups, "without a trace": test.grey[none][:10]},
    )
