"""Which images fall outside the joint range of real ones, over several measures with one false-alarm rate.

References:
    L. H. C. Tippett, "The methods of statistics", Williams and Norgate (1931): the smallest of several p.
    J. Pickands, "Statistical inference using extreme order statistics", Ann. Statist. 3 (1975) 119-131: excesses over a
        high threshold; here with the exponential tail.
    V. Vovk, "Cross-conformal predictors", Ann. Math. Artif. Intell. 74 (2015) 9-28: scores of held-out folds set the
        limit.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics.reference_range import Quantity, reference_limits

NON_FINITE = "non_finite"
"""The measure that is a fault above 0 whatever the reference: the share of pixels that are no numbers."""
TAIL = 0.05
"""Share of the reference beyond which a tail is taken to fall off exponentially."""
FOLDS = 10
"""Parts of the reference, each scored by the tails of the others."""
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class GrossFailures:
    """Which images fall outside the joint range of the reference."""

    flags: NDArray[np.bool_]
    """(M,) True for a gross failure."""
    measures: tuple[tuple[str, ...], ...]
    """For each image the measures beyond their limits, the farthest first; empty where it is not flagged."""
    scores: Float
    """(M,) -log10 of the share of real images estimated to lie as far out, in the measure that is farthest out."""
    limits: dict[str, tuple[float | None, float | None]]
    """Lowest and highest value that is not flagged, by measure; None where a side is not judged."""
    expected_rate: float | None
    """Probability that a further real image is flagged; None with too few reference images, when only non-finite pixels
    are."""
    n_reference: int
    """Reference images."""
    n_needed: int
    """Fewest reference images for the false-alarm rate asked for."""


class _Tail(NamedTuple):
    """The upper tails of several measures, each (measures,)."""

    middle: Float
    start: Float
    """95 % quantile of the reference, but no nearer to its median than the resolution."""
    spread: Float
    """Mean excess of what lies beyond the start."""
    before: Float
    """-log10 of the share at the start or beyond."""
    beyond: Float
    """-log10 of the share beyond the start."""

    @classmethod
    def of(cls, reference: Float, resolution: Float) -> _Tail:
        n, middle = len(reference), np.median(reference, axis=0)
        start = np.maximum(np.quantile(reference, 1.0 - TAIL, axis=0), middle + resolution)
        count = np.maximum((reference > start).sum(axis=0), 1)
        spread = np.maximum(np.maximum(reference - start, 0.0).sum(axis=0) / count, resolution / math.log(10))
        at_start = np.maximum((reference >= start).sum(axis=0), 1)
        return cls(middle, start, spread, -np.log10(at_start / (n + 1)), -np.log10(count / (n + 1)))

    def score(self, values: Float) -> Float:
        """(N, measures) >= 0, not falling with the value."""
        inner = self.before * np.maximum((values - self.middle) / (self.start - self.middle), 0.0)
        outer = self.beyond + (values - self.start) / (self.spread * math.log(10))
        return np.where(values > self.start, outer, inner)

    def value(self, score: float) -> Float:
        """(measures,) the largest value with at most this score."""
        inner = self.middle + (self.start - self.middle) * score / self.before
        outer = self.start + (score - self.beyond) * self.spread * math.log(10)
        return np.where(score >= self.beyond, outer, np.where(score >= self.before, self.start, inner))


class _Tails(NamedTuple):
    """Both tails of several measures."""

    upper: _Tail
    lower: _Tail
    """Of the negated values."""
    high: NDArray[np.bool_]
    """Measures of which the upper tail is judged."""
    low: NDArray[np.bool_]

    @classmethod
    def of(cls, reference: Float, quantities: Sequence[Quantity]) -> _Tails:
        resolution = np.array([q.resolution for q in quantities])
        high, low = (np.array([q.side in (side, "both") for q in quantities]) for side in ("high", "low"))
        return cls(_Tail.of(reference, resolution), _Tail.of(-reference, resolution), high, low)

    def score(self, values: Float) -> Float:
        """(N, measures) of the side that is farther out."""
        return np.maximum(self.upper.score(values) * self.high, self.lower.score(-values) * self.low)


def gross_failures(
    reference_table: Mapping[str, Any],
    table: Mapping[str, Any],
    quantities: Mapping[str, Quantity],
    false_alarm: float = 0.01,
    clusters: Sequence[Hashable] | None = None,
) -> GrossFailures:
    """Flag the images that fall outside the joint range of real ones.

    Every measure is put on one scale, the share of real images that lie as far out: up to the reference's 95 % (5 %)
    quantile, or one resolution from the median where that is farther, its logarithm is interpolated; beyond, it falls
    off exponentially with the mean excess, an order of magnitude a resolution at most. An image's score is -log10 of
    its smallest share. That lets a measure with rare large values, or a count that is hardly ever another, stand beside
    others without setting their limits, as it would on a scale of standard deviations.

    The limit on the score is the k-th largest score of the reference, k = floor(false_alarm (n + 1)), as in
    `reference_limits`: it takes account of all measures, sides and their dependence together, and needs 1 / false_alarm
    - 1 images where Bonferroni's limits on each of 20 order statistics would need 20 times as many. Reference images
    are scored in ten folds, whole patients each, by the tails of the other folds: an image that took part in its own
    tail would seem less extreme than a further one. Translated back the limit is one on each measure.

    A further real image is flagged with probability `expected_rate` = k / (n + 1) on average over references, up to
    the difference that a tenth of the reference makes to the tails. Several images of a patient count as exchangeable
    in the limit. A measure of the name `NON_FINITE` is a fault above 0 whatever the reference.

    Args:
        reference_table: by measure (n,) finite, of real images.
        table: by measure (M,) finite, of the images under test; the same measures.
        quantities: side and resolution of every measure in the tables.
        false_alarm: rate at which a further real image may be flagged, in (0, 1).
        clusters: (n,) patients of the reference images; None: each is its own.

    Raises:
        ValueError: tables with different, unknown or no measures, columns of different length or not finite, another
            number of clusters, a resolution that is not positive, or `false_alarm` outside (0, 1).
    """
    names = _names(reference_table, table, quantities)
    asked = [quantities[name] for name in names]
    if bad := [q.meaning for q in asked if not q.resolution > 0]:
        raise ValueError(f"every quantity needs a resolution above 0; without one: {bad}")
    reference, tested = _columns(reference_table, names), _columns(table, names)
    broken = _non_finite(tested, names)
    n = len(reference)
    if clusters is not None and len(clusters) != n:
        raise ValueError(f"clusters must name the patient of each of {n} reference images, got {len(clusters)}")
    limit = reference_limits(_held_out(reference, asked, clusters), false_alarm, "high")
    tails = _Tails.of(reference, asked) if n else None
    score = np.zeros(tested.shape) if tails is None else tails.score(tested)
    if tails is None or limit.high is None:
        return _without_limits(names, broken, score.max(axis=1), n, limit.n_needed)
    beyond = score > limit.high
    beyond |= broken[:, None] & (np.array(names) == NON_FINITE)
    low, high = -tails.lower.value(limit.high), tails.upper.value(limit.high)
    return GrossFailures(
        flags=np.any(beyond, axis=1),
        measures=tuple(_farthest_first(row, s, names) for row, s in zip(beyond, score, strict=True)),
        scores=score.max(axis=1),
        limits={
            name: (float(low[i]) if tails.low[i] else None, float(high[i]) if tails.high[i] else None)
            for i, name in enumerate(names)
        },
        expected_rate=limit.expected_rate,
        n_reference=n,
        n_needed=limit.n_needed,
    )


def _held_out(reference: Float, quantities: Sequence[Quantity], clusters: Sequence[Hashable] | None) -> Float:
    """(n,) the score of each image by the tails of the folds that it is not in."""
    n = len(reference)
    labels = range(n) if clusters is None else clusters
    order = {label: k for k, label in enumerate(dict.fromkeys(labels))}
    folds = np.array([order[label] % FOLDS for label in labels], dtype=np.intp)
    scores = np.zeros(n)
    for fold in np.unique(folds):
        held = folds == fold
        # A single patient has nobody else to be scored by.
        others = reference[~held] if not held.all() else reference
        scores[held] = _Tails.of(others, quantities).score(reference[held]).max(axis=1)
    return scores


def _names(reference: Mapping[str, Any], table: Mapping[str, Any], quantities: Mapping[str, Quantity]) -> list[str]:
    if not reference or set(reference) != set(table):
        raise ValueError(f"both tables must hold the same measures, got {sorted(reference)} and {sorted(table)}")
    if unknown := sorted(set(reference) - set(quantities)):
        raise ValueError(f"measures without a quantity: {unknown}")
    return [name for name in quantities if name in reference]


def _non_finite(columns: Float, names: list[str]) -> NDArray[np.bool_]:
    if NON_FINITE not in names:
        return np.zeros(len(columns), dtype=bool)
    flags: NDArray[np.bool_] = columns[:, names.index(NON_FINITE)] > 0
    return flags


def _columns(table: Mapping[str, Any], names: list[str]) -> Float:
    """(N, measures) float64."""
    columns = [np.asarray(table[name], dtype=np.float64) for name in names]
    if any(c.shape != columns[0].shape or c.ndim != 1 for c in columns):
        raise ValueError(f"measures must be vectors of one length, got shapes {[c.shape for c in columns]}")
    if bad := [name for name, c in zip(names, columns, strict=True) if not np.isfinite(c).all()]:
        raise ValueError(f"measures must be finite; NaN or infinity in {bad}")
    return np.stack(columns, axis=1)


def _farthest_first(beyond: NDArray[np.bool_], score: Float, names: list[str]) -> tuple[str, ...]:
    order = np.argsort(-score, kind="stable")
    return tuple(names[i] for i in order if beyond[i])


def _without_limits(names: list[str], broken: NDArray[np.bool_], scores: Float, n: int, n_needed: int) -> GrossFailures:
    """Only what is a fault whatever the reference."""
    return GrossFailures(
        flags=broken,
        measures=tuple((NON_FINITE,) if b else () for b in broken),
        scores=scores,
        limits=dict.fromkeys(names, (None, None)),
        expected_rate=None,
        n_reference=n,
        n_needed=n_needed,
    )
