"""What tells the outputs of one model from real images at sight of their spectrum and their noise.

Upsampling layers shape the power of an image at high frequencies, its direction included (Durall et al. 2020; Frank et
al. 2020), and the correlation of what is left when structure is taken out (Marra et al. 2019): neighbouring pixels of
an output are not as independent as the noise of an acquisition. Both are read from every image; a linear discriminant
says which combination is the model's. It knows the model whose outputs it was fitted to and no other.

References:
    R. Durall, M. Keuper, J. Keuper, "Watch your up-convolution", CVPR (2020) 7890-7899.
    J. Frank et al., "Leveraging frequency analysis for deep fake image recognition", ICML (2020) 3247-3258.
    F. Marra, D. Gragnaniello, L. Verdoliva, G. Poggi, "Do GANs leave artificial fingerprints?", MIPR (2019) 506-511.
    J. H. Friedman, "Regularized discriminant analysis", J. Am. Stat. Assoc. 84 (1989) 165-175.
    J. Fridrich, J. Kodovsky, "Rich models for steganalysis of digital images", IEEE Trans. Inf. Forensics Secur. 7
        (2012) 868-882: the residual.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage, special

from medgan_qa.metrics._power import frequencies, image_stack, power_blocks, relative

RINGS, SECTORS = 16, 4
"""Radial and angular parts of the frequency plane; the sectors lie about rows, columns and diagonals."""
LAG = 4
"""Pixels over which the residual is correlated with itself."""
SHRINKAGE = 0.1
"""Weight of the identity in the covariance of the discriminant."""
FLOOR = 1e-8
LAGS = tuple((down, right) for down in range(LAG + 1) for right in range(-LAG, LAG + 1) if down > 0 or right > 0)
"""Of a half-plane: the other half is the same."""
KERNEL = np.array([[-1.0, 2.0, -1.0], [2.0, -4.0, 2.0], [-1.0, 2.0, -1.0]]) / 4
"""Takes out what is locally a plane (Fridrich and Kodovsky 2012)."""
OUTLYING = 3.5
"""Robust standard deviations beyond which a score does not enter centre and scale."""
NORMAL_MAD = 1.482602218505602

Vector = NDArray[np.float64]
Features = NDArray[np.float64]


def fingerprint_features(images: Any) -> Features:
    """(N, D) traces of images (N, H, W), finite, each side at least 32 pixels; D is the same for every size.

    The logarithm of the mean power in 16 rings and 4 directions over the mean power of all; of the residual after
    taking out what is locally plane its size, its autocorrelation up to 4 pixels and its energy on the four lattices of
    every second pixel. None depends on brightness or contrast but the size of the residual, which is taken relative to
    the image's standard deviation.

    Raises:
        ValueError: wrong shape, too small, or not finite (naming the images).
    """
    stack = image_stack(images)
    return np.concatenate([_polar(stack), _residual_traces(stack)], axis=1)


class Fingerprint(NamedTuple):
    """A linear discriminant: larger scores look more like the model's outputs."""

    mean: Vector
    """(D,) of real images."""
    scale: Vector
    """(D,) standard deviation of real images."""
    weights: Vector
    """(D,)"""

    def scores(self, features: Features) -> Vector:
        """(N,) of features (N, D)."""
        found: Vector = ((features - self.mean) / self.scale) @ self.weights
        return found


def fingerprint(real: Features, fake: Features) -> Fingerprint:
    """Regularised linear discriminant of real images (N, D) and outputs (M, D); each at least 2.

    The pooled covariance, in units of the real images' standard deviations, is drawn by a tenth to the identity
    (Friedman 1989), so that few images give a direction as well.

    Raises:
        ValueError: too few images, or another number of features.
    """
    if min(len(real), len(fake)) < 2 or real.shape[1:] != fake.shape[1:]:
        raise ValueError(f"at least two images of each kind with the same features, got {real.shape} and {fake.shape}")
    mean, scale = real.mean(axis=0), real.std(axis=0) + 1e-9
    a, b = (real - mean) / scale, (fake - mean) / scale
    pooled = (np.cov(a, rowvar=False) + np.cov(b, rowvar=False)) / 2
    covariance = (1 - SHRINKAGE) * pooled + SHRINKAGE * np.eye(len(mean))
    weights: Vector = np.linalg.solve(covariance, b.mean(axis=0) - a.mean(axis=0))
    return Fingerprint(mean, scale, weights)


