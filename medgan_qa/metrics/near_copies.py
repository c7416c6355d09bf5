"""Which images are the same one after an augmentation: every pair of two sets, by signature first and by pixel then.

1. Signature. Every image is read on rings (`medgan_qa.metrics._polar`); magnitudes do not change when it is turned or
   flipped, nor, about the centre of its foreground, when it is moved or scaled. The nearest in that space are found
   exactly, by matrix products, so that the search grows with the product of the two numbers of images and little else.
2. Pose. The turn and the side under which the candidates' rings correlate best.
3. Layout. Gauss-Newton steps to the rotation, scale and shift under which the best candidates explain the image.
4. Residual. The share of the foreground's variance that the candidate leaves unexplained once it has been laid over
   the image, given its gamma, gain and offset and, where that helps, been blurred.
5. Noise. What of the residual is white noise is told from the finest differences of what is left: those of another
   anatomy are coarser. Less that noise, a noisy copy leaves next to nothing.

The residual has no natural limit: calibrate it on pairs of different patients (`medgan_qa.stats.low_tail`).

References:
    S. U. H. Dar et al., "Unconditional latent diffusion models memorize patient imaging data", Nature Biomedical
        Engineering (2025), arXiv 2402.01054: copies come flipped, turned and with another contrast.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics._alignment import Float, gamma_between, resampled, unexplained
from medgan_qa.metrics._copy_candidates import OF_A_GROUP, Candidates, Groups, blocks, of_others, of_own, rank_within
from medgan_qa.metrics._groups import encoded
from medgan_qa.metrics._noise import noise_share
from medgan_qa.metrics._prepared import Prepared, normalised_detail, prepared
from medgan_qa.metrics._similarity import Layout, refined, warp
from medgan_qa.metrics.points import spread

__all__ = ["ClosePairs", "Prepared", "as_query", "near_copies", "prepared"]

ROUGHLY, LAID_OUT = 8, 4
"""Candidates of an image that are laid out, and that are laid out by their detail."""
COVERED = 0.6
"""Share of the foreground that has to come from inside the reference."""
BLURS = (0.0, 0.8, 1.4, -1.0)
"""Standard deviations, in pixels of the fine grid, of blurs of the reference that are tried; below 0, of the query: a
reference that is enlarged is less sharp."""
NOISE_KEPT = 0.1
"""Share of a residual that is not taken for noise, whatever its finest differences say."""
COARSE_PACE, FINE_PACE = 0.55, 0.85
"""Share of a Gauss-Newton step that is made on each grid."""
BATCH = 128
"""Pairs worked on at once by a thread."""

Index = NDArray[np.intp]
Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]
Among = Literal["others", "own"]


@dataclass(frozen=True, eq=False)
class ClosePairs:
    """Pairs that were compared closely, all (P,), sorted by query and residual."""

    query: Index
    reference: Index
    residual: Vector
    """Share of the variance of the query's detail not explained by the reference, in [0, 1]; 0: the same image."""
    quiet: Vector
    """The same less the part that is white noise, at least a tenth of it."""
    rivals: Vector
    """What the next candidates of other groups leave unexplained, their median, on the coarse grid; NaN where there is
    none."""
    mirrored: Bool
    """The reference was flipped left-right before anything else."""
    turn: Vector
    """Degrees that the reference was turned clockwise, in (-180, 180]."""
    scale: Vector
    """How much larger the reference was made."""
    shift: Vector
    """(P, 2) pixels (down, right) that the middle of the reference was moved by after that."""
    gamma: Vector
    """Gamma that the reference was given."""
    blur: Vector
    """Pixels (standard deviation) that the reference was blurred by."""

    def __len__(self) -> int:
        return len(self.query)

    def where(self, chosen: Bool | Index) -> ClosePairs:
        """Some of them."""
        return ClosePairs(**{f.name: getattr(self, f.name)[chosen] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Sequence[ClosePairs]) -> ClosePairs:
        """Several lists as one, sorted again."""
        every = cls(**{f.name: np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(cls)})
        return every.where(np.lexsort((every.residual, every.query)))

    @classmethod
    def none(cls) -> ClosePairs:
        """No pair."""
        whole, real = np.empty(0, np.intp), np.empty(0)
        return cls(whole, whole, real, real, real, np.empty(0, bool), real, real, np.empty((0, 2)), real, real)

    @property
    def score(self) -> Vector:
        """Geometric mean of `residual` and its ratio to `rivals`; small is suspicious, NaN without a rival.

        The residual alone is small for every pair of images with little structure, the ratio alone for two images that
        are far from all others.
        """
        return self._against_rivals(self.residual)

    @property
    def quiet_score(self) -> Vector:
        """The same of `quiet`: for copies with noise added or coarsely compressed."""
        return self._against_rivals(self.quiet)

    def _against_rivals(self, residual: Vector) -> Vector:
        score: Vector = residual / np.sqrt(np.where(self.rivals > 0, self.rivals, np.nan))
        return score


def near_copies(
    queries: Prepared,
    references: Prepared,
    query_groups: Iterable[Hashable],
    reference_groups: Iterable[Hashable],
    *,
    among: Among = "others",
    crops_of: Bool | None = None,
) -> ClosePairs:
    """The references that each query is nearest to being an augmented version of.

    Args:
        queries: Q images.
        references: N images of the same size; the same object as `queries` compares a set with itself.
        query_groups: (Q,) patients.
        reference_groups: (N,) patients, comparable with those of the queries.
        among: "others" compares with images of other groups, "own" with other images of the query's own group; an
            image is never compared with itself.
        crops_of: where a set is compared with itself, (N,) the images of which one at least has to be in a pair that is
            searched for crops; None: all. The search for crops takes the most time.

    Returns:
        One pair a query, the best; none where there is nothing to compare with.

    Raises:
        ValueError: the images differ in size, or there is not one group an image.
    """
    asked, known = list(query_groups), list(reference_groups)
    if queries.shape != references.shape:
        raise ValueError(f"images must have one size, got {queries.shape} and {references.shape}")
    if len(asked) != len(queries) or len(known) != len(references):
        raise ValueError(
            f"one group an image is needed, got {len(asked)} for {len(queries)} and {len(known)} for {len(references)}"
        )
    if not asked or not known:
        return ClosePairs.none()
    codes = encoded(asked, known)
    own, labels = codes[: len(asked)], codes[len(asked) :]
    if among == "own":
        # Of one patient every image is a rival of every other.
        return _compared(queries, references, of_own(queries, references, own, labels), np.arange(len(references)))
    wanted = [np.ones(len(p), bool) if crops_of is None else crops_of for p in (queries, references)]
    groups = Groups(own, labels, wanted[0], wanted[1])
    return _compared(queries, references, of_others(queries, references, groups), labels)


def _compared(queries: Prepared, references: Prepared, found: Candidates, labels: Index) -> ClosePairs:
    """Candidates laid out on the coarse grid, the best of them on the fine one, with what they leave unexplained."""

    def ranked(found: Candidates, images: tuple[Float, Float], steps: int, count: int) -> tuple[Candidates, Vector]:
        found = _refined(images[0], queries.weight, images[1], references.reach, found, steps, COARSE_PACE)
        rough = _mapped(lambda c: _unexplained(images, queries.weight, references.reach, c), found)
        # The same reference may stand there in two layouts.
        order = np.lexsort((rough, found.reference, found.query))
        found, rough = found.where(order), rough[order]
        new = np.ones(len(order), bool)
        new[1:] = (np.diff(found.query) != 0) | (np.diff(found.reference) != 0)
        crowd = found.query * (int(labels.max()) + 1) + labels[found.reference]
        new &= rank_within(crowd, np.where(new, rough, np.inf)) < OF_A_GROUP
        new &= rank_within(found.query, np.where(new, rough, np.inf)) < count
        return found.where(new), rough[new]

    smooth, detail = (queries.coarse, references.coarse), (queries.coarse_detail, references.coarse_detail)
    # Detail says which image it is, and finds its place only from nearby.
    found = ranked(ranked(found, smooth, 0, ROUGHLY)[0], smooth, 4, LAID_OUT)[0]
    found, rough = ranked(found, detail, 4, LAID_OUT)
    rank = rank_within(found.query, rough)
    rivals, group = np.full((len(queries), LAID_OUT), np.nan), np.full((len(queries), LAID_OUT), -1, np.intp)
    rivals[found.query, rank], group[found.query, rank] = rough, labels[found.reference]
    # Another slice of the same volume says nothing about how near strangers come.
    rivals[group == group[:, :1]] = np.nan
    found = found.where(rank == 0)
    found = _refined(
        queries.fine_detail, queries.foreground, references.fine_detail, references.reach, found, 3, FINE_PACE
    )
    return _measured(queries, references, found, _median(rivals[:, 1:])[found.query])


def _median(rows: Vector) -> Vector:
    """Median of what is known in each row; NaN where nothing is."""
    middle = np.full(len(rows), np.nan)
    known = np.isfinite(rows).any(axis=1)
    middle[known] = np.nanmedian(rows[known], axis=1)
    return middle


def _mapped(function: Any, found: Candidates) -> NDArray[Any]:
    """A function over all pairs, in batches and threads."""

    def work(part: slice) -> list[NDArray[Any]]:
        return [
            function(found.where(slice(part.start + b.start, part.start + b.stop)))
            for b in blocks(part.stop - part.start, BATCH)
        ]

    parts = [batch for part in spread(work, len(found.query), 1000) for batch in part]
    return np.concatenate(parts) if parts else np.empty(0)


def _refined(
    pixels: Float, weight: Any, references: Float, reach: Float, found: Candidates, steps: int, pace: float
) -> Candidates:
    motion = _mapped(
        lambda c: refined(pixels, weight, references, reach, (c.query, c.reference), c.layout, steps, pace).motion,
        found,
    ).reshape(-1, 4)
    return Candidates(found.query, found.reference, Layout(motion.astype(np.float32), found.layout.mirrored))


def _unexplained(images: tuple[Float, Float], weight: Float, reach: Float, found: Candidates) -> Vector:
    """Residuals of pairs of queries and references on the coarse grid."""
    warped = warp(images[1], found.reference, found.layout, reach)
    foreground = weight[found.query] > 0.5
    residual = unexplained(images[0][found.query], foreground & warped.inside, warped.pixels)
    return _covered(residual, foreground, warped.inside)


def _covered(residual: Vector, foreground: Bool, inside: Bool) -> Vector:
    """1 where too little of the foreground comes from inside the reference."""
    both = (foreground & inside).sum(axis=(1, 2)) >= COVERED * foreground.sum(axis=(1, 2))
    return np.where(both, residual, 1.0)


def _measured(queries: Prepared, references: Prepared, found: Candidates, rivals: Vector) -> ClosePairs:
    """Residuals on the fine grid, gamma and blur undone, and the change in words' numbers."""
    half = min(queries.shape) / 2
    a, b, u, v = found.layout.motion.astype(np.float64).T
    scale = np.hypot(a, b)
    # Where the middle of the reference comes to lie: the inverse of the motion, applied to nought.
    x, y = -(a * u + b * v) / scale**2, -(a * v - b * u) / scale**2
    numbers = _mapped(lambda c: _numbers(queries, references, c), found).reshape(-1, 4)
    pairs = ClosePairs(
        query=found.query,
        reference=found.reference,
        residual=numbers[:, 0],
        quiet=np.maximum(numbers[:, 0] - numbers[:, 3], NOISE_KEPT * numbers[:, 0]),
        rivals=rivals,
        mirrored=found.layout.mirrored,
        turn=np.degrees(np.arctan2(-b, a)),
        scale=1 / scale,
        shift=half * np.stack([y, x], axis=1),
        gamma=numbers[:, 1],
        blur=numbers[:, 2] * min(queries.shape) / min(queries.fine.shape[1:]),
    )
    return pairs.where(np.lexsort((pairs.residual, pairs.query)))


def _numbers(queries: Prepared, references: Prepared, found: Candidates) -> NDArray[np.float64]:
    """(P, 4) residual, gamma, blur and share of noise on the fine grid."""
    asked, foreground = queries.fine[found.query], queries.foreground[found.query]
    warped = warp(references.fine, found.reference, found.layout, references.reach)
    counted, known = foreground & warped.inside, np.clip(warped.pixels, 0, 1)
    gamma = gamma_between(asked, counted, known, np.zeros((len(known), 2), np.intp))
    shape = (known.shape[1], known.shape[2])
    detail, known_detail = queries.fine_detail[found.query], normalised_detail(known)
    tried = [unexplained(detail, counted, known_detail)]
    for blur in BLURS[1:]:
        softer = normalised_detail(resampled(known if blur > 0 else asked, shape, abs(blur)))
        tried.append(unexplained(*((detail, counted, softer) if blur > 0 else (softer, counted, known_detail))))
    best = np.argmin(tried, axis=0)
    residual = _covered(np.min(tried, axis=0), foreground, warped.inside)
    unsmoothed = warp(references.raw, found.reference, found.layout, references.reach).pixels
    noise = noise_share(queries, found.query, unsmoothed, counted, gamma)
    return np.stack([residual, gamma, np.array(BLURS)[best], noise], axis=1)


def as_query(image: Float, pairs: ClosePairs, number: int, unit: float = 1.0) -> Float:
    """A reference image (H, W) of its full size after what gives its query: laid out, and given its gamma.

    `unit`: pixels of the image per pixel of those that were compared.
    """
    turn, scale = np.radians(pairs.turn[number]), pairs.scale[number]
    a, b = np.cos(turn) / scale, -np.sin(turn) / scale
    y, x = unit * pairs.shift[number] / (min(image.shape) / 2)
    motion = np.array([[a, b, b * y - a * x, -(b * x + a * y)]], np.float32)
    reach = np.array([image.shape], np.float32) / min(image.shape)
    laid = warp(image[None], np.zeros(1, np.intp), Layout(motion, pairs.mirrored[number : number + 1]), reach)
    moved: Float = np.clip(laid.pixels[0], 0, 1) ** np.float32(pairs.gamma[number])
    return moved
