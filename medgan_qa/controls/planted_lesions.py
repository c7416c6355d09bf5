"""Translators that move lesions and leave the rest of the image where it is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medgan_qa.metrics import body_mask, components, surround

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class MoveLesions:
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
