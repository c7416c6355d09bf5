"""Count, mean and covariance of features that arrive in pieces.

References:
    T. F. Chan, G. H. Golub, R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
        COMPSTAT (1982) 30-41: eq. 2.1b, here for matrices.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from medgan_qa.metrics._features import Float, feature_array

CHUNK = 4096
"""Rows that are held in float64 at once."""


class Moments:
    """First and second moments of D features, built from batches and mergeable across shards.

    Kept are the mean and the centred scatter (Chan, Golub and LeVeque 1982), not sums of x and xx', whose difference
    loses every digit when the mean is large beside the spread. All arithmetic is in float64. The order of batches and
    shards changes the result by rounding only.

    Args:
        dimensions: number of features D, >= 1.

    Raises:
        ValueError: D below 1.
    """

    __slots__ = ("count", "mean", "scatter")

    count: int
    """Samples seen."""
    mean: Float
    """(D,) mean; zeros while nothing was seen."""
    scatter: Float
    """(D, D) sum of (x - mean)(x - mean)'."""

    def __init__(self, dimensions: int) -> None:
        if dimensions < 1:
            raise ValueError(f"moments need at least one feature, got {dimensions!r}")
        self.count = 0
        self.mean = np.zeros(dimensions)
        self.scatter = np.zeros((dimensions, dimensions))

    @classmethod
    def of(cls, features: Any) -> Moments:
        """Moments of (N, D) features, N >= 1.

        Raises:
            TypeError: no real numbers.
            ValueError: not (N, D), empty, or not finite.
        """
        array = feature_array(features, "features")
        moments = cls(array.shape[1])
        moments.update(array)
        return moments

    @property
    def dimensions(self) -> int:
        """Number of features D."""
        return len(self.mean)

    @property
    def covariance(self) -> Float:
        """(D, D) unbiased covariance, ddof 1.

        Raises:
            ValueError: fewer than 2 samples.
        """
        if self.count < 2:
            raise ValueError(f"a covariance needs at least 2 samples, got {self.count}")
        return self.scatter / (self.count - 1)

    def update(self, batch: Any) -> None:
        """Take in (n, D) samples; an empty batch changes nothing.

        Raises:
            TypeError: no real numbers.
            ValueError: not (n, D), or not finite.
        """
        array = feature_array(batch, "batch", 0)
        if array.shape[1] != self.dimensions:
            raise ValueError(f"batch must have {self.dimensions} features, got shape {array.shape}")
        for start in range(0, len(array), CHUNK):
            chunk = array[start : start + CHUNK].astype(np.float64)
            mean = chunk.mean(axis=0)
            chunk -= mean
            self._add(len(chunk), mean, chunk.T @ chunk)

    def merge(self, other: Moments) -> None:
        """Take in the samples that `other` has seen; `other` stays as it is.

        Raises:
            ValueError: another number of features.
        """
        if other.dimensions != self.dimensions:
            raise ValueError(f"moments of {self.dimensions} and of {other.dimensions} features cannot be merged")
        self._add(other.count, other.mean, other.scatter)

    def _add(self, count: int, mean: Float, scatter: Float) -> None:
        if count == 0:
            return
        total = self.count + count
        delta = mean - self.mean
        self.mean = self.mean + delta * (count / total)
        self.scatter += scatter
        if self.count:
            self.scatter += np.outer(delta, delta * (self.count * count / total))
        self.count = total
