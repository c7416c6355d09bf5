"""Array arguments that several estimators share, checked in one place."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

BoolMask = NDArray[np.bool_]
Spacing = tuple[float, float]
Spacing3d = tuple[float, float, float]

ROUNDING = 1e-9
"""Slack of comparisons at a limit: a pixel at exactly the asked distance belongs, whatever the last bit says."""


def mask2d(mask: Any, name: str, shape: tuple[int, ...] | None = None) -> BoolMask:
    """`mask` as a (H, W) bool array.

    Raises:
        TypeError: not bool. Scores and logits are non-zero almost everywhere and would count as lesion.
        ValueError: not two-dimensional, or not of `shape`.
    """
    return _mask(mask, name, shape, 2, "two-dimensional (H, W)")


def mask3d(mask: Any, name: str, shape: tuple[int, ...] | None = None) -> BoolMask:
    """`mask` as a (D, H, W) bool array.

    Raises:
        TypeError: not bool.
        ValueError: not three-dimensional, or not of `shape`.
    """
    return _mask(mask, name, shape, 3, "three-dimensional (D, H, W)")


def _mask(mask: Any, name: str, shape: tuple[int, ...] | None, axes: int, words: str) -> BoolMask:
    array = np.asarray(mask)
    if array.dtype != np.bool_:
        raise TypeError(f"{name} must be a bool mask, got dtype {array.dtype}; threshold it first")
    if array.ndim != axes:
        raise ValueError(f"{name} must be {words}, got shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array


def region(mask: Any, name: str, shape: tuple[int, ...] | None = None) -> BoolMask:
    """`mask2d` for a mask that must hold at least one pixel.

    Raises:
        TypeError, ValueError: as `mask2d`, and for an empty mask.
    """
    array = mask2d(mask, name, shape)
    if not array.any():
        raise ValueError(f"{name} is empty; it must hold at least one pixel")
    return array


def image2d(image: Any, name: str, shape: tuple[int, ...] | None = None) -> NDArray[np.float64]:
    """`image` as float64 (H, W).

    Raises:
        ValueError: not two-dimensional, not of `shape`, empty, or not finite.
    """
    array = np.asarray(image, dtype=np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(f"{name} must be two-dimensional (H, W) and hold pixels, got shape {array.shape}")
    if shape is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity; no estimate is made from it")
    return array


def spacing2d(spacing: Spacing) -> Spacing:
    """Pixel spacing (dy, dx) in mm.

    Raises:
        ValueError: not two positive finite numbers.
    """
    values = np.asarray(spacing, dtype=np.float64)
    if values.shape != (2,) or not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"spacing must be two positive numbers (dy, dx) in mm, got {spacing!r}")
    return float(values[0]), float(values[1])


def spacing3d(spacing: Spacing3d) -> Spacing3d:
    """Voxel spacing (dz, dy, dx) in mm.

    Raises:
        ValueError: not three positive finite numbers.
    """
    values = np.asarray(spacing, dtype=np.float64)
    if values.shape != (3,) or not np.isfinite(values).all() or (values <= 0).any():
        raise ValueError(f"spacing must be three positive numbers (dz, dy, dx) in mm, got {spacing!r}")
    return float(values[0]), float(values[1]), float(values[2])


def labelled(mask: BoolMask) -> NDArray[np.int32]:
    """8-connected components of a mask as labels 1, 2, ... (H, W); 0 outside."""
    labels: NDArray[np.int32] = ndimage.label(mask, structure=np.ones((3, 3)))[0]
    return labels


def dilated(mask: BoolMask, distance: float, spacing: Spacing = (1.0, 1.0)) -> BoolMask:
    """Pixels whose centre lies within `distance` (unit of `spacing`) of a pixel centre of `mask`; empty stays empty."""
    if not mask.any():
        return mask.copy()
    within: BoolMask = ndimage.distance_transform_edt(~mask, sampling=spacing) <= distance + ROUNDING
    return within
