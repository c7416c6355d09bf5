"""Whether the probabilities of a classifier are right: calibration line, calibration error, Brier score.

A logit l stands for the probability 1 / (1 + exp(-l)).

References:
    D. R. Cox, "Two further applications of a model for binary regression", Biometrika 45 (1958) 562-565: outcomes
        regressed on the logits of the predictions.
    B. Van Calster et al., "Calibration: the Achilles heel of predictive analytics", BMC Medicine 17 (2019) 230: slope,
        and calibration in the large.
    K.-Y. Liang, S. L. Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73 (1986) 13-22:
        the variance that allows for clusters.
    A. Albert, J. A. Anderson, "On the existence of maximum likelihood estimates in logistic regression models",
        Biometrika 71 (1984) 1-10: separation.
    J. Broecker, "Estimating reliability and resolution of probability forecasts through decomposition of the empirical
        score", Climate Dynamics 39 (2012) 655-667: the upward bias of a binned calibration error.
    A. Kumar, P. S. Liang, T. Ma, "Verified uncertainty calibration", NeurIPS 32 (2019): its correction, and bins of
        equal mass.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special

from medgan_qa.stats._arguments import Sided, cluster_codes, finite_vector, tail_probability
from medgan_qa.stats.half_sampling import FEWEST_CLUSTERS, draw_halves

Vector = NDArray[np.float64]
Bool = NDArray[np.bool_]

ROBUST = "logistic regression, variance by cluster (Liang and Zeger 1986), Student t"
SEPARATED = "The score separates the classes completely, so that no finite slope fits best."
ONE_CLASS = "There is one class only."
CONSTANT = "Every case has the same score."
MOST_STEPS = 100
LEFT = math.sqrt(2 / math.pi) * (2 - math.sqrt(2))
"""E(2 |z| - E|N(z, 1)|) of a standard normal z: what the correction leaves of a distance of 0, in standard errors."""
FEWEST_A_BIN = 20
"""Units that a bin of the calibration error holds at least, on average."""


class Fitted(NamedTuple):
    """One coefficient with what its interval needs."""

    value: float
    se: float
    """Standard error, clustered."""
    df: int
    """Degrees of freedom: patients on the smaller side, less one."""

    def interval(self, alpha: float, sided: Sided = 1) -> tuple[float, float] | None:
        """Ends at error rate `alpha`; None with fewer than 8 patients on either side."""
        if self.df + 1 < FEWEST_CLUSTERS:
            return None
        tail = tail_probability(alpha, sided)
        half = 0.0 if tail == 0.5 else -float(special.stdtrit(self.df, tail)) * self.se
        return self.value - half, self.value + half


class CalibrationLine(NamedTuple):
    """Outcomes regressed on logits."""

    slope: Fitted | None
    """Of logit P(positive) = a + slope * logit: 1 where right, below 1 where overconfident; None if not finite."""
    intercept: Fitted | None
    """Calibration in the large: a of logit P(positive) = a + logit; above 0 where probabilities are too low."""
    objection: str | None
    """Why there is no slope."""


class CalibrationBins(NamedTuple):
    """Units by bins of equal mass of their probability."""

    predicted: Vector
    """(B,) mean probability."""
    observed: Vector
    """(B,) share of positives."""
    units: NDArray[np.intp]
    """(B,)"""
    bin_of: NDArray[np.intp]
    """(N,) bin of each unit."""


class CalibrationError(NamedTuple):
    """The mean distance of predicted from observed, over bins."""

    value: float
    """Less its bias, in [0, 1]; lower is better."""
    plain: float
    """As binned, before the correction."""
    left: float
    """Bias that is left where every bin is right: what `value` is expected to be then."""
    bins: CalibrationBins


def calibration_line(logits: Any, positive: Any, cluster: Iterable[Hashable]) -> CalibrationLine:
    """Calibration slope and calibration in the large by logistic regression, with variances by patient.

    Maximum likelihood by Newton's method. The sandwich variance sums scores by patient and is multiplied by C / (C - 1)
    for C patients; intervals take Student's t on one degree of freedom less than the patients of the smaller side.

    Args:
        logits: (N,) finite.
        positive: (N,) bool.
        cluster: (N,) labels of the patient that each unit belongs to.

    Returns:
        Slope and intercept. Slope None where the classes do not overlap or all logits are equal; both None with one
        class.

    Raises:
        ValueError: wrong shapes, logits that are not finite, or a missing label.
    """
    x, y = _checked(logits, positive)
    codes, clusters = cluster_codes(cluster, x.size)
    if y.all() or not y.any():
        return CalibrationLine(None, None, ONE_CLASS)
    df = min(len(set(codes[side].tolist())) for side in (y, ~y)) - 1
    intercept = _fit(np.ones((x.size, 1)), x, y, codes, clusters, df)
    objection = _no_slope(x, y)
    if objection is not None:
        return CalibrationLine(None, intercept, objection)
    # In units of its spread the slope is of order 1 whatever the scale of the logits.
    spread = float(x.std())
    fitted = _fit(np.column_stack([(x - x.mean()) / spread, np.ones(x.size)]), np.zeros(x.size), y, codes, clusters, df)
    slope = None if fitted is None else Fitted(fitted.value / spread, fitted.se / spread, df)
    return CalibrationLine(slope, intercept, None if slope is not None else "The regression does not converge.")


def calibration_error(
    probabilities: Any, positive: Any, cluster: Iterable[Hashable], bins: int = 10
) -> CalibrationError | None:
    """Expected calibration error: over bins of equal mass, the mean of |share of positives - mean probability|.

    Chance alone makes every bin's distance larger than 0. For a bin whose distance is d with standard error s (by
    patient), E|N(d, s)| - |d| is taken off, what chance adds to a distance of d (Kumar et al. 2019). At a true
    distance of 0 the estimate is still expected to be 0.468 s: the error is rather over- than understated. Fewer bins
    are used where there are fewer than 20 units a bin. Units of one probability share a bin.

    Args:
        probabilities: (N,) in [0, 1].
        positive: (N,) bool.
        cluster: (N,) labels of the patient that each unit belongs to.
        bins: most bins, >= 1.

    Returns:
        The error; None without a unit.

    Raises:
        ValueError: wrong shapes, a probability outside [0, 1], or fewer than 1 bin.
    """
    p, y, codes, clusters = _probabilities(probabilities, positive, cluster)
    if bins < 1:
        raise ValueError(f"bins must be at least 1, got {bins!r}")
    if not p.size:
        return None
    held = _bins(p, y, max(1, min(bins, p.size // FEWEST_A_BIN)))
    units, residuals = _by_patient(p, y, held, codes, clusters)
    every = np.ones((1, clusters))
    value, plain, left = (float(v[0]) for v in _errors(units, residuals, every))
    return CalibrationError(value, plain, left, held)


def calibration_error_replicates(
    probabilities: Any,
    positive: Any,
    cluster: Iterable[Hashable],
    resamples: int,
    generator: np.random.Generator,
    bins: int = 10,
) -> Vector:
    """`calibration_error` on random halves of the patients (`draw_halves`), (resamples,); bins are those of all units.

    Raises:
        ValueError: as `calibration_error`; fewer than 2 patients, or an odd number of resamples.
    """
    p, y, codes, clusters = _probabilities(probabilities, positive, cluster)
    held = _bins(p, y, max(1, min(bins, p.size // FEWEST_A_BIN)))
    units, residuals = _by_patient(p, y, held, codes, clusters)
    halves = draw_halves(range(clusters), resamples, generator)
    return _errors(units, residuals, halves.astype(np.float64))[0]


def _errors(units: Vector, residuals: Vector, chosen: Vector) -> tuple[Vector, Vector, Vector]:
    """Corrected error, plain error and the bias that may be left, for sets of patients (R, C).

    From units and sums of residuals by patient and bin, (C, B).
    """
    n, total = chosen @ units, chosen @ residuals  # (R, B)
    held = np.maximum(n, 1.0)
    distance = total / held
    # sum over patients of (S - d m)^2, expanded so that all sets are done at once
    squares = chosen @ residuals**2 - 2 * distance * (chosen @ (residuals * units)) + distance**2 * (chosen @ units**2)
    people = chosen @ (units > 0)
    se = np.sqrt(np.maximum(squares, 0.0) * people / np.maximum(people - 1.0, 1.0)) / held
    shares = n / n.sum(axis=1, keepdims=True)
    plain = (shares * np.abs(distance)).sum(axis=1)
    added = (shares * (_mean_absolute(distance, se) - np.abs(distance))).sum(axis=1)
    return np.maximum(plain - added, 0.0), plain, LEFT * (shares * se).sum(axis=1)


def _mean_absolute(mean: Vector, sd: Vector) -> Vector:
    """E|N(mean, sd)|, the mean of a folded normal."""
    z = np.divide(mean, sd, out=np.zeros_like(mean), where=sd > 0)
    folded: Vector = sd * math.sqrt(2 / math.pi) * np.exp(-(z**2) / 2) + mean * (1 - 2 * special.ndtr(-z))
    return np.where(sd > 0, folded, np.abs(mean))


def _bins(p: Vector, y: Bool, bins: int) -> CalibrationBins:
    edges = np.unique(np.quantile(p, np.arange(1, bins) / bins)) if bins > 1 else np.empty(0)
    # Units at an edge go up together, so that equal probabilities are never parted.
    _, bin_of = np.unique(np.searchsorted(edges, p, side="right"), return_inverse=True)
    count = np.bincount(bin_of)
    return CalibrationBins(
        np.bincount(bin_of, p) / count, np.bincount(bin_of, y) / count, count.astype(np.intp), bin_of.astype(np.intp)
    )


def _by_patient(
    p: Vector, y: Bool, held: CalibrationBins, codes: NDArray[np.intp], clusters: int
) -> tuple[Vector, Vector]:
    """Units and sums of outcome minus probability, by patient and bin, (C, B)."""
    shape = clusters, len(held.units)
    flat = np.ravel_multi_index((codes, held.bin_of), shape)
    size = shape[0] * shape[1]
    units, sums = np.bincount(flat, minlength=size), np.bincount(flat, y - p, size)
    return np.asarray(units.reshape(shape), np.float64), np.asarray(sums.reshape(shape), np.float64)


def _no_slope(x: Vector, y: Bool) -> str | None:
    if np.ptp(x) == 0:
        return CONSTANT
    apart = x[y].min() >= x[~y].max() or x[y].max() <= x[~y].min()
    return SEPARATED if apart else None


def _fit(design: Vector, offset: Vector, y: Bool, codes: NDArray[np.intp], clusters: int, df: int) -> Fitted | None:
    """The first coefficient of a logistic regression with an offset; None where Newton's method does not settle."""
    beta = np.zeros(design.shape[1])
    likelihood = -math.inf
    for _ in range(MOST_STEPS):
        p = special.expit(design @ beta + offset)
        weights = np.maximum(p * (1 - p), 1e-300)
        information = (design * weights[:, None]).T @ design
        try:
            step = np.linalg.solve(information, design.T @ (y - p))
        except np.linalg.LinAlgError:
            return None
        scale = 1.0
        # Logits far off make a whole step overshoot; half of it, and half of that, until the fit improves.
        while scale > 1e-10 and (found := _likelihood(design @ (beta + scale * step) + offset, y)) < likelihood:
            scale /= 2
        beta, likelihood = beta + scale * step, found
        if np.abs(scale * step).max() < 1e-10:
            return _robust(design, beta, y - special.expit(design @ beta + offset), information, codes, clusters, df)
    return None


