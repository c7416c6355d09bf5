"""Scanning Fourier ring correlation: patches, the model's typical difference, and thresholds from planted patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from medgan_qa import rng
from medgan_qa.audits._planting import Cell
from medgan_qa.audits.translation import Item
from medgan_qa.metrics.planting import disc
from medgan_qa.metrics.ring_correlation import RingCorrelation, WindowName, crossing, cut, frc, scan_corners

Float = NDArray[np.float64]

BLURS_PX = tuple(float(sigma) for sigma in np.arange(0.0, 2.01, 0.25))
"""Standard deviations of the Gaussian blurs that are tried to explain the model's outputs."""
SAMPLED = 32
"""Cases that the typical difference is estimated from."""
CLEAN = 3000
"""Clean patches, at most, on either side of the calibration."""
SAME = 1.02
"""Residuals that differ by less than this ratio are alike."""
FITS = 3
"""Fits of gain and offset, each to the pixels near the line before."""
LARGEST_SHIFT_PX = 1.0
"""A larger shift of a whole image is a fault, not a typical difference."""
LEAST_GAIN = 0.1
"""An output that follows the reference with less than this gain does not follow it."""


@dataclass(frozen=True)
class Scan:
    """How images are scanned."""

    patch: int
    stride: int
    window: WindowName
    min_body: float


class Patches(NamedTuple):
    """The patches of one case that are judged."""

    item: Item
    corners: NDArray[np.intp]
    """(K, 2)."""
    left_out: int
    """Patches of which too little is body, or whose reference is flat."""


class Typical(NamedTuple):
    """The shifts, the blur and the white noise that explain the model's outputs best, given the references."""

    blur_px: float
    noise: float
    """Standard deviation, in the unit of the reference."""
    shifts_px: Float
    """(S, 2) of output against reference, by case; a clean image takes one of them."""

    def clean(self, reference: NDArray[np.float32], g: np.random.Generator) -> Float:
        """A reference as this model would show it if nothing were wrong with it, (H, W)."""
        moved = _moved(reference.astype(np.float64), self.shifts_px[g.integers(len(self.shifts_px))])
        blurred: Float = ndimage.gaussian_filter(moved, self.blur_px, mode="nearest")
        return blurred + self.noise * g.standard_normal(reference.shape)


class Rule(NamedTuple):
    """When a patch is flagged: its correlation falls below `threshold` before `cutoff`."""

    threshold: float
    cutoff: float
    """In shares of the Nyquist frequency."""

    def flags(self, found: RingCorrelation) -> NDArray[np.bool_]:
        """(N,) flagged."""
        flagged: NDArray[np.bool_] = crossing(found, self.threshold) < self.cutoff
        return flagged


class Sample(NamedTuple):
    """Clean patches of several cases."""

    reference: Float
    """(N, P, P)."""
    clean: Float
    """(N, P, P), the same places as the model would typically show them."""
    items: list[Item]
    """(N,)."""


def patches_of(item: Item, scan: Scan) -> Patches:
    """The patches of a case; those with too little body or a flat reference are counted and left out."""
    assert item.reference is not None
    if min(item.reference.shape) < scan.patch:
        return Patches(item, np.empty((0, 2), np.intp), 0)
    corners = scan_corners(item.reference.shape, scan.patch, scan.stride)
    held = cut(item.body, corners, scan.patch).mean(axis=(1, 2)) >= scan.min_body
    held &= np.ptp(cut(item.reference, corners, scan.patch), axis=(1, 2)) > 0
    return Patches(item, corners[held], int((~held).sum()))


def correlations(patches: Patches, scan: Scan) -> RingCorrelation:
    """Ring correlation of output and reference in each patch of a case."""
    item = patches.item
    assert item.reference is not None
    output, reference = (cut(image, patches.corners, scan.patch) for image in (item.output, item.reference))
    return frc(output, reference, scan.window)


def typical(items: Sequence[Item], seed: int) -> Typical:
    """The model's typical difference from the references, over cases drawn by seed.

    Gain and offset are fitted for each case and blur, as ring correlation does not see them. Medians over pixels and
    cases keep a minority of grossly wrong places from counting as typical; a shift of more than `LARGEST_SHIFT_PX` is
    none of the small ones that are allowed for.
    """
    order = rng.child(seed, "typical difference").permutation(len(items))[:SAMPLED]
    some = [items[k] for k in sorted(order)]
    shifts = np.array([_shift(item) for item in some])
    pairs = list(zip(some, shifts, strict=True))
    residuals = np.array([[_residual(item, shift, sigma) for sigma in BLURS_PX] for item, shift in pairs])
    medians = np.median(residuals, axis=0)
    # The least blur that explains the outputs as well as any.
    best = int(np.flatnonzero(medians <= SAME * medians.min())[0])
    return Typical(BLURS_PX[best], float(medians[best]), shifts)


