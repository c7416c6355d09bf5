"""Copies of training images among generated ones, found whatever augmentation they went through.

A generated image is compared with every training image in each of the eight orientations of the square, at every shift
of up to some pixels, under any gamma, gain and offset. What counts is how much of the image remains unexplained by the
best training image, and how that compares with the best images of other patients. Neither score has a natural limit:
calibrate it on held-out images scored against the same training images.

References:
    N. Carlini et al., "Extracting training data from diffusion models", USENIX Security (2023): a distance relative to
        those of the next neighbours, which adapts to how crowded the neighbourhood is.
    M. U. Akbar et al., "Beware of diffusion models for synthesizing medical images", Machine Learning: Science and
        Technology (2025), arXiv 2305.07644: largest pixel correlation of each synthetic image with the training set.
    S. U. H. Dar et al., "Unconditional latent diffusion models memorize patient imaging data", Nature Biomedical
        Engineering (2025), arXiv 2402.01054: copies that come flipped, turned or with another contrast, a threshold
        taken from real held-out images, and both numbers: training images memorized and samples that are copies.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import (
    ORIENTATIONS,
    Alignment,
    Transforms,
    image_stack,
    orientations,
    unexplained,
    working_images,
    working_scale,
)
from medgan_qa.metrics._candidates import Search, candidate_pairs
from medgan_qa.metrics._groups import group_codes
from medgan_qa.metrics._pairs import Pairs, align_pairs, foregrounds, gammas_of_pairs, over_rivals

SMOOTHING_PX = 0.7
"""Standard deviation, in working pixels, of the Gaussian applied to queries and references before they are compared."""
GAMMA_SLACK = 1.06
"""A fitted gamma within this factor of 1 is not told as a transform: noise alone moves it by a few per cent."""


@dataclass(frozen=True, slots=True)
class AlignedNeighbors:
    """The training image that explains each query best, once orientation, shift and gamma are undone.

    Q queries, R rivals: the best references of other groups than the best reference's.
    """

    reference: NDArray[np.intp]
    """(Q,) index of the reference of least residual."""
    orientation: NDArray[np.intp]
    """(Q,) index of `ORIENTATIONS`: how the reference has to be turned to give the query."""
    shift: NDArray[np.intp]
    """(Q, 2) pixels (down, right) that the turned reference has to be moved by."""
    gamma: NDArray[np.float64]
    """(Q,) gamma that the reference has to be given."""
    residual: NDArray[np.float64]
    """(Q,) share of the query's foreground variance not explained by the aligned reference, in [0, 1]; 0 = a copy."""
    plain: NDArray[np.float64]
    """(Q,) the same share for the same reference as it is stored: not turned, not moved, gamma 1."""
    rival_reference: NDArray[np.intp]
    """(Q, R) references of other groups, one a group, by increasing residual; -1 where there are fewer."""
    rivals: NDArray[np.float64]
    """(Q, R) their residuals; NaN where there are fewer."""

    @property
    def ratio(self) -> NDArray[np.float64]:
        """(Q,) `residual` over the median of `rivals`; NaN where there is no rival, or none with anything unexplained.

        Blur changes the residuals towards all references alike and the ratio little: the score for generators smoother
        than the real images that it is calibrated on.
        """
        return over_rivals(self.residual, self.rivals)

    def transform(self, query: int) -> str:
        """What was done to the reference, e.g. "flip left-right, shift (+2, -1), gamma 1.20"; "unchanged" if nothing.

        The shift is (down, right) in pixels of the image, after turning.
        """
        parts = [ORIENTATIONS[self.orientation[query]]] if self.orientation[query] else []
        down, right = (int(s) for s in self.shift[query])
        if down or right:
            parts.append(f"shift ({down:+d}, {right:+d})")
        gamma = float(self.gamma[query])
        if max(gamma, 1 / gamma) > GAMMA_SLACK:
            parts.append(f"gamma {gamma:.2f}")
        return ", ".join(parts) or "unchanged"


