"""Examples of the dose-response experiment: source, truth and one output a loss and share."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from medgan_qa import rng
from medgan_qa.cohorts.cohort import CaseImages, subset
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.subjects.load import load_subject
from reference_models.experiments._dose_arms import Plan

ENLARGED = 112
"""Pixels along each side of a picture on the sheet."""
GAP, HEAD, LEFT = 6, 26, 92
MANY = 6
"""Columns of shares at most; with more, they are thinned out evenly."""
WITH_TUMOUR, WITHOUT = 2, 1
LARGE_MM2 = 300.0
"""The least area of an example's tumour, so that it can be seen."""

Float = NDArray[np.float32]


def sheet(chosen: Plan, holdout: BrainPhantoms, arms: Path, device: str) -> bytes:
    """The contact sheet as a PNG: a block a slice, a row a loss, a column a share.

    Args:
        chosen: the plan; every arm of it has its model in `arms`.
        holdout: where the slices come from.
        arms: folder of the arms.
        device: where the networks run.
    """
    examples = _examples(holdout, chosen.seed)
    sources = np.stack([images.image for images in examples])
    shares = _thinned(chosen.shares)
    outputs = {
        (arm.loss, arm.share): load_subject(str(arms / arm.name / "model.safetensors"), device).translate(sources)
        for arm in chosen.arms
        if arm.share in shares
    }
    page = _Page(columns=2 + len(shares), rows=len(examples) * len(chosen.losses))
    page.heads(["source", "truth", *(f"{share:.0%}" for share in shares)])
    for number, images in enumerate(examples):
        assert images.target is not None
        for position, loss in enumerate(chosen.losses):
            row = number * len(chosen.losses) + position
            shown = [outputs[loss, share][number, 0] for share in shares]
            page.row(row, loss, [images.image[0], images.target[0], *shown])
    return page.png()


def _examples(holdout: BrainPhantoms, seed: int) -> list[CaseImages]:
    """Slices drawn at random: with a tumour large enough to be seen, then without one."""
    g = rng.child(seed, "examples")
    cases = subset(holdout.cases, "test")
    large: list[CaseImages] = []
    free: list[CaseImages] = []
    for k in g.permutation(len(cases)):
        images = holdout.load(cases[k])
        assert images.lesion_mask is not None
        area = float(images.lesion_mask.sum() * np.prod(images.spacing_mm))
        if area >= LARGE_MM2 and len(large) < WITH_TUMOUR:
            large.append(images)
        elif area == 0 and len(free) < WITHOUT:
            free.append(images)
    return [*large, *free]


def _thinned(shares: tuple[float, ...]) -> tuple[float, ...]:
    if len(shares) <= MANY:
        return shares
    return tuple(shares[k] for k in np.unique(np.linspace(0, len(shares) - 1, MANY).round().astype(int)))


class _Page:
    def __init__(self, *, columns: int, rows: int) -> None:
        self.step = ENLARGED + GAP
        self.image = Image.new("L", (LEFT + columns * self.step, HEAD + rows * self.step), 255)
        self.draw = ImageDraw.Draw(self.image)
        self.font = ImageFont.load_default(size=15)

    def heads(self, names: list[str]) -> None:
        for column, name in enumerate(names):
            middle = LEFT + column * self.step + ENLARGED / 2
            self.draw.text((middle, HEAD / 2), name, fill=0, font=self.font, anchor="mm")

    def row(self, number: int, name: str, pictures: list[Float]) -> None:
        top = HEAD + number * self.step
        self.draw.text((LEFT - 10, top + ENLARGED / 2), name, fill=0, font=self.font, anchor="rm")
        for column, picture in enumerate(pictures):
            grey = Image.fromarray(np.rint(255 * np.clip(picture, 0.0, 1.0)).astype(np.uint8))
            large = grey.resize((ENLARGED, ENLARGED), Image.Resampling.BICUBIC)
            self.image.paste(large, (LEFT + column * self.step, top))

    def png(self) -> bytes:
        data = BytesIO()
        self.image.save(data, "PNG", optimize=True)
        return data.getvalue()
