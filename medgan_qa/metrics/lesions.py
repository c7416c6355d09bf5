"""Lesions in a slice: taking them apart, matching them with a reading, and their contrast to the tissue around.

A reading is what a detector or a reader marked. Which marks count as finding a lesion is a choice that changes every
rate, so it is a named rule that the report states.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._arrays import ROUNDING, BoolMask, Spacing, dilated, labelled, mask2d, region, spacing2d

RuleName = Literal["overlap", "centroid", "dilated_hit"]


@dataclass(frozen=True, slots=True)
class MatchingRule:
    """When a reading counts as finding an annotated lesion, and when a mark counts as a false alarm.

    Raises:
        ValueError: an unknown name, `min_overlap` outside (0, 1], or `dilate_mm` negative or not finite.
    """

    name: RuleName = "overlap"
    """`overlap`: the reading covers at least `min_overlap` of the lesion's pixels. `centroid`: it covers the lesion's
    pixel nearest the centroid, which lies on the lesion even where it is bent or ring-shaped. `dilated_hit`: one marked
    pixel within `dilate_mm` of the lesion is enough."""
    min_overlap: float = 0.25
    """Share of the lesion's pixels, in (0, 1]; used by `overlap`."""
    dilate_mm: float = 3.0
    """Distance in mm between pixel centres, >= 0; used by `dilated_hit`, and by `unmatched` under every rule."""

    def __post_init__(self) -> None:
        """Refuse a rule that cannot be applied."""
        if self.name not in get_args(RuleName):
            raise ValueError(f"name must be one of {', '.join(get_args(RuleName))}, got {self.name!r}")
        if not 0.0 < self.min_overlap <= 1.0:
            raise ValueError(f"min_overlap must lie in (0, 1], got {self.min_overlap!r}")
        if not (math.isfinite(self.dilate_mm) and self.dilate_mm >= 0.0):
            raise ValueError(f"dilate_mm must be a number >= 0, got {self.dilate_mm!r}")

    def describe(self) -> str:
        """The rule in one sentence, as the report prints it."""
        when = {
            "overlap": f"the marked pixels together cover at least {self.min_overlap:.0%} of its area",
            "centroid": "the marked pixels cover the pixel of the lesion nearest to its centroid",
            "dilated_hit": f"at least one marked pixel lies within {self.dilate_mm:g} mm of it",
        }[self.name]
        return (
            f"An annotated lesion counts as found when {when}; a connected group of marked pixels counts as a false "
            f"alarm when none of them lies within {self.dilate_mm:g} mm of an annotated lesion."
        )


def components(mask: Any, min_pixels: int = 1) -> list[BoolMask]:
    """The 8-connected components of a mask, in raster order of their first pixel.

    Args:
        mask: (H, W) bool.
        min_pixels: components with fewer pixels are left out, >= 1.

    Returns:
        Masks (H, W), one a component; an empty list for an empty mask.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the mask is not two-dimensional, or `min_pixels` is below 1.
    """
    array = mask2d(mask, "mask")
    if min_pixels < 1:
        raise ValueError(f"min_pixels must be at least 1, got {min_pixels!r}")
    labels = labelled(array)
    values, first, sizes = np.unique(labels, return_index=True, return_counts=True)
    in_raster_order = np.argsort(first)
    return [labels == values[i] for i in in_raster_order if values[i] != 0 and sizes[i] >= min_pixels]


def equivalent_diameter(mask: Any, spacing_mm: Spacing) -> float:
    """Diameter in mm of the disc with the area of the mask; 0 for an empty mask.

    Args:
        mask: (H, W) bool.
        spacing_mm: pixel spacing (dy, dx) in mm.

    Raises:
        TypeError: the mask is not bool.
        ValueError: the mask is not two-dimensional, or a spacing is not positive.
    """
    dy, dx = spacing2d(spacing_mm)
    return 2.0 * math.sqrt(np.count_nonzero(mask2d(mask, "mask")) * dy * dx / math.pi)


def found(lesion: Any, reading: Any, rule: MatchingRule, spacing_mm: Spacing) -> bool:
    """Whether a reading finds a lesion under a rule.

    All marks count together, so a lesion that the reading splits in two is found once, and one mark over two lesions
    finds both (N:M matching).

    Args:
        lesion: (H, W) bool, one annotated lesion with at least one pixel.
        reading: (H, W) bool, everything that was marked; may be empty, which finds nothing.
        rule: the matching rule.
        spacing_mm: pixel spacing (dy, dx) in mm.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, the lesion is empty, or a spacing is not positive.
    """
    target = region(lesion, "lesion")
    marked = mask2d(reading, "reading", target.shape)
    spacing = spacing2d(spacing_mm)
    if rule.name == "overlap":
        return bool(np.count_nonzero(target & marked) >= rule.min_overlap * np.count_nonzero(target) - ROUNDING)
    if rule.name == "centroid":
        return bool((_centre(target, spacing) & marked).any())
    return bool((dilated(target, rule.dilate_mm, spacing) & marked).any())


