"""How much of what one image leaves of another is white noise.

White noise has most of its energy in the finest differences, another anatomy has little there. The finest differences
of what is left say how strong noise would have to be; what such noise leaves after smoothing follows.

References:
    J. Immerkaer, "Fast noise variance estimation", Comput. Vis. Image Underst. 64 (1996) 300-302: the difference of two
        Laplacians, which structure hardly passes.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float
from medgan_qa.metrics._prepared import Prepared, local_contrast, noise_left

ENERGY = 36.0
"""Sum of the squared weights of the difference of Laplacians."""

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
Vector = NDArray[np.float64]


def noise_share(queries: Prepared, index: Index, laid: Float, counted: Bool, gamma: Vector) -> Vector:
    """(P,) share of the variance of each query's detail that white noise explains.

    Args:
        queries: prepared images.
        index: (P,) which of them.
        laid: (P, h, w) the reference of each, not smoothed, laid out as the query.
        counted: (P, h, w) pixels that count.
        gamma: (P,) gamma that the reference is given.
    """
    known = np.clip(laid, 0, 1) ** gamma[:, None, None].astype(np.float32)
    left = _left(queries.raw[index], known, counted)
    n = np.maximum(counted.sum(axis=(1, 2)), 1)
    variance = (np.square(_finest(left)) * counted[:, 1:-1, 1:-1]).sum(axis=(1, 2), dtype=np.float64) / (ENERGY * n)
    detail = queries.fine_detail[index]
    mean = (detail * counted).sum(axis=(1, 2), keepdims=True) / n[:, None, None]
    spread = (np.square(detail - mean) * counted).sum(axis=(1, 2), dtype=np.float64)
    gain = (counted / np.square(local_contrast(queries.fine[index]))).sum(axis=(1, 2), dtype=np.float64)
    shape = (detail.shape[1], detail.shape[2])
    share: Vector = variance * _kept(shape, queries.grain) * gain / np.maximum(spread, 1e-9)
    return share


def _left(asked: Float, known: Float, counted: Bool) -> Float:
    """What gain and offset of the reference leave of the query."""
    n = np.maximum(counted.sum(axis=(1, 2), keepdims=True), 1).astype(np.float32)
    asked = asked - (asked * counted).sum(axis=(1, 2), keepdims=True) / n
    known = known - (known * counted).sum(axis=(1, 2), keepdims=True) / n
    energy = (known * known * counted).sum(axis=(1, 2), keepdims=True)
    gain = (asked * known * counted).sum(axis=(1, 2), keepdims=True) / np.maximum(energy, np.float32(1e-9))
    left: Float = asked - np.maximum(gain, 0) * known
    return left


def _finest(images: Float) -> Float:
    """(P, h - 2, w - 2) second differences down and across."""
    down = images[:, :-2] - 2 * images[:, 1:-1] + images[:, 2:]
    finest: Float = down[:, :, :-2] - 2 * down[:, :, 1:-1] + down[:, :, 2:]
    return finest


@lru_cache(maxsize=8)
def _kept(shape: tuple[int, int], grain: float) -> float:
    return noise_left(shape, grain)