class Centre(NamedTuple):
    """Where the scores of real images lie, whatever a few of them are."""

    middle: float
    spread: float
    n: int
    """Scores behind them."""

    def standardised(self, scores: Vector) -> Vector:
        """Scores in standard deviations from the middle."""
        found: Vector = (scores - self.middle) / self.spread
        return found


def centre(scores: Vector) -> Centre:
    """Mean and standard deviation (ddof 1) of scores (N,), N >= 4, after those beyond 3.5 robust ones are left out.

    Raises:
        ValueError: too few scores.
    """
    if len(scores) < 4:
        raise ValueError(f"at least 4 scores, got {len(scores)}")
    median = float(np.median(scores))
    spread = NORMAL_MAD * float(np.median(np.abs(scores - median)))
    kept = scores[np.abs(scores - median) <= OUTLYING * spread] if spread > 0 else scores
    return Centre(float(kept.mean()), max(float(kept.std(ddof=1)), 1e-12), len(kept))


def limit(alpha: float, looks: int, independent: int) -> float:
    """Standard deviations that the largest of `looks` new scores of real images exceeds with probability `alpha`.

    The upper prediction limit of a normal distribution whose mean and spread were estimated from `independent` units,
    the error rate shared out among the looks (Bonferroni).

    Raises:
        ValueError: `alpha` outside (0, 1), no look, or fewer than 3 units.
    """
    if not 0 < alpha < 1 or looks < 1 or independent < 3:
        raise ValueError(f"alpha in (0, 1), looks >= 1, independent >= 3, got {alpha!r}, {looks!r}, {independent!r}")
    t = float(special.stdtrit(independent - 1, 1 - alpha / looks))
    return t * math.sqrt(1 + 1 / independent)


def _polar(stack: NDArray[Any]) -> Features:
    part, counts = _parts(stack.shape[1], stack.shape[2])
    rows = []
    for power in power_blocks(stack):
        for plane in relative(power):
            sums = np.bincount(part, weights=plane.ravel(), minlength=counts.size)
            rows.append(sums[:-1] / np.maximum(counts[:-1], 1))
    means = np.reshape(rows, (len(stack), counts.size - 1))
    return np.log10(np.maximum(means, FLOOR))


@lru_cache(maxsize=8)
def _parts(height: int, width: int) -> tuple[NDArray[np.intp], Vector]:
    """Part of each coefficient, the last one for the zero frequency, and how many there are in each."""
    fy, fx = frequencies(height, width)
    ring = np.minimum((np.hypot(fy, fx) / np.sqrt(0.5) * RINGS).astype(np.intp), RINGS - 1)
    angle = np.mod(np.arctan2(fy, fx), np.pi)
    sector = np.mod(np.floor(angle / np.pi * SECTORS + 0.5).astype(np.intp), SECTORS)
    part = ring * SECTORS + sector
    # The innermost rings of a small image hold too few coefficients for directions.
    part[ring < 2] = (ring * SECTORS)[ring < 2]
    part[0, 0] = RINGS * SECTORS
    return part.ravel(), np.bincount(part.ravel(), minlength=RINGS * SECTORS + 1).astype(np.float64)


def _residual_traces(stack: NDArray[Any]) -> Features:
    rows = []
    for image in np.asarray(stack, np.float64):
        residual = ndimage.correlate(image, KERNEL, mode="reflect")
        energy = float(np.square(residual).mean())
        spread = float(image.std())
        sizes = [np.median(np.abs(residual)), np.sqrt(energy)]
        rows.append(
            [
                *(np.log10((size + FLOOR) / (spread + FLOOR)) for size in sizes),
                *_correlated(residual),
                *(
                    np.log10((np.square(residual[row::2, column::2]).mean() + FLOOR**2) / (energy + FLOOR**2))
                    for row in (0, 1)
                    for column in (0, 1)
                ),
            ]
        )
    return np.array(rows, np.float64).reshape(len(stack), 6 + len(LAGS))


def _correlated(residual: Vector) -> list[float]:
    """Autocorrelation of a residual at every lag."""
    power = np.square(np.abs(fft.rfft2(residual)))
    full = fft.irfft2(power, residual.shape)
    return [float(full[lag] / (full[0, 0] + FLOOR)) for lag in LAGS]
