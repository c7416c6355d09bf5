"""Subgroups of real images: declared attributes by level, numbers by band, lesions by size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.lesions import LARGEST_MM, stratum
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.metrics import components, equivalent_diameter

MOST_LEVELS = 12
"""An attribute with more levels than this is no grouping (an identifier, free text)."""
BANDS = 7
"""Bands that a numeric attribute is cut into, about."""


class Attribute(NamedTuple):
    """One attribute of a set of images."""

    name: str
    levels: tuple[str | None, ...]
    """(N,) level of each image; None where not known."""
    numbers: tuple[float, ...] = ()
    """The known values behind bands; empty where levels are no bands."""


class Third(NamedTuple):
    """The third of a numeric attribute's range that holds most images."""

    low: float
    high: float
    share: float
    least: float
    most: float


def attributes(reference: Pictures, train: Pictures) -> list[tuple[Attribute, Attribute]]:
    """Every attribute that both sets carry, with levels that mean the same in both: `(in reference, in train)`.

    Sites and text attributes stand as they are. Numeric attributes are cut into bands of a round width over both sets.
    Lesion size comes from the masks: none, and by the largest equivalent diameter in the slice.
    """
    found = []
    for name in _names(reference, train):
        raw = [_raw(pictures, name) for pictures in (reference, train)]
        found.append(_levels(name, raw))
    if any(mask is not None for mask in reference.masks) and any(mask is not None for mask in train.masks):
        found.append([Attribute("lesion", _lesion_sizes(pictures)) for pictures in (reference, train)])
    return [(a, b) for a, b in found if 2 <= len({*a.levels, *b.levels} - {None}) <= MOST_LEVELS]


def _names(reference: Pictures, train: Pictures) -> list[str]:
    names = set.intersection(*({n for case in p.cases for n in case.attributes} for p in (reference, train)))
    sites = all(any(case.site is not None for case in p.cases) for p in (reference, train))
    return [*(["site"] if sites else []), *sorted(names)]


def _raw(pictures: Pictures, name: str) -> list[str | None]:
    if name == "site":
        return [case.site for case in pictures.cases]
    return [case.attributes.get(name) for case in pictures.cases]


def _levels(name: str, raw: Sequence[Sequence[str | None]]) -> list[Attribute]:
    numbers = [[_number(value) for value in values] for values in raw]
    told = [value for values in raw for value in values if value is not None]
    known = [v for values in numbers for v in values if v is not None]
    # Fewer different numbers than bands, however they are written, are levels of their own.
    if len(known) < len(told) or len(set(known)) <= BANDS:
        return [Attribute(name, tuple(values)) for values in raw]
    width = _round_width((max(known) - min(known)) / BANDS)
    return [
        Attribute(
            name,
            tuple(None if v is None else _band(v, width) for v in values),
            tuple(v for v in values if v is not None),
        )
        for values in numbers
    ]


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _round_width(width: float) -> float:
    """The next larger of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= width * (1 - 1e-9))


def _band(value: float, width: float) -> str:
    low = math.floor(value / width + 1e-9) * width
    # More digits than :g has, so that bands of dates and identifiers keep apart.
    return f"{low:.12g} to {low + width:.12g}"


def _lesion_sizes(pictures: Pictures) -> tuple[str | None, ...]:
    return tuple(None if mask is None else _size(mask, pictures.spacing_mm) for mask in pictures.masks)


def _size(mask: NDArray[np.bool_], spacing_mm: tuple[float, float]) -> str:
    masks = components(mask)
    if not masks:
        return "none"
    largest = max(equivalent_diameter(one, spacing_mm) for one in masks)
    return stratum(largest, LARGEST_MM, " mm")


def densest_third(attribute: Attribute) -> Third | None:
    """The window of a third of the range with the most images; None for an attribute that is no number."""
    if not attribute.numbers:
        return None
    values = np.sort(np.array(attribute.numbers))
    least, most = float(values[0]), float(values[-1])
    width = (most - least) / 3
    held = np.searchsorted(values, values + width, side="right") - np.arange(len(values))
    start = int(np.argmax(held))
    low = min(float(values[start]), most - width)
    return Third(round(low, 3), round(low + width, 3), float(held[start] / len(values)), least, most)


def composition(attribute: Attribute) -> dict[str, float]:
    """Share of each level among the images whose level is known, largest first."""
    counts = Counter(level for level in attribute.levels if level is not None)
    return {level: count / counts.total() for level, count in counts.most_common()}
