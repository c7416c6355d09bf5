"""Chosen cases that are passed through the model again, as they are or changed, and what a detector reads in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Row
from medgan_qa.audits.detector import NO_DETECTOR, qualify
from medgan_qa.audits.lesions import Lesion, lesions_of, unseen_in_target
from medgan_qa.audits.run import NotFiniteError, for_detector, grey
from medgan_qa.audits.translation import BATCH, Item, Reading, TranslationRun
from medgan_qa.errors import MedganQAError, ModelError
from medgan_qa.metrics import MatchingRule
from medgan_qa.subjects.load import load_again
from medgan_qa.subjects.protocols import Subject

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
Answer = Float | str
"""What the model made of an image, (C, H, W) in unit range; or, in words, how it refused."""


class Sample(NamedTuple):
    """The cases that are passed through the model again."""

    items: list[Item]
    images: list[Float]
    """(C, H, W) each, the source images with all their channels."""

    @property
    def patients(self) -> list[str]:
        """The patient of each case."""
        return [item.case.patient_id for item in self.items]

    @property
    def case_ids(self) -> list[str]:
        """The name of each case."""
        return [item.case.case_id for item in self.items]


class LesionRule(NamedTuple):
    """How lesions are followed through further passes."""

    rule: MatchingRule
    min_pixels: int
    sensitivity_min: float
    false_alarm_max: float


def sampled(run: TranslationRun, code: str, cases: int) -> Sample:
    """All cases of patients drawn by the run's seed, until there are `cases`; every case if that is 0."""
    names = sorted({item.case.patient_id for item in run.items})
    held = Counter(item.case.patient_id for item in run.items)
    drawn: set[str] = set()
    for k in rng.child(run.seed, "cases", code).permutation(len(names)):
        if not cases or sum(held[name] for name in drawn) < cases:
            drawn.add(names[k])
    items = [item for item in run.items if item.case.patient_id in drawn]
    return Sample(items, [run.cohort.load(item.case).image for item in items])


def not_sampled(run: TranslationRun, sample: Sample) -> dict[str, str]:
    """The cases that were not drawn."""
    drawn = set(sample.case_ids)
    return {i.case.case_id: "not drawn" for i in run.items if i.case.case_id not in drawn}


def rows_of(run: TranslationRun, sample: Sample, values: Callable[[int], Row]) -> list[Row]:
    """One row a case of the run; `values` gives what a further pass says of the case at a place of the sample."""
    at = {case_id: k for k, case_id in enumerate(sample.case_ids)}

    def row(item: Item) -> Row:
        k = at.get(item.case.case_id)
        return {**item.row, **({"status": "not drawn"} if k is None else values(k))}

    return [row(item) for item in run.items]


def answers(
    run: TranslationRun,
    images: Sequence[Float],
    purpose: str,
    *,
    subject: Subject | None = None,
    batch: int = BATCH,
    label: str = "Translating again",
) -> list[Answer]:
    """Pass images through the model once more, in batches of images of one size.

    Args:
        run: the run.
        images: (C, H, W) each, unit range.
        purpose: names the seed of the pass; one purpose, one seed.
        subject: the model to pass them through, if not the run's.
        batch: images a forward pass.
        label: what is going on, for a progress display.
    """
    model = subject or run.subject
    groups = _batches(dict(enumerate(images)), batch)

    def forward(group: list[int]) -> list[Answer]:
        seed = rng.child_seed(run.seed, "pass", purpose, group[0])
        return _answered(model, np.stack([images[k] for k in group]), seed)

    done = run.engine.map(forward, groups, label=label)
    by_image = {k: a for group, given in zip(groups, done, strict=True) for k, a in zip(group, given, strict=True)}
    return [by_image[k] for k in range(len(images))]


def _answered(subject: Subject, x: Float, seed: int) -> list[Answer]:
    try:
        y = subject.translate(x, seed)
    except ModelError as error:
        if len(x) == 1:
            return [f"raised: {error.found or error.problem}"]
        # One image may have been refused and not its neighbours.
        return [answer for k in range(len(x)) for answer in _answered(subject, x[k : k + 1], seed)]
    return [image if np.isfinite(image).all() else "NaN or infinity" for image in y]


def _batches(images: Mapping[int, Float], batch: int) -> list[list[int]]:
    """Numbers of images in batches of one size."""
    groups = []
    for shape in dict.fromkeys(image.shape for image in images.values()):
        same = [k for k, image in images.items() if image.shape == shape]
        groups += [same[j : j + batch] for j in range(0, len(same), batch)]
    return groups


