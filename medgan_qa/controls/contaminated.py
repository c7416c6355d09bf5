"""A test partition with a planted fault: what the audits of hygiene must find.

A share of the test cases shows another image than its own: one of another test case after an augmentation (H1), one of
a train patient under the test case's identifier (H2), or one that a model made (H3). With `unstable`, an image is
flipped every second time that it is read (H4).
"""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from dataclasses import replace
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort, subset
from medgan_qa.controls.samplers import disguised

Float = NDArray[np.float32]
Kind = Literal[
    "copied",
    "flip",
    "quarter turn",
    "rotation",
    "shift",
    "scale",
    "gamma",
    "noise",
    "strong noise",
    "blur",
    "crop",
    "compressed",
    "relabelled",
    "generated",
    "unstable",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""What a share of the test cases shows: another test case's image, equal or changed; a train patient's; a model's."""


class Contaminated:
    """A cohort whose test partition is not what it says.

    Args:
        cohort: a clean cohort.
        kind: the fault, one of `KINDS`.
        share: of the test cases that have it.
        generated: (M, C, H, W) images that a model made, M >= 1; needed for the kind `generated` alone.
        seed: draws which cases, and how much of a change.

    Raises:
        ValueError: an unknown kind, a share outside (0, 0.5], or no generated images where they are needed.
    """

    def __init__(
        self, cohort: Cohort, kind: Kind, share: float = 0.05, generated: Float | None = None, seed: int = 0
    ) -> None:
        if kind not in KINDS or not 0 < share <= 0.5:
            raise ValueError(f"kind must be one of {KINDS} and share lie in (0, 0.5], got {kind!r} and {share!r}")
        if kind == "generated" and generated is None:
            raise ValueError("the kind 'generated' needs images that a model made")
        self._cohort, self.kind, self._generated, self._seed = cohort, kind, generated, seed
        test = subset(cohort.cases, "test")
        order = rng.child(seed, "contaminated", kind).permutation(len(test))
        planted = [test[k] for k in order[: max(1, round(share * len(test)))]]
        sources = subset(cohort.cases, "train") if kind == "relabelled" else [test[k] for k in order[::-1]]
        self.source: dict[str, Case] = {case.case_id: source for case, source in zip(planted, sources, strict=False)}
        """The case that each contaminated one shows, by case id; for a model's images the case itself."""
        self._place = {case.case_id: k for k, case in enumerate(planted)}
        self._read: Counter[str] = Counter()
        self.cases = cohort.cases

    def __getattr__(self, name: str) -> object:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        """Pixels of a case, or what stands in their place."""
        source = self.source.get(case.case_id)
        if source is None:
            return self._cohort.load(case)
        if self.kind == "generated":
            assert self._generated is not None
            image = self._generated[self._place[case.case_id] % len(self._generated)]
            return replace(self._cohort.load(case), image=image)
        if self.kind == "unstable":
            self._read[case.case_id] += 1
            images = self._cohort.load(case)
            return images if self._read[case.case_id] % 2 else replace(images, image=images.image[..., ::-1].copy())
        images = self._cohort.load(source)
        g = rng.child(self._seed, "contaminated", self.kind, case.case_id)
        return replace(images, image=np.stack([augmented(channel, self.kind, g) for channel in images.image]))

    def digest(self) -> str:
        """SHA-256 of the cohort and of what was planted."""
        planted = sorted((case_id, source.case_id) for case_id, source in self.source.items())
        made = b"" if self._generated is None else self._generated.tobytes()
        return hashlib.sha256(f"{self._cohort.digest()} {self.kind} {self._seed} {planted}".encode() + made).hexdigest()


def augmented(image: Float, kind: str, g: np.random.Generator) -> Float:
    """An image (H, W) after one of the changes of `KINDS`, of a size drawn by `g`; as it is for any other kind."""
    if kind in ("flip", "quarter turn", "shift", "gamma", "noise"):
        return disguised(image, kind, g)
    if kind == "rotation":
        return moved(image, degrees=float(g.choice([-1, 1]) * g.uniform(3, 15)), scale=1.0)
    if kind == "scale":
        return moved(image, degrees=0.0, scale=float(g.choice([g.uniform(0.92, 0.97), g.uniform(1.03, 1.08)])))
    if kind == "blur":
        return np.asarray(ndimage.gaussian_filter(image, float(g.uniform(0.6, 1.2))), np.float32)
    if kind == "strong noise":
        return np.asarray(image + 0.05 * g.standard_normal(image.shape), np.float32)
    if kind == "crop":
        return cropped(image, float(g.uniform(0.85, 0.95)), g)
    if kind == "compressed":
        return compressed(image, int(g.integers(30, 71)))
    return image.copy()


def cropped(image: Float, share: float, g: np.random.Generator) -> Float:
    """A part of an image, `share` of each side, at a place drawn by `g`, enlarged to the size of the whole."""
    sides = [round(share * side) for side in image.shape]
    top, left = (int(g.integers(0, whole - side + 1)) for whole, side in zip(image.shape, sides, strict=True))
    part = image[top : top + sides[0], left : left + sides[1]]
    factors = [whole / side for whole, side in zip(image.shape, sides, strict=True)]
    return np.asarray(ndimage.zoom(part, factors, order=1, grid_mode=True, mode="nearest"), np.float32)


def compressed(image: Float, quality: int) -> Float:
    """An image after JPEG at a quality from 1 to 95, in 256 grey levels; what lies outside unit range is clipped."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file), np.float32) / np.float32(255)


def moved(image: Float, degrees: float, scale: float) -> Float:
    """An image turned and scaled about its middle, by linear interpolation, with 0 where nothing is."""
    angle, middle = np.deg2rad(degrees), (np.array(image.shape) - 1) / 2
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) / scale
    laid = ndimage.affine_transform(image, matrix, middle - matrix @ middle, order=1, mode="constant")
    return np.asarray(laid, np.float32)
