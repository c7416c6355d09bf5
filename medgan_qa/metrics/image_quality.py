"""How an image looks, whatever it shows: noise, sharpness, brightness.

References:
    D. L. Donoho, I. M. Johnstone, "Ideal spatial adaptation by wavelet shrinkage", Biometrika 81 (1994) 425-455: noise
        from the median of the finest diagonal detail.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import ndimage, stats

from medgan_qa.metrics._arrays import BoolMask, image2d, region

MAD = 0.6744897501960817
"""Median absolute deviation of a standard normal distribution."""


def noise_level(image: Any) -> float:
    """Standard deviation of the noise from pixel to pixel, in the unit of the image.

    Median of |a - b - c + d| / 2 over disjoint squares of two by two pixels, over that of a standard normal. Structure
    larger than that, and edges along the axes, cancel.

    Args:
        image: (H, W) finite, at least 2 x 2.

    Raises:
        ValueError: wrong shape, not finite, or smaller than that.
    """
    pixels = image2d(image, "image")
    rows, columns = (n // 2 * 2 for n in pixels.shape)
    if min(rows, columns) < 2:
        raise ValueError(f"the image must have at least 2 x 2 pixels, got shape {pixels.shape}")
    a, b, c, d = (pixels[i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1))
    return float(np.median(np.abs(a - b - c + d)) / 2 / MAD)


def sharpness(image: Any, body: BoolMask) -> float:
    """Root mean square gradient over the body at a scale of one pixel, over the body's standard deviation.

    A blur spreads an edge over more pixels, which leaves the mean gradient what it was and lowers its mean square.
    0 for an even body.

    Args:
        image: (H, W) finite.
        body: (H, W) bool with at least one pixel.

    Raises:
        TypeError, ValueError: wrong shapes or types, or an empty body.
    """
    pixels = image2d(image, "image")
    inside = region(body, "body", pixels.shape)
    spread = float(pixels[inside].std())
    steep = ndimage.gaussian_gradient_magnitude(pixels, 1.0, mode="nearest")[inside]
    return float(np.sqrt(np.mean(steep**2)) / spread) if spread > 1e-12 else 0.0


def brightness(image: Any, body: BoolMask) -> float:
    """Mean intensity over the body.

    Raises:
        TypeError, ValueError: as `sharpness`.
    """
    pixels = image2d(image, "image")
    return float(pixels[region(body, "body", pixels.shape)].mean())


def within_class_correlation(first: Any, second: Any, classes: Any) -> float | None:
    """Correlation of ranks, within classes, of two values: what goes together without the classes' doing.

    Each value is ranked within its class, ties given their mean rank, and ranks are put on [0, 1] about a half, so that
    classes of different size count by their units; the correlation is that of all units together.

    Args:
        first: (N,) finite.
        second: (N,) finite.
        classes: (N,) class of each unit; classes of fewer than 2 units are left out.

    Returns:
        In [-1, 1]; None where either value varies in no class.

    Raises:
        ValueError: lengths differ, or a value is not finite.
    """
    a, b, kinds = np.asarray(first, np.float64), np.asarray(second, np.float64), np.asarray(classes)
    if a.ndim != 1 or not a.shape == b.shape == kinds.shape or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError(f"finite vectors of one length are needed, got shapes {a.shape}, {b.shape}, {kinds.shape}")
    ranks = np.zeros((2, a.size))
    for kind in np.unique(kinds):
        same = kinds == kind
        if same.sum() > 1:
            for row, values in zip(ranks, (a, b), strict=True):
                row[same] = (stats.rankdata(values[same]) - 0.5) / same.sum() - 0.5
    norm = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float((ranks[0] * ranks[1]).sum() / norm) if norm > 0 else None
