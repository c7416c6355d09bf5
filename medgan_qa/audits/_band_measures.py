"""What FID-011 takes from one image beside the truth: agreement by frequency, distortion, and looks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits.translation import Item
from medgan_qa.features.lpips_distance import LpipsDistance
from medgan_qa.metrics import psnr, ssim
from medgan_qa.metrics.bands import (
    SMALLEST_SIDE,
    BandAgreement,
    BandCurves,
    Direction,
    band_agreement,
    band_curves,
    directions,
    regions,
    spectrum,
)
from medgan_qa.metrics.fidelity import SSIM_WINDOW
from medgan_qa.metrics.local_detail import detail_distance

Values = dict[str, float]
"""By measure; one that cannot be taken is absent."""


@dataclass(frozen=True, eq=False)
class Compared:
    """One image beside the truth."""

    values: Values
    bands: dict[str, BandAgreement]
    """By region of the frequency plane; a region in which the truth has no power is absent."""
    curves: list[BandCurves]
    """One a direction of the case."""


@dataclass(frozen=True, eq=False)
class Measured:
    """One case: every image, by name, and the bands that their curves run over."""

    images: dict[str, Compared]
    directions: list[Direction]


def measure(
    item: Item, images: dict[str, NDArray[np.float32]], factors: tuple[int, int], lpips: LpipsDistance | str
) -> Measured:
    """Compare every image of a case with its reference."""
    assert item.reference is not None
    shape = (item.reference.shape[0], item.reference.shape[1])
    ways = directions(shape, item.spacing_mm, factors) if min(shape) >= SMALLEST_SIDE else []
    return Measured({name: _compared(item, image, factors, ways, lpips) for name, image in images.items()}, ways)


def _compared(
    item: Item,
    image: NDArray[np.float32],
    factors: tuple[int, int],
    ways: list[Direction],
    lpips: LpipsDistance | str,
) -> Compared:
    assert item.reference is not None
    values = _values(item, image, factors)
    if not isinstance(lpips, str):
        values["lpips"] = lpips.distance(image, item.reference)
    if not ways:
        return Compared(values, {}, [])
    output, truth = spectrum(image), spectrum(item.reference)
    found = {name: band_agreement(output, truth, held) for name, held in regions(truth.shape, factors).items()}
    bands = {name: agreement for name, agreement in found.items() if agreement is not None}
    return Compared(values, bands, [band_curves(output, truth, way) for way in ways])


def _values(item: Item, image: NDArray[np.float32], factors: tuple[int, int]) -> Values:
    assert item.reference is not None
    error = (image.astype(np.float64) - item.reference)[item.body]
    values = {"rmse": float(np.sqrt(np.mean(np.square(error))))}
    ratio = psnr(image, item.reference, item.body, 1.0)
    if ratio is not None:
        values["psnr"] = ratio
    if min(image.shape) >= SSIM_WINDOW:
        values["ssim"] = ssim(image, item.reference, item.body, 1.0)
    looks = detail_distance(image, item.reference, item.body, factors)
    if looks is not None:
        values |= {"sharpness_ratio": looks.ratio, "sharpness_distance": looks.distance}
    return values
