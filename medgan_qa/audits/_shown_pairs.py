"""Pairs of real images side by side, read again at their full size."""

from __future__ import annotations

from collections.abc import Sequence

from medgan_qa.audits._partitions import PartitionedRun
from medgan_qa.audits._same_images import Same, SameImages
from medgan_qa.audits.exhibits import Pair
from medgan_qa.audits.run import grey
from medgan_qa.metrics._alignment import Float
from medgan_qa.metrics._working import WORKING_PX, working
from medgan_qa.metrics.near_copies import as_query

LARGEST_PX = 512
"""Side beyond which images are shown smaller."""


def shown_pairs(run: PartitionedRun, same: SameImages, pairs: Sequence[Same], rule: str) -> list[Pair]:
    """Both images of each pair, the first after the change that gives the second, where that is known."""
    return [_shown(run, same, pair, rule) for pair in pairs]


def _shown(run: PartitionedRun, same: SameImages, pair: Same, rule: str) -> Pair:
    one, other = same.cases[pair.one], same.cases[pair.other]
    pictures = [grey(run.cohort.load(case).image) for case in (one, other)]
    side = min(LARGEST_PX, max(max(picture.shape) for picture in pictures))
    first, second = (_square(picture, side) for picture in pictures)
    if pair.number >= 0 and same.close.reference[pair.number] == pair.one:
        first = as_query(first, same.close, pair.number, side / WORKING_PX)
    label = f"{pair.change}, of {one.case_id}, residual {pair.residual:.3f}"
    return Pair(second, first, other.case_id, one.patient_id, label, rule)


def _square(picture: Float, side: int) -> Float:
    if picture.shape == (side, side):
        return picture
    square: Float = working(picture, side).pixels[0]
    return square
