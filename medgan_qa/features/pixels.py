"""The embedded extractor that is closest to the image: its pixels, averaged down to a size that distances can bear.

Nothing is normalised, so that a distance between two rows is a distance between two (small) images. It sees where
things are and how bright they are; it does not see texture finer than its own pixels.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from medgan_qa.features.extractor import checked, parameter_digest

SIDE = 16
"""Largest number of rows and of columns; a side that is smaller stays as it is."""
BATCH_PIXELS = 2**20
"""Pixels worked on at once; bounds the memory."""


class PixelExtractor:
    """Images averaged over areas, rows then columns, each to at most `SIDE`, and flattened as (C, rows, columns)."""

    name = "pixels"
    version = "1"
    digest = parameter_digest("mean over areas", SIDE)

    def features(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features float32 (N, C x min(H, SIDE) x min(W, SIDE)) of images float32 (N, C, H, W) in unit range.

        A pixel that two areas share counts to each by the part that lies in it, so the mean of every image is kept.

        Raises:
            ValueError: not (N, C, H, W), an image without pixels, or NaN or infinity in an image (its row is named).
        """
        images = checked(images)
        n, channels, height, width = images.shape
        rows, columns = _weights(height), _weights(width)
        step = max(BATCH_PIXELS // (channels * height * width), 1)
        small = np.empty((n, channels, len(rows), len(columns)), dtype=np.float32)
        for k in range(0, n, step):
            small[k : k + step] = rows @ images[k : k + step].astype(np.float64) @ columns.T
        return small.reshape(n, channels * len(rows) * len(columns))


@cache
def _weights(side: int) -> NDArray[np.float64]:
    """What each of `side` pixels contributes to each of min(side, SIDE) areas; rows sum to 1."""
    areas = min(side, SIDE)
    edges, pixels = np.arange(areas + 1) * (side / areas), np.arange(side)
    low, high = np.maximum.outer(edges[:-1], pixels), np.minimum.outer(edges[1:], pixels + 1)
    weights: NDArray[np.float64] = np.maximum(high - low, 0) * (areas / side)
    return weights
