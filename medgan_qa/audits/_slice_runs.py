"""Volumes of test that are volumes of another partition: read from how their slices match, one after the other.

A volume whose slices are those of another volume is told by two or more slices that are one image each, in order. A
volume of which other slices stand elsewhere (every second one, say) has no slice that is one image; but all its slices
come nearer to slices of one other volume than strangers come, and in the same order. The nearness of a volume, the
geometric mean over its slices, varies far less between strangers than that of a single image, so that this can be seen
where neighbours are near enough: on phantoms, some half a millimetre apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._same_images import FEWEST_PATIENTS, LEAST_SCORE, Same, SameImages
from medgan_qa.cohorts.cohort import Case
from medgan_qa.stats.low_tail import low_tail

FEWEST_SLICES = 4
"""Slices of a volume below which their nearness says no more than that of single images."""
FEWEST_MATCHES = 2
"""Slices that are one image each, from which on two volumes are told as one."""
IN_ONE, IN_ORDER = 0.5, 0.8
"""Share of the slices whose nearest image lies in one other volume, and rank correlation of their places."""

Vector = NDArray[np.float64]


class OneVolume(NamedTuple):
    """A volume of test that is a volume of another partition under another identifier, wholly or in part."""

    test: str
    test_patient: str
    other: str
    other_patient: str
    partition: str
    slices: int
    """Of the test volume."""
    matched: int
    """Slices whose image, or whose neighbour, stands in the other volume."""
    order: str
    """`same`, `reversed`, or `none` where the places of the slices are not known or say nothing."""
    offset: float | None
    """Median of the place in the other volume less the place in test, where the order is the same."""
    by: str
    """`the same slices` or `neighbouring slices`."""


def leaked_volumes(same: SameImages, false_alarm: float) -> list[OneVolume]:
    """Volumes of test that stand in another partition, each with the one it matches best."""
    found = {volume.test: volume for volume in _neighbouring(same, false_alarm)}
    # One image each is the stronger evidence.
    found.update({volume.test: volume for volume in _same_slices(same)})
    return [found[name] for name in sorted(found)]


def slices_of(cases: Sequence[Case]) -> Counter[str]:
    """Slices of each volume."""
    return Counter(case.volume for case in cases if case.volume is not None)


def _same_slices(same: SameImages) -> list[OneVolume]:
    matches: dict[tuple[str, str], list[Same]] = {}
    for pair in same.across():
        other, test = same.cases[pair.one].volume, same.cases[pair.other].volume
        if other is not None and test is not None and other != test:
            matches.setdefault((test, other), []).append(pair)
    best: dict[str, OneVolume] = {}
    for pairs in matches.values():
        # A slice may be one image with several, neighbours that hardly differ among them.
        places = {pair.other: pair.one for pair in sorted(pairs, key=lambda pair: -pair.score)}
        if len(places) >= FEWEST_MATCHES:
            made = _told(same, list(places), list(places.values()), "the same slices")
            there = best.get(made.test)
            if there is None or made.matched > there.matched:
                best[made.test] = made
    return list(best.values())


def _neighbouring(same: SameImages, false_alarm: float) -> list[OneVolume]:
    """Volumes nearer to one other than strangers come; looked at are those that have it as nearest, in order."""
    slices = slices_of(same.cases)
    score = np.log(np.maximum(same.nearest.quiet_score, LEAST_SCORE))
    held: dict[str, list[int]] = {}
    for number, query in enumerate(same.nearest.query.tolist()):
        volume = same.cases[query].volume
        if volume is not None and np.isfinite(score[number]) and slices[volume] >= FEWEST_SLICES:
            held.setdefault(volume, []).append(number)
    held = {volume: numbers for volume, numbers in held.items() if len(numbers) >= FEWEST_SLICES}
    people = {same.cases[same.nearest.query[numbers[0]]].patient_id for numbers in held.values()}
    told = {volume: one for volume, numbers in held.items() if (one := _in_one(same, numbers)) is not None}
    if len(people) < FEWEST_PATIENTS or not told:
        return []
    near = {volume: float(np.exp(np.mean(score[numbers]))) for volume, numbers in held.items()}
    limit = low_tail(np.array(list(near.values())), false_alarm, len(told), len(people)).threshold
    return [one for volume, one in told.items() if near[volume] < limit]


def _in_one(same: SameImages, numbers: list[int]) -> OneVolume | None:
    """The volume of another partition in which most slices of a test volume have their nearest image, in order."""
    pairs = [(int(same.nearest.query[n]), int(same.nearest.reference[n])) for n in numbers]
    if pairs[0][0] >= same.tests:
        return None
    elsewhere = [(q, r) for q, r in pairs if r >= same.tests and same.cases[r].volume is not None]
    if not elsewhere:
        return None
    volume, count = Counter(same.cases[r].volume for _, r in elsewhere).most_common(1)[0]
    if count < max(IN_ONE * len(pairs), FEWEST_SLICES):
        return None
    there = [(q, r) for q, r in elsewhere if same.cases[r].volume == volume]
    told = _told(same, [q for q, _ in there], [r for _, r in there], "neighbouring slices")
    return None if told.order == "none" else told


def _told(same: SameImages, tests: list[int], others: list[int], by: str) -> OneVolume:
    test, other = same.cases[tests[0]], same.cases[others[0]]
    assert test.volume is not None
    assert other.volume is not None
    slices = sum(case.volume == test.volume for case in same.cases[: same.tests])
    order, offset = _order([same.cases[i].slice_index for i in tests], [same.cases[i].slice_index for i in others])
    return OneVolume(
        test.volume,
        test.patient_id,
        other.volume,
        other.patient_id,
        other.partition,
        slices,
        len(tests),
        order,
        offset,
        by,
    )


def _order(tests: list[int | None], others: list[int | None]) -> tuple[str, float | None]:
    """Whether places rise together, and how far they are apart."""
    known = [(t, o) for t, o in zip(tests, others, strict=True) if t is not None and o is not None]
    if len(known) < FEWEST_MATCHES:
        return "none", None
    places = np.array(known, np.float64)
    ranks = np.argsort(np.argsort(places, axis=0), axis=0)
    if np.ptp(places, axis=0).min() == 0:
        return "none", None
    together = float(np.corrcoef(ranks[:, 0], ranks[:, 1])[0, 1])
    if together >= IN_ORDER:
        return "same", float(np.median(places[:, 1] - places[:, 0]))
    return ("reversed", None) if together <= -IN_ORDER else ("none", None)
