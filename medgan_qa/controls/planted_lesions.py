"""Round lesions with a soft edge, drawn into real images at places where none is.

The edge is one pixel wide, as partial volume makes it and as the brain phantoms draw theirs. The lesion is added to the
tissue, whose texture and noise stay.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics import body_mask, components, surround

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
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


@dataclass(frozen=True)
class Displace:
    """Move every lesion by `rows` and `columns` pixels; what lay there is covered, and its own place is filled."""

    rows: int = 0
    columns: int = 8
    name: str = "displacer"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Move the lesions; one that would leave the image ends at its border."""
        out, masks, body = reference.copy(), components(lesion), body_mask(reference)
        rims = [ndimage.binary_dilation(mask, np.ones((3, 3), bool)) for mask in masks]
        levels = []
        for mask, rim in zip(masks, rims, strict=True):
            ring = surround(mask, body, masks)
            levels.append(np.float32(reference[ring].mean() if ring.any() else reference[body].mean()))
            out[rim] = levels[-1]
        for rim, level in zip(rims, levels, strict=True):
            y, x = np.nonzero(rim)
            to = np.clip(y + self.rows, 0, out.shape[0] - 1), np.clip(x + self.columns, 0, out.shape[1] - 1)
            out[to] = out[to] + reference[y, x] - level
        return out
