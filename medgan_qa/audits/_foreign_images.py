"""Images of no domain, made from those of one, and what becomes of them in model, detector and guard."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._passes import Answer, LesionRule, Sample, answers, marks
from medgan_qa.audits.catalogue import Row
from medgan_qa.audits.run import grey
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.metrics import components
from medgan_qa.metrics.input_monitor import Monitor
from medgan_qa.metrics.perturbations import (
    TissueLook,
    block_shuffled,
    checkerboard,
    inverted,
    rician_noise,
    rotated,
    tissue_look,
    tissue_structure,
)

CODE = "ROB-003"

Float = NDArray[np.float32]

KINDS = ("noise", "empty", "checkerboard", "inverted", "rotated", "shuffled", "target")
AIR = 0.005
NOISE = 0.2
"""Receiver noise of an image without a patient, in unit range: as it should be, and amplified to fill the range."""
BLOCKS = 4
SQUARE_PX = 8
BOARD = (0.1, 0.7)
"""Levels of the checkerboard, in unit range."""
WITHOUT_TISSUE = ("noise", "empty", "checkerboard")
"""Kinds that show no body; a lesion in their outputs was invented."""
FEATURELESS = ("noise", "empty")
"""Kinds that show nothing at the scale of tissue; structure in their outputs was invented."""
GIVEN = 0.5
"""Share of a mark's pixels that are marked in the input too, from which on the mark was handed on and not invented."""


class Foreign(NamedTuple):
    """One input that is not of the domain, and what became of it."""

    kind: str
    item: Item
    """The case that it was made from."""
    image: Float
    """(C, H, W), unit range."""
    answer: Answer
    tissue: float | None
    """Share of pixels with structure that the input does not have; None where refused or not asked."""
    lesions: int | None
    """Lesions that the detector marks in the output and not in the input; None where refused or not asked."""
    distance: float | None
    """Mean difference of the output's quantiles from those of normal outputs, unit range."""
    seen: bool | None
    """Whether the monitor of the input raises an alarm; None without one."""

    @property
    def is_refused(self) -> bool:
        """Whether the model refused it."""
        return isinstance(self.answer, str)

    @property
    def has_invented(self) -> bool | None:
        """Whether a lesion was invented in the output; None where refused or not asked."""
        return None if self.lesions is None else self.lesions > 0

    @property
    def row(self) -> Row:
        """What a table of foreign images says of it."""
        return {
            **self.item.row,
            "kind": self.kind,
            "answer": self.answer if isinstance(self.answer, str) else "image",
            "invented_tissue_share": None if self.tissue is None else round(self.tissue, 4),
            "invented_lesions": self.lesions,
            "output_distance": None if self.distance is None else round(self.distance, 5),
            "guard_alarm": self.seen,
        }


def foreign_image(kind: str, item: Item, image: Float, g: np.random.Generator) -> Float | None:
    """An image (C, H, W) that is not of the source domain, made from one that is; None where it cannot be made."""
    makers: dict[str, Callable[[], Float]] = {
        "noise": lambda: rician_noise(np.zeros_like(image), NOISE, g),
        "empty": lambda: rician_noise(np.zeros_like(image), AIR, g),
        "inverted": lambda: inverted(image),
        "rotated": lambda: rotated(image),
        "shuffled": lambda: block_shuffled(image, BLOCKS, g),
        "checkerboard": lambda: checkerboard(image.shape, SQUARE_PX, *BOARD),
    }
    if kind != "target":
        return makers[kind]()
    target = item.channels[1]
    # Where source and target are one image there is nothing foreign about it.
    if target is None or target.shape != image.shape or np.array_equal(target, image):
        return None
    return target


class Normal:
    """What the outputs of the domain's own inputs look like."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.look: TissueLook = tissue_look([i.output for i in items], [i.body for i in items])
        self.levels = np.mean([_levels(i.output) for i in items], axis=0)

    def distance(self, output: Float) -> float:
        """Mean difference of quantiles, unit range."""
        return float(np.abs(_levels(output) - self.levels).mean())


def _levels(image: Float) -> NDArray[np.float64]:
    return np.quantile(image.astype(np.float64), np.linspace(0.0, 1.0, 101))


def asked_of(
    run: TranslationRun,
    sample: Sample,
    kind: str,
    normal: Normal,
    guard: Monitor | None,
    how: LesionRule | None,
) -> list[Foreign]:
    """Every foreign image of one kind through model, detector and guard."""
    made = [
        (item, foreign_image(kind, item, image, rng.child(run.seed, CODE, kind, item.case.case_id)))
        for item, image in zip(sample.items, sample.images, strict=True)
    ]
    asked = [(item, image) for item, image in made if image is not None]
    images = [image for _, image in asked]
    outputs = answers(run, images, kind, label=f"Translating {kind} inputs")
    invented: list[int | None] = [None] * len(images)
    if how is not None and kind in WITHOUT_TISSUE:
        invented = _invented(run, images, outputs, how.min_pixels)
    return [
        Foreign(
            kind=kind,
            item=item,
            image=image,
            answer=answer,
            tissue=_invented_tissue(kind, image, answer, normal.look),
            lesions=lesions,
            distance=None if isinstance(answer, str) else normal.distance(grey(answer)),
            seen=None if guard is None else guard.alarm(grey(image)),
        )
        for (item, image), answer, lesions in zip(asked, outputs, invented, strict=True)
    ]


def _invented_tissue(kind: str, image: Float, answer: Answer, look: TissueLook) -> float | None:
    if isinstance(answer, str) or kind not in FEATURELESS:
        return None
    return float(tissue_structure(grey(answer), look, grey(image)).mean())


def _invented(
    run: TranslationRun, images: Sequence[Float], outputs: Sequence[Answer], min_pixels: int
) -> list[int | None]:
    """Marks in each output, most of whose pixels are not marked in the input itself; None where refused."""
    before = marks(run, [_readable(run, image) for image in images])
    after = marks(run, outputs)
    return [
        None if marked is None else sum(not _given(mark, known) for mark in components(marked, min_pixels))
        for known, marked in zip(before, after, strict=True)
    ]


def _given(mark: NDArray[np.bool_], known: NDArray[np.bool_] | None) -> bool:
    # Nearness would explain everything away: noise holds marks of its own everywhere.
    return known is not None and float(known[mark].mean()) >= GIVEN


def _readable(run: TranslationRun, image: Float) -> Answer:
    """The input as a detector of the target domain can take it."""
    assert run.detector is not None
    channels = run.detector.card.channels_in
    return image if channels in (1, len(image)) else "another number of channels than the detector reads"
