"""Round lesions with a soft edge, drawn into real images at places where none is.

The edge is one pixel wide, as partial volume makes it and as the brain phantoms draw theirs. The lesion is added to the
tissue, whose texture and noise stay.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Spacing = tuple[float, float]


def disc(shape: tuple[int, int], centre: tuple[float, float], diameter_mm: float, spacing_mm: Spacing) -> Float:
    """Share of each pixel that a disc covers.

    Args:
        shape: (H, W).
        centre: row and column in pixels; may lie between pixels.
        diameter_mm: diameter in mm, > 0.
        spacing_mm: pixel spacing (dy, dx) in mm.

    Returns:
        (H, W) in [0, 1]; exactly half at the radius.

    Raises:
        ValueError: the diameter is not positive.
    """
    if not diameter_mm > 0:
        raise ValueError(f"diameter_mm must be positive, got {diameter_mm!r}")
    dy = (np.arange(shape[0]) - centre[0]) * spacing_mm[0]
    dx = (np.arange(shape[1]) - centre[1]) * spacing_mm[1]
    inside = diameter_mm / 2 - np.hypot(dy[:, None], dx[None, :])
    # A pixel's width is that of a square pixel of the same area.
    width = float(np.sqrt(spacing_mm[0] * spacing_mm[1]))
    cover: Float = np.clip(inside / width + 0.5, 0.0, 1.0).astype(np.float32)
    return cover


def plant(image: Float, cover: Float, contrast: float) -> Float:
    """The image (..., H, W) with a lesion of a contrast, signed, in the unit of the image; nothing is clipped."""
    planted: Float = (image + np.float32(contrast) * cover).astype(np.float32)
    return planted