def _likelihood(eta: Vector, y: Bool) -> float:
    return -float(np.logaddexp(0.0, np.where(y, -eta, eta)).sum())


def _robust(
    design: Vector,
    beta: Vector,
    residuals: Vector,
    information: Vector,
    codes: NDArray[np.intp],
    clusters: int,
    df: int,
) -> Fitted:
    scores = np.column_stack([np.bincount(codes, column * residuals, clusters) for column in design.T])
    bread = np.linalg.inv(information)
    covariance = bread @ (scores.T @ scores) @ bread * clusters / max(clusters - 1, 1)
    return Fitted(float(beta[0]), math.sqrt(max(float(covariance[0, 0]), 0.0)), df)


def _checked(values: Any, positive: Any) -> tuple[Vector, Bool]:
    x, y = finite_vector(values, "scores"), np.asarray(positive)
    if y.shape != x.shape or (y.size and not np.isin(y, (0, 1)).all()):
        raise ValueError(f"positive must hold one false or true a score, got shape {y.shape} for {x.size}")
    return x, y.astype(bool)


def _probabilities(
    probabilities: Any, positive: Any, cluster: Iterable[Hashable]
) -> tuple[Vector, Bool, NDArray[np.intp], int]:
    p, y = _checked(probabilities, positive)
    if p.size and (p.min() < 0 or p.max() > 1):
        raise ValueError("probabilities must lie in [0, 1]; map logits to them first")
    codes, clusters = cluster_codes(cluster, p.size)
    return p, y, codes, clusters
