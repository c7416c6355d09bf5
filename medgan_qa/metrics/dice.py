"""Overlap of two segmentations.

References:
    L. R. Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945) 297-302.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medgan_qa.metrics._arrays import mask2d


def dice(a: Any, b: Any) -> float:
    """Dice coefficient 2 |a and b| / (|a| + |b|), in [0, 1]; higher is better.

    Two empty masks agree that there is nothing, and have 1; one empty mask against one that is not has 0. A mean over
    cases with and without the structure mixes two questions, so callers part them.

    Args:
        a: (H, W) bool.
        b: (H, W) bool.

    Raises:
        TypeError: a mask is not bool.
        ValueError: a mask is not two-dimensional, or shapes differ.
    """
    first = mask2d(a, "a")
    second = mask2d(b, "b", first.shape)
    both = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 1.0 if both == 0 else 2 * int(np.count_nonzero(first & second)) / both