def on_other_device(subject: Subject) -> Subject | str:
    """The model on the device that it does not run on, or why there is no such."""
    if not subject.path.is_file() or subject.format == "ONNX":
        return f"The model runs on {subject.device} only, so it was not compared between devices."
    # With a GPU in use the CPU is the other one, and the other way round.
    import torch

    if subject.device == "cpu" and not torch.cuda.is_available():
        return "This machine has no CUDA device, so the model was not compared between devices."
    try:
        return load_again(subject, "cuda" if subject.device == "cpu" else "cpu")
    except MedganQAError as error:
        return (
            f"The model could not be loaded on another device, so it was not compared between devices: {error.problem}"
        )


def objection_to_reader(run: TranslationRun, code: str, how: LesionRule) -> str | None:
    """Why no fate of a lesion can be told in this run; None if it can."""
    unseen = unseen_in_target(run.cohort)
    if unseen or run.detector is None:
        return unseen or NO_DETECTOR
    if not run.paired:
        return "No case has a paired reference image (column target), so the detector cannot be qualified."
    return qualify(
        code,
        run,
        lesions_of(run, how.rule, how.min_pixels, read=True),
        how.rule,
        min_pixels=how.min_pixels,
        sensitivity_min=how.sensitivity_min,
        false_alarm_max=how.false_alarm_max,
    ).objection


def marks(run: TranslationRun, images: Sequence[Answer]) -> list[Bool | None]:
    """What the detector marks in images (C, H, W); None where the model refused.

    Raises:
        NotFiniteError: the detector returned NaN or infinity.
    """
    detector = run.detector
    assert detector is not None

    def read(group: list[int]) -> list[Bool]:
        logits = detector.read(np.stack([ready[k] for k in group]))
        if not np.isfinite(logits).all():
            raise NotFiniteError(
                "The detector returned NaN or infinity.",
                expected="finite lesion logits",
                found="in an output of a further pass",
                where=detector.path,
                todo="Repair the detector, or give another with --detector.",
            )
        return list(logits > 0)

    ready = {k: for_detector(image, detector) for k, image in enumerate(images) if not isinstance(image, str)}
    groups = _batches(ready, BATCH)
    done = run.engine.map(read, groups, label="Reading lesions")
    found = {k: m for group, read_ in zip(groups, done, strict=True) for k, m in zip(group, read_, strict=True)}
    return [found.get(k) for k in range(len(images))]


def with_lesions(sample: Sample, outputs: Sequence[Answer]) -> list[Answer]:
    """The outputs of cases with an annotated lesion; the others are not worth a detector's time."""
    shows = [item.lesion is not None and bool(item.lesion.any()) for item in sample.items]
    return [output if shown else "no lesion" for output, shown in zip(outputs, shows, strict=True)]


def followed(
    run: TranslationRun,
    sample: Sample,
    outputs: Sequence[Answer],
    how: LesionRule,
    read: Sequence[Bool | None] | None = None,
) -> dict[str, Lesion]:
    """The lesions that the detector reads in the reference, as they stand in other outputs, by lesion id.

    Args:
        run: the run, with a detector.
        sample: the cases.
        outputs: one a case; lesions of cases that were refused are left out, and of volumes with such a slice, since
            lesions that span it could not be followed.
        how: how lesions are followed.
        read: the detector's marks in the outputs, if they were read already.
    """
    marked = marks(run, with_lesions(sample, outputs)) if read is None else read
    items, readings = [], {}
    parted = _parted_volumes(sample.items, outputs)
    for item, output, found in zip(sample.items, outputs, marked, strict=True):
        if item.reference is None or isinstance(output, str) or found is None:
            continue
        if _volume_of(item) in parted:
            continue
        items.append(replace(item, output=grey(output), channels=(output, item.channels[1])))
        readings[item.case.case_id] = Reading(run.readings[item.case.case_id].reference, found)
    view = TranslationRun(run.subject, run.cohort, run.detector, run.engine, run.seed)
    view.items, view.readings = items, readings
    lesions = lesions_of(view, how.rule, how.min_pixels, read=True)
    return {lesion.lesion_id: lesion for lesion in lesions if lesion.found_reference}


def _parted_volumes(items: Sequence[Item], outputs: Sequence[Answer]) -> set[tuple[str, str | None]]:
    """Volumes of which some slice was refused."""
    refused = (i for i, o in zip(items, outputs, strict=True) if isinstance(o, str) and i.reference is not None)
    return {_volume_of(item) for item in refused if item.case.volume is not None}


def _volume_of(item: Item) -> tuple[str, str | None]:
    return item.case.patient_id, item.case.volume
