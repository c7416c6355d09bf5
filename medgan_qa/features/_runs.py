"""Runs and zones of equal grey level in many images at once, and the features read from them.

Conventions, names and source are those of `_texture`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from medgan_qa.features._texture import LEVELS, Float, Levels, not_rounding

SIZE_NAMES = (
    "short_emphasis",
    "log_long_emphasis",
    "low_grey_emphasis",
    "high_grey_emphasis",
    "short_low_grey_emphasis",
    "short_high_grey_emphasis",
    "log_long_low_grey_emphasis",
    "log_long_high_grey_emphasis",
    "grey_non_uniformity_normalised",
    "size_non_uniformity_normalised",
    "percentage",
    "grey_variance",
    "log_size_variance",
    "entropy",
)
"""Of runs (GLRLM) and of zones (GLSZM): short run is small zone, run length is zone size."""


def glrlm_features(levels: Levels) -> Float:
    """`SIZE_NAMES` (N, 14) of runs of equal level, the four directions merged; a run ends where the region ends."""
    runs = [_runs(levels, *order) for order in _line_orders(*levels.shape[1:])]
    image, level, length = (np.concatenate(parts) for parts in zip(*runs, strict=True))
    longest = int(length.max(initial=0)) + 1
    key = (image * (LEVELS + 1) + level) * longest + length
    counts = np.bincount(key)
    found = np.flatnonzero(counts)
    return _size_features(_unfold(found, counts[found], longest), 4 * (levels > 0).sum(axis=(1, 2)))


def glszm_features(levels: Levels) -> Float:
    """`SIZE_NAMES` (N, 14) of zones: 8-connected pixels of equal level."""
    height, width = levels.shape[1:]
    # one empty row below each image keeps zones of neighbouring images apart
    sheet = np.pad(levels, ((0, 0), (0, 1), (0, 0))).reshape(-1, width)
    zones = _zones(sheet).ravel()
    first, size = np.full(zones.max() + 1, -1), np.bincount(zones)
    first[zones[::-1]] = np.arange(zones.size)[::-1]
    first, size = first[1:], size[1:]
    image, level = first // ((height + 1) * width), sheet.ravel()[first]
    largest = int(size.max(initial=0)) + 1
    found, counts = np.unique((image * (LEVELS + 1) + level) * largest + size, return_counts=True)
    return _size_features(_unfold(found, counts, largest), (levels > 0).sum(axis=(1, 2)))


class _Sizes(NamedTuple):
    """How often a level has runs or zones of a size, one entry for each that occurs."""

    image: NDArray[np.int64]
    level: NDArray[np.int64]
    size: NDArray[np.int64]
    number: NDArray[np.int64]


def _unfold(key: NDArray[Any], counts: NDArray[Any], base: int) -> _Sizes:
    rest, size = np.divmod(key, base)
    image, level = np.divmod(rest, LEVELS + 1)
    keep = level > 0
    return _Sizes(image[keep], level[keep], size[keep], counts[keep])


def _size_features(found: _Sizes, pixels: NDArray[Any]) -> Float:
    """`SIZE_NAMES` of runs or zones; `pixels` (N,) is how many there could be."""
    n = len(pixels)

    def total(values: NDArray[Any]) -> Float:
        return np.bincount(found.image, values, n).astype(np.float64)

    i, j, count = found.level.astype(np.float64), found.size.astype(np.float64), found.number.astype(np.float64)
    number = np.maximum(total(count), 1)
    by_level = np.bincount(found.image * (LEVELS + 1) + found.level, count, n * (LEVELS + 1)).reshape(n, -1)
    p = count / number[found.image]
    mean_i, mean_j = total(p * i), total(p * j)
    columns = [
        total(p / j**2),
        np.log10(total(p * j**2)),
        total(p / i**2),
        total(p * i**2),
        total(p / (i * j) ** 2),
        total(p * (i / j) ** 2),
        np.log10(total(p * (j / i) ** 2)),
        np.log10(total(p * (i * j) ** 2)),
        (by_level**2).sum(axis=1) / number**2,
        _by_size(found, n) / number**2,
        number / np.maximum(pixels, 1),
        not_rounding(total(p * (i - mean_i[found.image]) ** 2)),
        np.log10(1 + not_rounding(total(p * (j - mean_j[found.image]) ** 2))),
        np.abs(total(-p * np.log2(p))),
    ]
    return np.stack(columns, axis=1)


def _by_size(found: _Sizes, n: int) -> Float:
    """Sum over sizes of the squared number of runs or zones of that size, (N,)."""
    base = int(found.size.max(initial=0)) + 1
    keys, where = np.unique(found.image * base + found.size, return_inverse=True)
    return np.bincount(keys // base, np.bincount(where, found.number) ** 2, n).astype(np.float64)


@lru_cache(maxsize=8)
def _line_orders(height: int, width: int) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
    """For each direction: pixels in the order in which its lines pass them, and where a new line begins."""
    row, column = (a.ravel() for a in np.indices((height, width)))
    orders = []
    for line, along in ((row, column), (column, row), (row - column, row), (row + column, row)):
        order = np.lexsort((along, line))
        orders.append((order, np.diff(line[order], prepend=line.min() - 1) != 0))
    return orders


def _runs(levels: Levels, order: NDArray[np.int64], begins: NDArray[np.bool_]) -> tuple[NDArray[np.int64], ...]:
    """Image, level and length of every run of one direction, those outside the region (level 0) too."""
    line = levels.reshape(len(levels), -1)[:, order]
    change = np.empty(line.shape, dtype=bool)
    change[:, 0] = True
    change[:, 1:] = begins[1:] | (line[:, 1:] != line[:, :-1])
    start = np.flatnonzero(change)
    length = np.diff(start, append=line.size)
    return start // line.shape[1], line.ravel()[start].astype(np.int64), length


def _zones(sheet: Levels) -> NDArray[np.int64]:
    return np.asarray(label(sheet, background=0, connectivity=2), dtype=np.int64)  # type: ignore[no-untyped-call]
