"""Labelled images beside their nearest of the same label from the other side: worst ones, and some drawn at random."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from medgan_qa import rng
from medgan_qa.audits.augmentation import AugmentationRun, Labelled
from medgan_qa.audits.exhibits import Pair

Counts = tuple[int, int]
"""How many of the worst, and how many at random from the others."""


def chosen(run: AugmentationRun, code: str, order: Sequence[int], counts: Counts) -> list[tuple[int, str]]:
    """The first of `order`, and some drawn by the run's seed from the others, each with the rule that chose it."""
    worst, left = order[: counts[0]], np.array(sorted(order[counts[0] :]), dtype=np.intp)
    drawn = rng.child(run.seed, "exhibit", code).permutation(left)[: counts[1]]
    return [(int(k), "worst") for k in worst] + [(int(k), "random") for k in sorted(drawn)]


def beside_nearest(
    picked: Sequence[tuple[int, str]], side: Labelled, among: Labelled, label: Callable[[int], str], *, real: bool
) -> list[Pair]:
    """Picked images of one side, each beside the image of its label on the other side that differs least from it.

    Args:
        picked: places on `side`, with the rule.
        side: where the picked images are; `real` says whether these are real ones.
        among: where their neighbours are sought.
        label: what to say of each.
        real: the picked image stands in the column of real images.
    """
    shown = []
    for k, rule in picked:
        own, near = side.pictures.grey[side.index[k]], among.pictures.grey[among.index[_nearest(side, among, k)]]
        output, reference = (near, own) if real else (own, near)
        shown.append(Pair(output, reference, side.names[k], side.patients[k], label(k), rule))
    return shown


def _nearest(side: Labelled, among: Labelled, place: int) -> int:
    """The image of the same label with the least mean squared difference; the first of equal ones."""
    image = side.pictures.grey[side.index[place]].astype(np.float64)
    there = among.of(int(side.codes[place]))
    apart = [float(np.square(among.pictures.grey[among.index[k]] - image).sum()) for k in there]
    return int(there[int(np.argmin(apart))])
