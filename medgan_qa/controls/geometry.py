"""Planted faults of geometry: output moved, mirrored, wrapped around, resized, deformed, or with lesions squared off.

Each is a `Defect` of a planted translator. Lengths are in mm by the spacing that the defect is given, as it sees an
array and no file.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics import body_mask, components, surround

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class Displace:
    """Move the image by so many mm in a direction drawn for each case, in a share `dose` of the cases."""

    distance_mm: float
    spacing_mm: float
    dose: float = 1.0
    name: str = "displacer"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Move or leave; what comes in at the border is black."""
        if g.random() >= self.dose:
            return reference
        angle = g.uniform(0, 2 * math.pi)
        pixels = self.distance_mm / self.spacing_mm
        moved: Float = ndimage.shift(reference, (pixels * math.sin(angle), pixels * math.cos(angle)), order=1)
        return moved


@dataclass(frozen=True)
class Flip:
    """Mirror the image, or turn it by half, in a share `dose` of the cases."""

    axes: tuple[int, ...] = (1,)
    """(1,) left and right, (0,) up and down, (0, 1) half a turn."""
    dose: float = 1.0
    name: str = "flipper"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Mirror or leave."""
        return np.flip(reference, self.axes).copy() if g.random() < self.dose else reference


@dataclass(frozen=True)
class Wrap:
    """Move the image cyclically by a share of its sides (rows, columns), in a share `dose` of the cases."""

    share: tuple[float, float] = (0.0, 0.33)
    dose: float = 1.0
    name: str = "wrapper"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Wrap around or leave."""
        if g.random() >= self.dose:
            return reference
        rows, columns = (round(s * n) for s, n in zip(self.share, reference.shape, strict=True))
        return np.roll(reference, (rows, columns), axis=(0, 1))


@dataclass(frozen=True)
class Distort:
    """Apply a linear map about the middle of the image, in a share `dose` of the cases."""

    scale: float = 1.0
    shear: float = 0.0
    """Pixels right per pixel down."""
    dose: float = 1.0
    name: str = "distorter"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Resize and shear, or leave."""
        if g.random() >= self.dose:
            return reference
        back = np.linalg.inv(np.array([[self.scale, 0.0], [self.scale * self.shear, self.scale]]))
        middle = (np.array(reference.shape) - 1) / 2
        changed: Float = ndimage.affine_transform(reference, back, offset=middle - back @ middle, order=1)
        return changed


@dataclass(frozen=True)
class Warp:
    """Deform the image smoothly, by `amplitude_mm` at most and `waves` swings across each side."""

    amplitude_mm: float
    spacing_mm: float
    waves: float = 2.0
    dose: float = 1.0
    name: str = "warper"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Deform or leave."""
        if g.random() >= self.dose:
            return reference
        rows, columns = np.indices(reference.shape).astype(np.float64)
        height, width = reference.shape
        phases = g.uniform(0, 2 * math.pi, 2)
        size = self.amplitude_mm / self.spacing_mm
        dy = size * np.sin(2 * math.pi * self.waves * columns / width + phases[0])
        dx = size * np.sin(2 * math.pi * self.waves * rows / height + phases[1])
        # Each part swings by itself; together they must not exceed the amplitude.
        part = 1 / math.sqrt(2)
        warped: Float = ndimage.map_coordinates(reference, (rows + part * dy, columns + part * dx), order=1)
        return warped.astype(np.float32)


@dataclass(frozen=True)
class SquareLesions:
    """Put a square of the same area and mean intensity in place of every lesion (the circle-to-square failure)."""

    dose: float = 1.0
    name: str = "squarer"

    def apply(self, reference: Float, lesion: Bool, g: np.random.Generator) -> Float:
        """Square every lesion off, or leave the case."""
        if g.random() >= self.dose:
            return reference
        out = reference.copy()
        body = body_mask(reference)
        masks = components(lesion)
        for mask in masks:
            ring = surround(mask, body, masks)
            level = np.float32(reference[ring].mean() if ring.any() else reference[body].mean())
            inside = np.float32(reference[mask].mean())
            rim = ndimage.binary_dilation(mask, np.ones((3, 3), bool))
            out[rim] = level
            share = _square(mask)
            out = (out * (1 - share) + inside * share).astype(np.float32)
        return out


def _square(mask: Bool) -> Float:
    """(H, W) share of each pixel covered by the upright square with the area and centre of the mask."""
    half = math.sqrt(np.count_nonzero(mask)) / 2
    cover = [
        np.clip(half + 0.5 - np.abs(np.arange(n) - centre), 0, 1)
        for n, centre in zip(mask.shape, np.argwhere(mask).mean(axis=0), strict=True)
    ]
    share: Float = np.outer(*cover).astype(np.float32)
    return share
