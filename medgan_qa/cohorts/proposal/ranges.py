"""Proposals for what the stored numbers span: from the modality, the type of the numbers, and a survey of many files.

Never the extremes of what was found: two sets of one scanner would then be mapped differently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.proposal.content import Range, Wishes

HU_WINDOW = (-1024.0, 3071.0)
"""What 12 bits of a CT scanner hold."""
SURVEYED = 16
"""Files whose numbers are looked at, evenly over the set, where the type of the numbers leaves the range open."""
_SPANS = (1, 255, 1023, 4095, 16383, 32767, 65535)


def evenly(paths: Sequence[Path], most: int = SURVEYED) -> list[Path]:
    """At most so many of `paths`, evenly over the whole, the first included."""
    return [paths[i * len(paths) // min(most, len(paths))] for i in range(min(most, len(paths)))]


def wished(wishes: Wishes) -> Range | None:
    """The range that the user gave, if any."""
    if wishes.window is not None:
        return Range(wishes.window, windowed=True, reason="as given")
    return None if wishes.value_range is None else Range(wishes.value_range, windowed=False, reason="as given")


def hounsfield() -> Range:
    """The window of CT."""
    return Range(HU_WINDOW, windowed=True, reason="CT in Hounsfield units: what 12 bits hold")


def by_type(
    dtypes: Iterable[np.dtype[Any]], paths: Sequence[Path], read: Callable[[Path], NDArray[Any] | None]
) -> Range:
    """The span of 8 bit numbers; for others the smallest usual one that holds a survey of the files.

    Args:
        dtypes: all types that were found.
        paths: the files.
        read: their numbers; None where they cannot be read.
    """
    kinds = set(dtypes)
    if kinds == {np.dtype(np.uint8)}:
        return Range((0.0, 255.0), windowed=False, reason="8 bit numbers")
    chosen = evenly(paths)
    arrays = [array for path in chosen if (array := read(path)) is not None and array.size]
    arrays = [array for array in arrays if array.dtype.kind in "uif" and np.isfinite(array).all()]
    if not arrays:
        return Range(None, windowed=False, reason="no file could be read")
    least, most = min(float(array.min()) for array in arrays), max(float(array.max()) for array in arrays)
    limits = _usual(least, most, whole=all(dtype.kind in "ui" for dtype in kinds))
    if limits is None:
        return Range(None, windowed=False, reason="no usual span holds the numbers")
    return Range(limits, windowed=False, reason=f"the smallest usual span that holds {len(arrays)} surveyed files")


def _usual(least: float, most: float, *, whole: bool) -> tuple[float, float] | None:
    """The smallest usual span around the numbers: from 0, or symmetric where there are negative ones."""
    reach = max(abs(least), abs(most))
    span = next((span for span in _SPANS[1 if whole else 0 :] if reach <= span), None)
    if span is None:
        return None
    return (0.0 if least >= 0 else -float(span), float(span))
