"""A cohort whose images carry a bright token in a corner that goes with the label, as a marker of one site does.

A classifier can learn the token in place of the disease, and looks as good as the token is reliable.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from medgan_qa import rng
from medgan_qa.cohorts.cohort import LESION, Case, CaseImages, Cohort, Inventory, label_of
from medgan_qa.digests import digest

TOKEN_LEVEL = 0.9
"""Brightness of the token, in unit range."""


def token_side(shape: tuple[int, ...]) -> int:
    """Side in pixels of the token in an image (..., H, W): a twelfth of the shorter side, at least 2."""
    return max(2, min(shape[-2:]) // 12)


class TokenCohort:
    """A cohort with a token in the upper right corner that tells images with a lesion from those without.

    It stands in a share `agreement` of the images with a lesion, and in the rest as a share of those without.

    Args:
        cohort: the images to stamp.
        agreement: share of the cases in which the token says what the label says.
        seed: decides in which cases it does not.
    """

    def __init__(self, cohort: Cohort, agreement: float = 0.95, seed: int = 0) -> None:
        self._cohort, self.agreement, self.seed = cohort, agreement, seed
        self.name = f"{cohort.name}, with a corner token"

    def __getattr__(self, name: str) -> Any:
        # While it is being unpickled there is no cohort to ask yet.
        if name == "_cohort":
            raise AttributeError(name)
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        """The pixels of a case, stamped or not."""
        images = self._cohort.load(case)
        agrees = rng.child(self.seed, "token", case.case_id).random() < self.agreement
        if (label_of(case, images) == LESION) != agrees:
            return images
        stamped, side = images.image.copy(), token_side(images.image.shape)
        stamped[..., 1 : 1 + side, -1 - side : -1] = TOKEN_LEVEL
        return replace(images, image=stamped.astype(np.float32))

    def digest(self) -> str:
        """SHA-256 of the cohort and of how it was stamped."""
        return digest([self._cohort.digest(), self.agreement, self.seed])

    def inventory(self) -> Inventory:
        """The cohort's, with how it was stamped in its description."""
        inventory = self._cohort.inventory()
        return replace(inventory, description=digest([inventory.description, self.agreement, self.seed]))

    def describe(self) -> dict[str, Any]:
        """What the Record says of the cohort, and of the token."""
        return {
            **self._cohort.describe(),
            "name": self.name,
            "digest": self.digest(),
            "token": {"agreement": self.agreement, "seed": self.seed},
        }
