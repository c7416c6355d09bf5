"""The anatomy of the brain phantom: tissue fractions derived from the MNI152 templates.

The file ships with the package (`data/brain_tissue.npz`, licence in `data/NOTICE.md`, made by
`tools/make_tissue_map.py`).
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from importlib.resources import files
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.errors import IntegrityError

TISSUES = ("white", "grey", "csf", "skull", "scalp")
SHA256 = "aad129ad937ff785ad49bbe7083a54d783efa7d2a845f11fa0f5d967690150fa"
"""Digest of the file that this version of the phantom is defined by."""


class TissueMap(NamedTuple):
    """Fractions on a grid centred on the template's mid-sagittal, mid-coronal point."""

    fractions: NDArray[np.float32]
    """(Z, Y, X, 5) in [0, 1], in the order of `TISSUES`.

    Slices run from inferior to superior, rows from anterior to posterior, columns from the patient's right to left.
    """
    spacing_mm: tuple[float, float, float]
    """(z, y, x)."""
    z_mm: NDArray[np.float64]
    """MNI z of each slice, in mm."""


@cache
def brain_tissue() -> TissueMap:
    """Read the shipped tissue map.

    Raises:
        IntegrityError: the file is not the one this version was made with (a damaged installation).
    """
    path = files("medgan_qa.cohorts") / "data" / "brain_tissue.npz"
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise IntegrityError(
            "The anatomy of the brain phantom is not the one that this version was made with.",
            expected=f"SHA-256 {SHA256}",
            found=f"SHA-256 {found}",
            where=str(path),
            todo="Install medgan-qa again.",
        )
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        spacing = tuple(float(s) for s in stored["spacing_mm"])
        return TissueMap(
            fractions=stored["fractions"].astype(np.float32) / np.float32(255.0),
            spacing_mm=(spacing[0], spacing[1], spacing[2]),
            z_mm=stored["z_mni_mm"].astype(np.float64),
        )


@cache
def prefiltered(pixel_mm: float) -> NDArray[np.float32]:
    """The fractions, (Z, Y, X, 5), low-passed in-plane for sampling at `pixel_mm`.

    A coarse grid then sees partial volume, not aliasing.
    """
    from scipy import ndimage

    tissue = brain_tissue()
    # A Gaussian of 0.42 pixels (full width at half maximum one pixel) stands for the point spread of the pixel grid.
    sigma = [np.sqrt(max((0.42 * pixel_mm / s) ** 2 - 0.25, 0.0)) for s in tissue.spacing_mm[1:]]
    smooth: NDArray[np.float32] = ndimage.gaussian_filter(tissue.fractions, (0.0, sigma[0], sigma[1], 0.0))
    return smooth


@cache
def parenchyma_seats(margin_mm: float) -> NDArray[np.float64]:
    """Where a lesion centre may lie: (N, 3) template coordinates (z, y, x) in mm.

    Each is deeper than `margin_mm`, measured in-plane, in grey or white matter.
    """
    from scipy import ndimage

    tissue = brain_tissue()
    solid = tissue.fractions[..., :2].sum(axis=-1) > 0.6
    depth = np.stack([ndimage.distance_transform_edt(s, sampling=tissue.spacing_mm[1:]) for s in solid])
    k, i, j = np.nonzero(depth > margin_mm)
    _, height, width, _ = tissue.fractions.shape
    y = (i - (height - 1) / 2) * tissue.spacing_mm[1]
    x = (j - (width - 1) / 2) * tissue.spacing_mm[2]
    return np.stack([tissue.z_mm[k], y, x], axis=1)
