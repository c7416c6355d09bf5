"""HYG-002: augmentation left on in the test partition."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._partitions import PartitionedRun, RealImages, partition, pixel_digest, streamed
from medgan_qa.audits._same_images import (
    FEWEST_PATIENTS,
    Rule,
    Same,
    SameImages,
    by_image,
    kind_of,
    said,
    same_images,
)
from medgan_qa.audits._shown_pairs import shown_pairs
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import pairs, sheet
from medgan_qa.audits.numbers import count, rate
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.augmentation_traces import SPECK
from medgan_qa.stats.low_tail import low_tail

CODE = "HYG-002"
NO_TEST = "The dataset has no test partition."
SHOWN = 20

Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]


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
    flip, rotation, crop, shift, scale, gamma, contrast, blur, noise or compression: each image beyond the first counts.
    Test images with a filled corner or a border that repeats itself, which the other images do not have, and such with
    less noise than the others at the finest scale, as interpolation leaves it. Test images that are read twice and
    differ. Duplicates inside train are counted apart.

    Why it matters. Augmentation multiplies images, not patients: bounds computed from them are too narrow. A turned or
    flipped image is no image that a scanner makes, and a flip exchanges left and right. On the final test partition
    all augmentation has to be off (Reinhold and Shrestha 2021).

    Known limits. An augmented image is found beside its source; alone, only where it carries a trace. Flips, quarter
    turns, whole-pixel shifts into air, gamma and noise leave none. Filling is not seen where air is stored as one value
    anyway, smoothing not where noise differs much between images. Two slices of one patient are near each other by
    nature, so within a patient only nearly equal and flipped or turned images are called augmented, and within a volume
    only equal, flipped and turned ones. Which of two images is the original is not known. Otherwise as HYG-001.

    Method and source. Pairs as in HYG-001. Traces: patches of one value at the border, lines that repeat or mirror the
    next ones exactly, second differences (Immerkaer 1996; Gallagher 2005 on interpolation); the limit is the log-normal
    tail of the same measure over train images, or test images where there is no train partition, at the chance
    `false_alarm` that any image is flagged by mistake. J. Reinhold, Y. Shrestha, "A technical and regulatory
    perspective on generative adversarial networks in medical devices" (2021): switch augmentation off on the test
    partition.
    """
    findings = Findings()
    test, train = partition(run, "test"), partition(run, "train")
    if test is None:
        findings.not_applicable = NO_TEST
        return findings
    traced, changed = _traced(test, train, false_alarm), _changed(run, test, reread)
    same = same_images(run, Rule(false_alarm, duplicate))
    repeated = by_image(same.within_test())
    findings.estimates = _counts(test, train, same, repeated)
    label = "Test images that differ when they are read again"
    findings.estimates.append(_count("changed_on_reading", label, len(changed), min(reread, len(test))))
    if traced is not None:
        findings.estimates += [
            _count(
                "padded_images", "Test images with a filled or repeated border", int(traced.padded.sum()), len(test)
            ),
            _count("smoothed_images", "Test images without their finest noise", int(traced.smoothed.sum()), len(test)),
        ]
        findings.notes.append(f"Traces are compared with {traced.against}.")
    findings.rows = _rows(test, same, repeated, traced, changed)
    findings.notes += [*_kinds(list(repeated.values())), *said(same)]
    if same.missing is not None:
        # What was found is found, whatever could not be searched.
        if repeated or changed:
            findings.notes.append(f"Changed images could not be searched: {same.missing}")
        else:
            findings.missing = same.missing
    _show(findings, run, same, list(repeated.values()), worst)
    _show_traces(findings, test, traced)
    return findings


def _count(name: str, label: str, value: int, n: int, unit: str = "test image") -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=n, unit_of_analysis=unit, better="lower")


def _counts(test: RealImages, train: RealImages | None, same: SameImages, repeated: dict[int, Same]) -> list[Estimate]:
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
    if train is not None:
        twice = len(by_image(same.within_train()))
        made.append(
            _count("train_duplicates", "Train images that repeat another one", twice, len(train), "train image")
        )
    return made


def _traced(test: RealImages, train: RealImages | None, false_alarm: float) -> Traced | None:
    """Images with traces; None where there are too few to know what the others look like."""
    from_train = train is not None and len(set(train.patients)) >= FEWEST_PATIENTS
    others = train if from_train and train is not None else test
    known, seen = (np.isfinite(part.traces.sharpness) for part in (others, test))
    people = len({patient for patient, k in zip(others.patients, known, strict=True) if k})
    if people < FEWEST_PATIENTS or not seen.any():
        return None

    def flagged(usual: Vector, found: Vector) -> Bool:
        flags = np.zeros(len(test), bool)
        flags[seen] = _beyond(usual[known], found[seen], false_alarm, people)
        return flags

    usual, found = others.traces, test.traces
    speck = [SPECK / part.sizes.prod(axis=1) for part in (others, test)]
    padded = flagged(1 / (usual.filled + speck[0]), 1 / (found.filled + speck[1]))
    padded |= flagged(1 / (usual.repeated + 1), 1 / (found.repeated + 1))
    smoothed = flagged(usual.sharpness, found.sharpness)
    return Traced(padded, smoothed, f"{len(others)} {others.partition} images")


def _beyond(usual: NDArray[np.float64], found: NDArray[np.float64], false_alarm: float, people: int) -> Bool:
    """Values below the lower tail of what is usual."""
    below: Bool = found < low_tail(usual, false_alarm, len(found), people).threshold
    return below


def _changed(run: PartitionedRun, test: RealImages, reread: int) -> list[int]:
    """Test images, drawn by the run's seed, that are not the same when they are read again."""
    drawn = rng.child(run.seed, CODE, "reread").permutation(len(test))[:reread]
    chosen = sorted(int(k) for k in drawn)
    label = "Reading test images again"
    again = streamed(run, [test.cases[k] for k in chosen], lambda _, images: pixel_digest(images.image), label)
    return [k for k, digest in zip(chosen, again, strict=True) if digest != test.digests[k]]


def _rows(
    test: RealImages, same: SameImages, partner: dict[int, Same], traced: Traced | None, changed: list[int]
) -> list[Row]:
    """One row a test image with a finding."""
    traces: dict[int, list[str]] = {}
    for name, flags in () if traced is None else (("padded", traced.padded), ("smoothed", traced.smoothed)):
        for i in np.flatnonzero(flags).tolist():
            traces.setdefault(i, []).append(name)
    for i in changed:
        traces.setdefault(i, []).append("changed on reading")
    rows = []
    for i in sorted({*partner, *traces}):
        pair = partner.get(i)
        source = None if pair is None else same.cases[pair.one]
        rows.append(
            {
                "case_id": test.names[i],
                "patient_id": test.patients[i],
                "source_case": None if source is None else source.case_id,
                "source_patient": None if source is None else source.patient_id,
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


def _show(findings: Findings, run: PartitionedRun, same: SameImages, found: list[Same], worst: int) -> None:
    pairs(
        findings,
        f"{CODE}-pairs",
        "Test images that are one image",
        f"{min(worst, len(found))} of {len(found)} test images that repeat another one, the most alike first. The one "
        "that stands first is shown after the change that gives the other; which is the original is not known.",
        shown_pairs(run, same, found[:worst], "worst"),
        ("test image", "other test image, changed"),
    )


def _show_traces(findings: Findings, test: RealImages, traced: Traced | None) -> None:
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