def _shift(item: Item) -> Float:
    """Rows and columns in pixels that move the reference onto the output; 0 where it is no small shift."""
    assert item.reference is not None
    if np.ptp(item.output) == 0 or np.ptp(item.reference) == 0:
        return np.zeros(2)
    register: Any = phase_cross_correlation
    shift: Float = np.asarray(register(item.output, item.reference, upsample_factor=10, normalization=None)[0])
    return shift if np.hypot(*shift) <= LARGEST_SHIFT_PX else np.zeros(2)


def _moved(image: Float, shift: Float) -> Float:
    moved: Float = ndimage.shift(image, shift, order=3, mode="nearest") if shift.any() else image
    return moved


def _residual(item: Item, shift: Float, blur_px: float) -> float:
    """Robust standard deviation of the output about a moved and blurred reference, in the unit of the reference."""
    assert item.reference is not None
    moved = _moved(item.reference.astype(np.float64), shift)
    x = ndimage.gaussian_filter(moved, blur_px, mode="nearest")[item.body]
    y = item.output.astype(np.float64)[item.body]
    gain, left = 0.0, y - y.mean()
    for _ in range(FITS):
        # A lesion that was removed must not bend the line that the rest lies on.
        near = np.abs(left) <= 3 * 1.4826 * np.median(np.abs(left))
        spread = x[near].var()
        gain = float(np.cov(x[near], y[near], ddof=0)[0, 1] / spread) if spread > 0 else 0.0
        left = y - y[near].mean() - gain * (x - x[near].mean())
    return float(1.4826 * np.median(np.abs(left)) / max(abs(gain), LEAST_GAIN))


def sample(patches: Sequence[Patches], difference: Typical, scan: Scan, seed: int, purpose: str) -> Sample:
    """Clean patches of the cases, at most `CLEAN`, drawn by seed; each case is degraded as a whole before it is cut."""
    every = [(k, row) for k, held in enumerate(patches) for row in range(len(held.corners))]
    g = rng.child(seed, "clean patches", purpose)
    chosen = sorted(g.permutation(len(every))[:CLEAN])
    rows: dict[int, list[int]] = {}
    for n in chosen:
        rows.setdefault(every[n][0], []).append(every[n][1])
    references, cleaned, items = [], [], []
    for k, picked in rows.items():
        item = patches[k].item
        assert item.reference is not None
        degraded = difference.clean(item.reference, rng.child(seed, "clean", item.case.case_id))
        corners = patches[k].corners[picked]
        references.append(cut(item.reference.astype(np.float64), corners, scan.patch))
        cleaned.append(cut(degraded, corners, scan.patch))
        items += [item] * len(picked)
    empty = np.empty((0, scan.patch, scan.patch))
    return Sample(np.concatenate([empty, *references]), np.concatenate([empty, *cleaned]), items)


def with_lesions(
    drawn: Sample, cell: Cell, difference: Typical, *, sign: int, kept: float, seed: int
) -> tuple[Float, Float]:
    """Reference patches with a lesion each, and clean ones in which a share `kept` of its contrast is left.

    Args:
        drawn: the patches.
        cell: the kind of lesion; its centre lies in the middle half of the patch, as overlapping patches have it.
        difference: blurs what is left of the lesion as it blurs the patch.
        sign: 1 for bright, -1 for dark.
        kept: 0: removed.
        seed: of the places.
    """
    side = drawn.reference.shape[-1]
    g = rng.child(seed, "planted in patches", f"{cell.diameter_mm:g}")
    centres = side * (0.25 + 0.5 * g.random((len(drawn.items), 2))) - 0.5
    covers = np.stack(
        [
            disc((side, side), (float(y), float(x)), cell.diameter_mm, item.spacing_mm)
            for (y, x), item in zip(centres, drawn.items, strict=True)
        ]
    ).astype(np.float64)
    amount = sign * cell.contrast
    blurred = ndimage.gaussian_filter(covers, (0, difference.blur_px, difference.blur_px), mode="constant")
    return drawn.reference + amount * covers, drawn.clean + kept * amount * blurred


def calibrated(
    clean: RingCorrelation, defects: Sequence[RingCorrelation], thresholds: Sequence[float], false_alarm: float
) -> Rule | None:
    """The rule that flags most planted defects among those that keep the false-alarm rate on clean patches.

    For each threshold the cutoff is the k-th smallest crossing of the clean patches, k = floor(rate (n + 1)): of n + 1
    exchangeable patches at most a share `rate` lies strictly below. Equal rules: the first threshold.

    Returns:
        None where the clean patches are too few for the rate (k = 0).
    """
    k = int(np.floor(false_alarm * (len(clean.correlation) + 1) + 1e-9))
    if k < 1:
        return None
    rules = [Rule(y, float(np.partition(crossing(clean, y), k - 1)[k - 1])) for y in thresholds]
    return max(rules, key=lambda rule: float(np.mean([rule.flags(d).mean() for d in defects])) if defects else 0.0)
