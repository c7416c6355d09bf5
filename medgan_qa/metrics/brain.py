"""Measured anatomy of a head slice in which fluid and skull are dark.

References:
    N. Otsu, "A threshold selection method from gray-level histograms", IEEE Trans. SMC 9 (1979) 62-66.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics._arrays import BoolMask, Spacing, spacing2d
from medgan_qa.metrics._contour import (
    ANGLES,
    CONSTANT_RANGE,
    SPECK_PX,
    foreground,
    holes,
    longest_run,
    outline,
    parts,
    slice2d,
)
from medgan_qa.metrics.body import _closed, _largest_component, body_mask
from medgan_qa.metrics.reference_range import Quantity

RING_SEARCH = 0.45
"""Share of the head's depth within which the dark ring of the skull is looked for."""
GULF_PX = 2
"""Radius in pixels of the sulci that the outline of the brain is closed over."""
CENTRAL_DEPTH = 0.3
"""Share of the brain's depth beyond which fluid is central: ventricles, and the fissure between the hemispheres."""
RAMP = (0.25, 0.75)
"""From all fluid to no fluid, between the dark level and the tissue's: half a pixel of tissue counts as half."""
BLOB_SIGMAS = 4.0
"""Robust standard deviations above the tissue's median that a bright blob exceeds."""
SCALP_MM = 7.0
"""Depth below the outline within which the bright outer ring is looked for."""

BRAIN: dict[str, Quantity] = {
    "no_body": Quantity("1", "high", 0.1, "1 where there is no head or no brain in it; all other measures are then 0"),
    "head_area": Quantity("mm2", "both", 1.0, "area inside the outline of the head; any contrast"),
    "brain_area": Quantity("mm2", "both", 1.0, "parenchyma, partial volume counted; FLAIR, T1"),
    "brain_share": Quantity("1", "both", 1e-3, "brain_area over head_area; FLAIR, T1"),
    "central_fluid_area": Quantity("mm2", "both", 1.0, "dark fluid deep in the brain: ventricles, fissure; FLAIR, T1"),
    "central_fluid_share": Quantity(
        "1", "both", 1e-3, "central_fluid_area over the area within the brain's outline; FLAIR, T1"
    ),
    "head_asymmetry": Quantity("1", "both", 1e-3, "1 - Dice of the head with its mirror image; any contrast"),
    "intensity_asymmetry": Quantity(
        "1", "both", 1e-3, "mean difference to the mirror image over the mean, in the head; any"
    ),
    "midline_angle": Quantity("degree", "both", 0.1, "tilt of the head's axis, -45 to 45; noise for a round head; any"),
    "eccentricity": Quantity(
        "1", "both", 1e-3, "of the ellipse with the head's second moments: 0 a circle; any contrast"
    ),
    "components": Quantity("1", "both", 0.25, "connected parts of the foreground; any contrast"),
    "holes": Quantity("1", "both", 0.25, "dark regions that the foreground encloses; any contrast"),
    "bright_blobs": Quantity("1", "both", 0.25, "bright parts within the brain, candidates of lesions; FLAIR"),
    "bright_area": Quantity("mm2", "both", 1.0, "their area; FLAIR"),
    "ring_gap": Quantity(
        "degree", "both", 2.0, "largest gap in the bright outer ring: scalp fat in FLAIR, T1, T2; skull in CT"
    ),
}
"""The measures of `brain`, and the contrasts in which each is what its name says."""


def brain(image: Any, spacing_mm: Spacing) -> dict[str, float]:
    """Anatomy of an axial head slice in which skull and fluid are dark and tissue is bright (FLAIR, T1).

    The head is `body_mask`. The skull is the depth below the outline at which the mean intensity is least; inside it,
    the tissue's level is the median of the deep pixels, the dark level the 10th percentile of the skull's. The brain is
    the largest component above half way between them; its outline is closed over sulci. A pixel's tissue fraction rises
    from 0 to 1 between a quarter and three quarters of the way. Fluid is central beyond 0.3 of the largest depth. The
    midline is the principal axis of the head nearer to the image's vertical. See `BRAIN` for which measure is meant for
    which contrast; the others are numbers there too, but not of what their name says.

    Args:
        image: (H, W) finite, in [0, 1], anterior or posterior up, each side at least 16 pixels.
        spacing_mm: pixel spacing (dy, dx) in mm.

    Returns:
        The measures of `BRAIN`.

    Raises:
        ValueError: wrong shape, too small, not finite, or a spacing that is not positive.
    """
    pixels, spacing = slice2d(image), spacing2d(spacing_mm)
    empty = {name: float(name == "no_body") for name in BRAIN}
    if np.ptp(pixels) < CONSTANT_RANGE:
        return empty
    head = body_mask(pixels)
    tissue = _brain_tissue(pixels, head)
    if tissue is None:
        return empty
    area = spacing[0] * spacing[1]
    mask = foreground(pixels)
    found = {
        "no_body": 0.0,
        "head_area": area * float(head.sum()),
        "brain_area": area * float(tissue.fraction[tissue.inside].sum()),
        "central_fluid_area": area * float((1.0 - tissue.fraction)[tissue.deep].sum()),
        **_symmetry(pixels, head, spacing),
        "components": float(parts(mask, SPECK_PX).size),
        "holes": float(holes(mask, SPECK_PX)),
        **_bright(pixels, tissue.inside, area),
        "ring_gap": _ring_gap(pixels, mask, spacing),
    }
    found["brain_share"] = found["brain_area"] / found["head_area"]
    found["central_fluid_share"] = found["central_fluid_area"] / (area * float(tissue.inside.sum()))
    return {name: found[name] for name in BRAIN}