def unmatched(
    reading: Any,
    lesions: Any,
    *,
    known: Any | None,
    rule: MatchingRule,
    spacing_mm: Spacing,
    min_pixels: int = 1,
) -> list[BoolMask]:
    """Marks that no annotated lesion explains: the components of a reading with no pixel near a lesion or known region.

    Near is within `rule.dilate_mm`, whatever the rule's name: a mark that touches a lesion without covering enough of
    it is a miss of that lesion, and not an invented one besides.

    Args:
        reading: (H, W) bool, everything that was marked.
        lesions: the annotated lesions: masks (H, W) bool in a sequence or (K, H, W) array, or their union (H, W). None
            annotated: an empty sequence.
        known: (H, W) bool, what the detector marks on the real image already, or None.
        rule: the matching rule.
        spacing_mm: pixel spacing (dy, dx) in mm.
        min_pixels: smaller components of the reading are left out, >= 1.

    Returns:
        Masks (H, W) in raster order of their first pixel.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, a spacing is not positive, or `min_pixels` is below 1.
    """
    marked = mask2d(reading, "reading")
    explained = _union(lesions, "lesions", marked.shape)
    if known is not None:
        explained = explained | mask2d(known, "known", marked.shape)
    near = dilated(explained, rule.dilate_mm, spacing2d(spacing_mm))
    return [mark for mark in components(marked, min_pixels) if not (mark & near).any()]


def surround(lesion: Any, body: Any, others: Any, *, gap_px: float = 1, width_px: float = 3) -> BoolMask:
    """Ring of tissue around a lesion, the reference for its contrast.

    The pixels farther than `gap_px` and at most `gap_px + width_px` (Euclidean, between pixel centres) from the lesion,
    inside the body and farther than `gap_px` from every other lesion. The gap keeps the blurred edge of a lesion out of
    its own reference.

    Args:
        lesion: (H, W) bool with at least one pixel.
        body: (H, W) bool, tissue against air.
        others: the other lesions of the slice: masks in a sequence or (K, H, W) array, or their union (H, W), which may
            include this lesion; an empty sequence where there is none.
        gap_px: width of the gap in pixels, >= 0.
        width_px: width of the ring in pixels, > 0.

    Returns:
        (H, W) bool; empty where neither body nor room is left, which `contrast` refuses.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, the lesion is empty, or a width is out of range.
    """
    if not (gap_px >= 0 and width_px > 0):
        raise ValueError(f"gap_px must be >= 0 and width_px > 0, got gap_px={gap_px!r}, width_px={width_px!r}")
    target = region(lesion, "lesion")
    tissue = mask2d(body, "body", target.shape)
    taken = dilated(target | _union(others, "others", target.shape), gap_px)
    return dilated(target, gap_px + width_px) & tissue & ~taken


def contrast(image: Any, lesion: Any, ring: Any) -> float:
    """Mean of the lesion minus mean of the ring, signed, in the unit of the image: positive for a bright lesion.

    Args:
        image: (H, W); finite under both masks.
        lesion: (H, W) bool with at least one pixel.
        ring: (H, W) bool with at least one pixel, from `surround`.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, a mask is empty, or a value is not finite.
    """
    inside, around = _samples(image, lesion, ring)
    return float(inside.mean() - around.mean())


def contrast_noise(image: Any, lesion: Any, ring: Any) -> float:
    """Standard error of `contrast`, sqrt(s_lesion^2 / n_lesion + s_ring^2 / n_ring), in the unit of the image.

    Variances with ddof 1. A lesion or ring of one pixel has no variance of its own and takes the other's. Structure
    inside the lesion counts as noise, and pixels as independent, though blur makes neighbours alike: a contrast below
    two or three of these is too weak to divide by, one above is not thereby proved.

    Args:
        image: (H, W); finite under both masks.
        lesion: (H, W) bool with at least one pixel.
        ring: (H, W) bool with at least one pixel.

    Raises:
        TypeError: a mask is not bool.
        ValueError: shapes differ, a mask is empty, both hold a single pixel, or a value is not finite.
    """
    inside, around = _samples(image, lesion, ring)
    if inside.size == 1 and around.size == 1:
        raise ValueError("lesion and ring hold one pixel each; the noise cannot be estimated from that")
    inside_variance = (inside if inside.size > 1 else around).var(ddof=1)
    around_variance = (around if around.size > 1 else inside).var(ddof=1)
    return math.sqrt(inside_variance / inside.size + around_variance / around.size)


def _samples(image: Any, lesion: Any, ring: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    target = region(lesion, "lesion")
    surrounding = region(ring, "ring", target.shape)
    pixels = np.asarray(image, dtype=np.float64)
    if pixels.shape != target.shape:
        raise ValueError(f"image must have shape {target.shape}, got {pixels.shape}")
    inside, around = pixels[target], pixels[surrounding]
    if not (np.isfinite(inside).all() and np.isfinite(around).all()):
        raise ValueError("image holds NaN or infinity under the lesion or its ring; no estimate is made from it")
    return inside, around


def _centre(lesion: BoolMask, spacing: Spacing) -> BoolMask:
    """The lesion's pixels nearest its centroid: one, or several where they are equally near."""
    points = np.argwhere(lesion) * np.asarray(spacing)
    squared = np.square(points - points.mean(axis=0)).sum(axis=1)
    centre = np.zeros_like(lesion)
    # ties kept, or else a mirrored image could be judged differently
    centre[lesion] = squared <= squared.min() + ROUNDING * spacing[0] * spacing[1]
    return centre


def _union(masks: Any, name: str, shape: tuple[int, ...]) -> BoolMask:
    """Union of a sequence of masks, of a (K, H, W) array, or of one mask (H, W)."""
    if isinstance(masks, np.ndarray) and masks.ndim == 2:
        return mask2d(masks, name, shape)
    union = np.zeros(shape, dtype=bool)
    for mask in masks:
        union |= mask2d(mask, name, shape)
    return union
