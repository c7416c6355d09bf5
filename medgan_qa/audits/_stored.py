"""The unit that intensities are reported in: stored numbers where these have a meaning, else unit range."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts.cohort import Cohort, from_unit

UNIT_RANGE = "unit range"
HOUNSFIELD_UNIT = "HU"
HOUNSFIELD_SPAN = 500.0
"""A range from below to above 0 that spans more than this holds Hounsfield units: no other stored number does."""


class Scale(NamedTuple):
    """What unit range stands for."""

    unit: str
    value_range: tuple[float, float]

    @property
    def span(self) -> float:
        """What a difference of 1 in unit range comes to."""
        return self.value_range[1] - self.value_range[0]

    @property
    def hounsfield(self) -> bool:
        """Windows of tissue in HU apply."""
        return self.unit == HOUNSFIELD_UNIT

    def of(self, image: Any) -> NDArray[np.float64]:
        """An image in unit range, in this unit."""
        return from_unit(image, self.value_range)


def scale_of(cohort: Cohort, unit: str) -> Scale:
    """The scale that an audit reports in.

    Args:
        cohort: its `value_range` is what unit range stands for.
        unit: `auto`: HU where the range lies on both sides of 0 and spans more than 500, else unit range. `unit range`:
            that. Anything else is the name of the unit of the stored numbers (HU, ms, ...).
    """
    low, high = cohort.value_range
    if unit == "auto":
        unit = HOUNSFIELD_UNIT if low < 0 < high and high - low > HOUNSFIELD_SPAN else UNIT_RANGE
    return Scale(unit, (0.0, 1.0) if unit == UNIT_RANGE else (float(low), float(high)))