class _Tissue(NamedTuple):
    fraction: NDArray[np.float64]
    """(H, W) share of tissue in a pixel, in [0, 1]."""
    inside: BoolMask
    """Within the brain's outline."""
    deep: BoolMask
    """Deep in it."""


def _depth(mask: BoolMask) -> NDArray[np.float64]:
    """Distance in pixels to the outside of a mask; the image's border is outside."""
    depth: NDArray[np.float64] = ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    return depth


def _brain_tissue(pixels: NDArray[np.float64], head: BoolMask) -> _Tissue | None:
    """None where nothing inside the head is brighter than its darkest ring."""
    depth = _depth(head)
    shell = np.rint(depth).astype(np.intp)
    counts = np.maximum(np.bincount(shell[head]), 1)
    profile = np.bincount(shell[head], weights=pixels[head]) / counts
    skull = 1 + int(np.argmin(profile[1 : 1 + max(3, int(RING_SEARCH * (profile.size - 1)))]))
    domain, deep = depth > skull, depth > 2 * skull
    if not deep.any():
        return None
    dark, bright = float(np.percentile(pixels[shell == skull], 10)), float(np.median(pixels[deep]))
    candidates = domain & (pixels > (dark + bright) / 2)
    if bright - dark < CONSTANT_RANGE or not candidates.any():
        return None
    inside = ndimage.binary_fill_holes(_closed(_largest_component(candidates), GULF_PX))
    within = _depth(inside)
    level = (pixels - dark) / (bright - dark)
    return _Tissue(
        np.clip((level - RAMP[0]) / (RAMP[1] - RAMP[0]), 0, 1), inside, within > CENTRAL_DEPTH * within.max()
    )


def _moments(mask: BoolMask, spacing: Spacing) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centroid (2,) and covariance (2, 2) of the pixels in mm, each pixel a rectangle and not a point."""
    points = np.argwhere(mask) * np.asarray(spacing)
    centre = points.mean(axis=0)
    off = points - centre
    return centre, off.T @ off / len(points) + np.diag(np.square(spacing)) / 12


def _symmetry(pixels: NDArray[np.float64], head: BoolMask, spacing: Spacing) -> dict[str, float]:
    centre, covariance = _moments(head, spacing)
    variances, axes = np.linalg.eigh(covariance)
    upright = axes[:, int(np.argmax(np.abs(axes[0])))]
    upright = upright * (-1.0 if upright[0] < 0 else 1.0)
    normal = np.array([-upright[1], upright[0]])
    rows, columns = np.indices(pixels.shape, dtype=np.float64)
    across = (rows * spacing[0] - centre[0]) * normal[0] + (columns * spacing[1] - centre[1]) * normal[1]
    at = [rows - 2 * across * normal[0] / spacing[0], columns - 2 * across * normal[1] / spacing[1]]
    opposite = ndimage.map_coordinates(head.astype(np.float64), at, order=1) >= 0.5
    both, mean = head & opposite, float(pixels[head].mean())
    mirrored = ndimage.map_coordinates(pixels, [axis[both] for axis in at], order=1, mode="nearest")
    difference = float(np.abs(pixels[both] - mirrored).mean()) if both.any() else mean
    return {
        "head_asymmetry": 1.0 - 2.0 * float(both.sum()) / float(head.sum() + opposite.sum()),
        "intensity_asymmetry": difference / mean if mean > 0 else 0.0,
        "midline_angle": math.degrees(math.atan2(upright[1], upright[0])),
        "eccentricity": math.sqrt(max(0.0, 1.0 - float(variances[0] / variances[1]))),
    }


def _bright(pixels: NDArray[np.float64], inside: BoolMask, area: float) -> dict[str, float]:
    values = pixels[inside]
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    sizes = parts(inside & (pixels > middle + BLOB_SIGMAS * spread), SPECK_PX)
    return {"bright_blobs": float(sizes.size), "bright_area": area * float(sizes.sum())}


def _ring_gap(pixels: NDArray[np.float64], mask: BoolMask, spacing: Spacing) -> float:
    """Degrees; rays are counted in the pixel grid. 360 where there is no outline."""
    contour = outline(mask)
    if contour is None:
        return 360.0
    depth = max(2.0, SCALP_MM / math.sqrt(spacing[0] * spacing[1]))
    angle = 2 * np.pi * np.arange(ANGLES) / ANGLES
    radius = contour.expected[:, None] - np.arange(-1.0, depth, 0.5)
    rows = np.rint(contour.centre[0] + np.sin(angle)[:, None] * radius).astype(np.intp)
    columns = np.rint(contour.centre[1] + np.cos(angle)[:, None] * radius).astype(np.intp)
    rows, columns = np.clip(rows, 0, pixels.shape[0] - 1), np.clip(columns, 0, pixels.shape[1] - 1)
    brightest = pixels[rows, columns].max(axis=1)
    return longest_run(brightest < 0.5 * float(np.median(brightest))) * 360.0 / ANGLES