def aligned_neighbors(
    queries: Any,
    references: Any,
    *,
    reference_groups: Iterable[Hashable] | None = None,
    query_groups: Iterable[Hashable] | None = None,
    candidates: int = 5,
    max_shift: float = 4.0,
    transforms: Transforms = "dihedral",
) -> AlignedNeighbors:
    """For each query, the reference that it is nearest to being a transformed copy of.

    1. Coarse: all references, orientations and shifts, by correlation of 10 x 10 cell means.
    2. Close: the best few pairs are aligned by masked normalised cross-correlation, a gamma with gain and offset is
       fitted, and the residual is taken over the query's foreground (`body_mask`), where air explains nothing.

    Both stages run on images reduced to 64 pixels along the shorter side and smoothed by 0.7 of those pixels: a
    copy is recognised by its structure, and 2 % noise on top hardly counts. Among 1,000 brain
    phantoms of 64 x 64 a copy scores below 0.02 whatever was done to it (0.05 if it was blurred by 0.7 pixels besides),
    the nearest slice of another patient 0.1 to 0.6.

    Limits. Rotations by other angles, scaling, warps and crops beyond the shift are not undone, nor is a copy of only
    a part (see `local_copies`). Another slice of the same patient scores like one of another patient, unless it is so
    near that it shows the same: then it scores like a copy, and should. A copy is missed if its orientation and shift
    rank it behind the `candidates` in the coarse search. Images without structure in the foreground are no copies of
    each other (residual 1).

    Args:
        queries: (Q, H, W) finite, unit range; a reader of several channels averages them before.
        references: (N, H, W) of the same size, N >= 1.
        reference_groups: (N,) patients, duplicates joined (`duplicate_groups`, `joined_groups`): the runners-up are of
            other groups than the best, so that a patient's second slice or a duplicate hides no copy. None: each
            reference is a group of its own.
        query_groups: (Q,) labels comparable with `reference_groups`; references of the query's own group are left out.
            With the references as queries this is the leave-one-patient-out null.
        candidates: rivals R to report, >= 1; as many further pairs are aligned in the search for the best.
        max_shift: largest shift along each axis, in pixels of an image of 64 pixels along its shorter side, and in
            proportion for other sizes; 0 to 16.
        transforms: "dihedral" (of non-square images only the four that keep the size), or "identity".

    Returns:
        One entry a query, in order. Shifts of images larger than the working grid are multiples of its pixel, rounded.

    Raises:
        ValueError: shapes differ, an image is not finite, there is no reference, the labels do not fit, an argument is
            outside its range, or a query has no reference outside its own group.
    """
    known = image_stack(references, "references")
    asked = image_stack(queries, "queries", known.shape[1:])
    _check_search(len(known), candidates, max_shift)
    labels, own = group_codes(len(known), len(asked), reference_groups, query_groups)
    scale = working_scale(known.shape[1:])
    reach = round(max_shift * min(known.shape[1:]) / 64 / scale)
    search = Search(orientations(known.shape[1:], transforms), reach, candidates)
    if not len(asked):
        return _nothing(candidates)
    sharp, sharp_known = working_images(asked, 0.0), working_images(known, 0.0)
    asked, known = working_images(asked, SMOOTHING_PX), working_images(known, SMOOTHING_PX)
    masks = foregrounds(asked)
    pairs = candidate_pairs(asked, known, search, labels, own)
    found = align_pairs(pairs, asked, masks, known, reach)
    best, others = _best(pairs, found, labels, len(asked), candidates)
    reference = pairs.reference[best]
    chosen = Pairs(*(part[best] for part in pairs))
    return AlignedNeighbors(
        reference=reference,
        orientation=chosen.orientation,
        shift=np.rint(found.shift[best] * scale).astype(np.intp),
        gamma=gammas_of_pairs(chosen, sharp, masks, sharp_known, found.shift[best]),
        residual=found.residual[best],
        plain=unexplained(asked, masks, known[reference]),
        rival_reference=np.where(others >= 0, pairs.reference[others], -1),
        rivals=np.where(others >= 0, found.residual[others], np.nan),
    )


def _check_search(references: int, candidates: int, max_shift: float) -> None:
    if references == 0:
        raise ValueError("there is no reference; at least one image is needed to search")
    if candidates < 1:
        raise ValueError(f"candidates must be at least 1, got {candidates!r}")
    if not 0 <= max_shift <= 16:
        raise ValueError(f"max_shift must lie in [0, 16] pixels, got {max_shift!r}")


def _nothing(rivals: int) -> AlignedNeighbors:
    """The answer to no query."""
    whole, real = np.empty(0, dtype=np.intp), np.empty(0)
    pairs, shares = np.empty((0, rivals), dtype=np.intp), np.empty((0, rivals))
    return AlignedNeighbors(whole, whole, np.empty((0, 2), dtype=np.intp), real, real, real, pairs, shares)


def _best(
    pairs: Pairs, found: Alignment, labels: NDArray[np.intp], queries: int, rivals: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pair (Q,) of least residual of each query, and pairs (Q, rivals) of the best of other groups, -1 for none."""
    best = np.empty(queries, dtype=np.intp)
    others = np.full((queries, rivals), -1, dtype=np.intp)
    ends = np.searchsorted(pairs.query, np.arange(queries + 1))
    for query, (start, end) in enumerate(itertools.pairwise(ends)):
        order = start + np.argsort(found.residual[start:end], kind="stable")
        # Each group's best pair comes first in this order.
        _, first = np.unique(labels[pairs.reference[order]], return_index=True)
        leaders = order[np.sort(first)]
        best[query] = leaders[0]
        others[query, : len(leaders) - 1] = leaders[1 : rivals + 1]
    return best, others
