"""How far outputs of further passes lie from those of the first, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._passes import Answer, Sample
from medgan_qa.metrics.perturbations import root_mean_square

Bool = NDArray[np.bool_]

ALIKE = "repeatable"
ONLY_CAUSE = {"alone": "batch", "other device": "device"}
"""What a change in a pass depends on, for a model that draws no random numbers."""


class Difference(NamedTuple):
    """How far one output is from that of the first pass, over the body, in unit range."""

    largest: float
    typical: float
    """Root mean square."""
    refused: bool = False
    """The model took the image in one pass and refused it in the other."""

    def beyond(self, tolerance: float) -> bool:
        """Whether it counts as a change."""
        return self.refused or self.largest > tolerance


def compared_with(first: Sequence[Answer], outputs: Sequence[Answer], sample: Sample) -> list[Difference]:
    """Difference of each output of a pass from that of the first pass."""
    return [_difference(i.body, a, b) for i, a, b in zip(sample.items, first, outputs, strict=True)]


def _difference(body: Bool, first: Answer, again: Answer) -> Difference:
    if isinstance(first, str) or isinstance(again, str):
        return Difference(0.0, 0.0, isinstance(first, str) != isinstance(again, str))
    change = again.astype(np.float64) - first
    return Difference(float(np.abs(change[:, body]).max()), root_mean_square(change, body))


def cause_of(differences: Mapping[str, Difference], tolerance: float, draws: bool) -> str:
    """Why one case changed, in words; `draws`: the model draws random numbers."""
    changed = {name for name, d in differences.items() if d.beyond(tolerance)}
    if "same seed" in changed:
        return "not deterministic"
    if draws:
        found = ["draws random numbers"] if changed - {"other companions"} else []
    else:
        found = [f"{what}-dependent" for name, what in ONLY_CAUSE.items() if name in changed]
    if "other companions" in changed:
        found.append("batch-dependent")
    return ", ".join(found) or ALIKE


def tally(causes: Sequence[str]) -> str:
    """How many cases have which cause."""
    return f"Of {len(causes)} cases: " + ", ".join(f"{n} {cause}" for cause, n in Counter(causes).most_common()) + "."


def advice(causes: Sequence[str]) -> str:
    """What each of the causes says about the model."""
    said = {
        "not deterministic": "The output changes at the same seed: the model draws random numbers that the seed does "
        "not fix, or carries something over from one call to the next.",
        "draws random numbers": "The output changes with the seed: the model draws random numbers at inference, such "
        "as dropout or noise inputs left on.",
        "batch-dependent": "The output of an image depends on the other images in its batch: batch normalization or "
        "another statistic over the batch was left in training mode.",
        "device-dependent": "The output depends on the device that the model runs on.",
    }
    return " ".join(text for name, text in said.items() if any(name in cause for cause in causes))
