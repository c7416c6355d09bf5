"""Images that tests of estimators share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from medgan_qa.rng import child

Y, X = np.mgrid[:64, :64]


def _head(k: int = 0) -> NDArray[np.float32]:
    """An ellipse with a dark middle; size, place and brightness vary with k."""
    g = child(k, "head")
    cy, cx, level = *g.normal(32, 1, 2), g.normal(0.6, 0.03)
    radius = np.hypot((Y - cy) / 1.3, X - cx)
    image = np.where(radius < g.normal(20, 0.5), level, 0.0)
    image[radius < 7] = 0.2
    return (image + g.normal(0, 0.01, image.shape)).astype(np.float32)


@pytest.fixture(scope="session")
def head() -> Callable[..., NDArray[np.float32]]:
    """Draws the image of a number."""
    return _head
