"""Make `medgan_qa/cohorts/data/brain_tissue.npz`, the anatomy of the embedded brain phantom.

Source: the MNI152 non-linear symmetric 2009a T1, grey matter and white matter templates that nilearn's wheel carries
(Fonov et al. 2011, NeuroImage 54:313-327; the licence notice stands beside the file that this writes). Run with nilearn
installed:

    python tools/make_tissue_map.py

Kept: an axial slab from the basal ganglia to the centrum semiovale. Fractions of five tissues at 1.5 x 1.5 x 2 mm, in
1/255: white matter, grey matter, cerebrospinal fluid, skull, scalp. The templates are skull-stripped, so skull and
scalp are made here: shells of fixed thickness around the convex-like hull of the brain. Rows run from anterior to
posterior, columns from the patient's right to left (radiological display), slices from inferior to superior.
"""

from __future__ import annotations

import hashlib
import importlib.resources
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

OUT = Path(__file__).parent.parent / "medgan_qa" / "cohorts" / "data" / "brain_tissue.npz"
Z_MM = (-4.0, 46.0)  # MNI z of the slab
MARGIN_MM = 24  # room around the template for skull and scalp
CSF_MM, SKULL_MM, SCALP_MM = 2.5, 6.0, 5.5  # thickness of the shells around the brain hull


def template(name: str) -> tuple[np.ndarray, np.ndarray]:
    """A template in [0, 1] and its affine."""
    folder = importlib.resources.files("nilearn.datasets") / "data"
    image = nib.load(str(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"))
    return np.asanyarray(image.dataobj).astype(np.float32) / 255.0, image.affine


def shell(distance: np.ndarray, inner: float, outer: float) -> np.ndarray:
    """Fraction of a voxel between two distances from the hull, with a 1 mm soft edge."""
    return np.clip(distance - inner + 0.5, 0, 1) * np.clip(outer - distance + 0.5, 0, 1)


def main() -> None:
    """Read the templates, derive the fractions, write the file and print its digest."""
    (t1, affine), (gm, _), (wm, _) = template("t1"), template("gm"), template("wm")
    pad = [(MARGIN_MM, MARGIN_MM), (MARGIN_MM, MARGIN_MM), (0, 0)]
    t1, gm, wm = (np.pad(v, pad) for v in (t1, gm, wm))
    brain = ndimage.binary_fill_holes(ndimage.binary_closing((gm + wm > 0.3) | (t1 > 0.25), iterations=3))
    csf = np.clip(1.0 - gm - wm, 0, 1) * ndimage.gaussian_filter(brain.astype(np.float32), 0.6)
    # The hull closes sulci and the interhemispheric fissure: skull runs over them, fluid fills them.
    hull_distance = ndimage.distance_transform_edt(~brain)
    hull = ndimage.distance_transform_edt(hull_distance < 14) > 14
    hull |= brain
    distance = ndimage.distance_transform_edt(~hull)
    csf = np.maximum(csf, np.clip(hull.astype(np.float32) - gm - wm, 0, 1))
    csf = np.maximum(csf, shell(distance, 0.0, CSF_MM) * ~hull)
    skull = shell(distance, CSF_MM, CSF_MM + SKULL_MM)
    scalp = shell(distance, CSF_MM + SKULL_MM, CSF_MM + SKULL_MM + SCALP_MM)
    tissue = np.stack([wm, gm, csf, skull, scalp], axis=-1)
    tissue /= np.maximum(tissue.sum(axis=-1, keepdims=True), 1.0)

    k0, k1 = (round(z - affine[2, 3]) for z in Z_MM)
    slab = ndimage.gaussian_filter1d(tissue, 0.7, axis=2)[:, :, k0 : k1 + 1 : 2]
    slab = ndimage.gaussian_filter(slab, (0.5, 0.5, 0, 0))
    slab = ndimage.zoom(slab, (1 / 1.5, 1 / 1.5, 1, 1), order=1, grid_mode=True, mode="nearest")
    slab = slab[::-1, ::-1].transpose(2, 1, 0, 3)  # (slice, row anterior to posterior, column right to left, tissue)
    quantised = (np.round(slab * 51) * 5).astype(np.uint8)  # 52 levels: half the file, invisible under noise
    x_centre = affine[0, 3] + (197 - 1) / 2
    y_centre = affine[1, 3] + (233 - 1) / 2
    np.savez_compressed(
        OUT,
        fractions=quantised,
        spacing_mm=np.array([2.0, 1.5, 1.5]),
        centre_mni_mm=np.array([x_centre, y_centre]),
        z_mni_mm=np.arange(quantised.shape[0]) * 2.0 + Z_MM[0],
    )
    digest = hashlib.sha256(OUT.read_bytes()).hexdigest()
    print(f"{OUT.name}: {quantised.shape}, {OUT.stat().st_size} bytes, sha256 {digest}")


if __name__ == "__main__":
    main()
