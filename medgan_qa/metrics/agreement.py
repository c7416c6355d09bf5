"""Agreement of a quantity measured twice on the same patients: bias, limits of agreement, proportional bias.

References:
    J. M. Bland, D. G. Altman, "Measuring agreement in method comparison studies", Stat. Methods Med. Res. 8 (1999)
        135-160.
    A. Carkeet, "Exact parametric confidence intervals for Bland-Altman limits of agreement", Optom. Vis. Sci. 92 (2015)
        e71-e80: limits considered individually, by the noncentral t distribution.
    W. G. Cochran, "Sampling Techniques", 3rd ed., Wiley (1977), section 6.3: variance of a ratio of sums.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from medgan_qa.stats._arguments import Sided, finite_vector, tail_probability
from medgan_qa.stats.half_sampling import FEWEST_CLUSTERS

COVERED = 0.95
"""Share of the differences that the limits of agreement are to hold between them."""
CONSTANT = 1e-12


class Ends(NamedTuple):
    """An interval; both ends are None where too few patients support one."""

    low: float | None
    high: float | None


@dataclass(frozen=True, eq=False)
class Agreement:
    """Output and reference of one quantity, a value a patient. Made by `bland_altman`."""

    difference: NDArray[np.float64]
    """(N,) output minus reference."""
    mean: NDArray[np.float64]
    """(N,) mean of both."""
    reference: NDArray[np.float64]
    """(N,)"""

    @property
    def n(self) -> int:
        """Patients."""
        return int(self.difference.size)

    @property
    def bias(self) -> float:
        """Mean difference."""
        return float(self.difference.mean())

    @property
    def sd(self) -> float:
        """Standard deviation of the differences, ddof 1; 0 for one patient."""
        return float(self.difference.std(ddof=1)) if self.n > 1 else 0.0

    def limit(self, side: Literal["low", "high"]) -> float:
        """A limit of agreement: bias - 1.96 sd or bias + 1.96 sd."""
        return self.bias + _deviate(side) * self.sd

    def bias_interval(self, alpha: float = 0.05, sided: Sided = 1) -> Ends:
        """Interval of the bias by Student's t; None with fewer than 8 patients.

        Raises:
            ValueError: alpha is outside its range.
        """
        tail = tail_probability(alpha, sided)
        return self._t(self.bias, self.sd / math.sqrt(self.n), self.n - 1, tail)

    def limit_interval(self, side: Literal["low", "high"], alpha: float = 0.05, sided: Sided = 1) -> Ends:
        """Exact interval of one limit of agreement, for normal differences; None with fewer than 8 patients.

        With z = 1.96 or -1.96, sqrt(n) (bias - true limit) / sd has a noncentral t distribution with n - 1 degrees of
        freedom and noncentrality -z sqrt(n) (Carkeet 2015, limits considered individually).

        Raises:
            ValueError: alpha is outside its range.
        """
        tail = tail_probability(alpha, sided)
        if self.n < FEWEST_CLUSTERS:
            return Ends(None, None)
        noncentrality, root = _deviate(side) * math.sqrt(self.n), math.sqrt(self.n)
        low, high = (float(stats.nct.ppf(q, self.n - 1, noncentrality)) / root for q in (tail, 1 - tail))
        return Ends(self.bias + low * self.sd, self.bias + high * self.sd)

    @property
    def proportional_slope(self) -> float | None:
        """Least-squares slope of the differences on the means; None with fewer than 3 patients or equal means.

        It also rises when the two sides differ in spread for another reason than a proportional error.
        """
        fit = self._regression()
        return None if fit is None else fit[0]

    def slope_interval(self, alpha: float = 0.05, sided: Sided = 1) -> Ends:
        """Interval of the proportional slope by Student's t with n - 2 degrees of freedom.

        Raises:
            ValueError: alpha is outside its range.
        """
        tail, fit = tail_probability(alpha, sided), self._regression()
        return Ends(None, None) if fit is None else self._t(*fit, self.n - 2, tail)

    def _regression(self) -> tuple[float, float] | None:
        """Slope and its standard error."""
        off = self.mean - self.mean.mean()
        square = float(off @ off)
        if self.n < 3 or square <= (CONSTANT * float(np.abs(self.mean).max())) ** 2 * self.n:
            return None
        slope = float(off @ self.difference) / square
        residual = self.difference - self.bias - slope * off
        return slope, math.sqrt(float(residual @ residual) / (self.n - 2) / square)

    def relative(self, *, absolute: bool = False) -> float | None:
        """Sum of the (absolute) differences over the sum of the references; None where that sum is not positive."""
        total = float(self.reference.sum())
        return float(self._differences(absolute).sum()) / total if total > 0 else None

    def relative_interval(self, alpha: float = 0.05, sided: Sided = 1, *, absolute: bool = False) -> Ends:
        """Interval of `relative` by the linearised variance of a ratio and Student's t with n - 1 degrees of freedom.

        Raises:
            ValueError: alpha is outside its range.
        """
        tail, ratio = tail_probability(alpha, sided), self.relative(absolute=absolute)
        if ratio is None or self.n < FEWEST_CLUSTERS:
            return Ends(None, None)
        residual = self._differences(absolute) - ratio * self.reference
        error = math.sqrt(self.n / (self.n - 1) * float(residual @ residual)) / float(self.reference.sum())
        return self._t(ratio, error, self.n - 1, tail)

    def _differences(self, absolute: bool) -> NDArray[np.float64]:
        return np.abs(self.difference) if absolute else self.difference

    def _t(self, value: float, error: float, freedom: int, tail: float) -> Ends:
        if self.n < FEWEST_CLUSTERS:
            return Ends(None, None)
        half = 0.0 if tail == 0.5 else -float(special.stdtrit(freedom, tail)) * error
        return Ends(value - half, value + half)


def _deviate(side: Literal["low", "high"]) -> float:
    z = float(special.ndtri((1 + COVERED) / 2))
    return z if side == "high" else -z


def bland_altman(output: Any, reference: Any) -> Agreement:
    """Agreement of two measurements of one quantity.

    Args:
        output: (N,) finite, N >= 1, one value a patient (the mean over the patient's slices).
        reference: (N,) finite, the same patients.

    Returns:
        The agreement. Differences are output minus reference.

    Raises:
        ValueError: wrong shapes, lengths differ, no patient, or values that are not finite.
    """
    y, x = finite_vector(output, "output"), finite_vector(reference, "reference")
    if x.size != y.size or x.size == 0:
        raise ValueError(f"output and reference must have one length of at least 1, got {y.size} and {x.size}")
    return Agreement(y - x, (y + x) / 2, x)
