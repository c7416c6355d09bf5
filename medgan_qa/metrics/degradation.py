"""How the input of a super-resolution came from the truth: a declared linear operator, and what it does not see.

The operator A takes a truth (H, W) to an input (h, w): blur, thick pixels and down-sampling, missing lines of k-space,
a missing region. All but the last act on rows and columns apart, so that the pseudo-inverse A+ is exact. A missing
region breaks that; there the least-squares solution of minimal norm is found by conjugate gradients.

References:
    H. H. Barrett, K. J. Myers, "Foundations of Image Science", Wiley (2004), chapter 1: measurement and null space.
    S. Bhadra, V. A. Kelkar, F. J. Brooks, M. A. Anastasio, "On hallucinations in tomographic image reconstruction",
        IEEE Trans. Med. Imaging 40 (2021) 3249-3260: pseudo-inverse with a truncated singular value decomposition.
    A. Bjorck, "Numerical Methods for Least Squares Problems", SIAM (1996), section 7.4: CGLS.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from medgan_qa.metrics import _degradation_table as table_of
from medgan_qa.metrics._separable import (
    AXES,
    SEEN,
    Float,
    KSpace,
    Profile,
    Separable,
    Shape,
    Thick,
    along,
    masked_lines,
    ratio,
    separable,
    transposed,
)

KEYS = ("blur_sd", "profile", "profile_fwhm", "kspace", "missing", "noise_sd")
"""Of a table [degradation]; all are optional."""
TOLERANCE = 1e-6
"""Conjugate gradients stop where the gradient is this share of what it was at the start,"""
ITERATIONS = 300
"""or after so many steps."""


@dataclass(frozen=True)
class Degradation:
    """A linear operator from the truth to the input, and the noise of the input. Made by `declared`.

    Images are (..., H, W) and (..., h, w), unit range, computed in float64; leading axes are images of their own.
    """

    scale: Shape
    """How many rows and columns of the truth one of the input spans."""
    blur_sd: tuple[float, float] = (0.0, 0.0)
    """Gaussian blur along rows and columns, in pixels of the truth; mirrored at the border."""
    profile: Profile = "box"
    """How the truth is averaged into one thick pixel, along the axes with a scale above 1. `box`: the mean over it.
    `gaussian`: weights about its centre. `point`: the value at its centre (the mean of the two pixels beside it where
    the scale is even)."""
    profile_fwhm: float = 1.0
    """Of `gaussian`, in pixels of the input."""
    kspace: KSpace | None = None
    missing: tuple[float, float, float, float] | None = None
    """(top, left, bottom, right) in shares of the image: every pixel of the input that this box touches is 0."""
    noise_sd: float = 0.0
    """White noise of the receiver, unit range; lines and pixels that are missing have none."""

    def apply(self, x: Any) -> Float:
        """A x: (..., H, W) to (..., h, w), without noise.

        Raises:
            ValueError: not finite, or a size that is no multiple of the scale.
        """
        truth = _images(x, "x")
        return self._cut_out(along(self._parts(self._require_multiple(truth)).forward, truth))

    def adjoint(self, y: Any, shape: Shape) -> Float:
        """A' y: (..., h, w) to (..., H, W) of the size `shape`.

        Raises:
            ValueError: not finite, or a size that is not `shape` over the scale.
        """
        given = self._require_input(y, shape)
        return along(transposed(self._parts(shape).forward), self._cut_out(given))

    def solve(self, y: Any, shape: Shape) -> Float:
        """A+ y: the least-squares solution of minimal norm (..., H, W), blind to singular values under `SEEN`.

        Exact to rounding without a missing region. With one, to a gradient of `TOLERANCE` of its first value or
        `ITERATIONS` steps.

        Raises:
            ValueError: as `adjoint`.
        """
        given = self._require_input(y, shape)
        parts = self._parts(shape)
        return parts.solve(given) if self.missing is None else self._conjugate_gradients(parts, given)

    def observable(self, x: Any) -> Float:
        """The part of x that the operator sees, A+ A x: the orthogonal projection on its row space.

        Raises:
            ValueError: as `apply`.
        """
        truth = _images(x, "x")
        parts = self._parts(self._require_multiple(truth))
        if self.missing is None:
            return parts.project(truth)
        return self._conjugate_gradients(parts, self._cut_out(parts.apply(truth)))

    def unseen(self, x: Any) -> Float:
        """The part of x that leaves no trace in the input, x - A+ A x: whatever it holds, the input is the same.

        Raises:
            ValueError: as `apply`.
        """
        truth = _images(x, "x")
        return truth - self.observable(truth)

    def unseen_share(self, shape: Shape) -> Float:
        """(H, W) the share of each pixel's white noise that the operator does not see, for a truth of this size.

        The diagonal of I - A+ A. Exact without a missing region; with one, pixels under it count as unseen and the
        others as they would without it.
        """
        seen = self._parts(shape).seen
        if self.missing is not None:
            there = self.measured((shape[0] // self.scale[0], shape[1] // self.scale[1]))
            seen = seen * np.kron(there, np.ones(self.scale))
        return 1 - seen

    def noise(self, shape: Shape, g: np.random.Generator) -> Float:
        """One draw of the input's noise, (h, w) for an input of that `shape`."""
        white = self.noise_sd * g.standard_normal(shape)
        if self.kspace is not None:
            down = self.kspace.axis == "rows"
            kept = self.kspace.lines(shape[0] if down else shape[1])
            white = masked_lines(white, kept) if down else masked_lines(white.T, kept).T
        return self._cut_out(white)

    def noise_rms(self, shape: Shape) -> float:
        """Root mean square of the noise over the measured pixels of an input of that `shape`."""
        if self.kspace is None:
            return self.noise_sd
        lines = self.kspace.lines(shape[0] if self.kspace.axis == "rows" else shape[1])
        return self.noise_sd * math.sqrt(lines.mean())

    def measured(self, shape: Shape) -> NDArray[np.bool_]:
        """(h, w) the pixels of an input of that `shape` that are not missing."""
        there = np.ones(shape, bool)
        if self.missing is not None:
            top, left, bottom, right = self.missing
            h, w = shape
            there[math.floor(top * h) : math.ceil(bottom * h), math.floor(left * w) : math.ceil(right * w)] = False
        return there

    def as_dict(self) -> dict[str, Any]:
        """The operator as JSON-able data: the table that `declared` takes, with the scale."""
        table: dict[str, Any] = {"scale": list(self.scale), "blur_sd": list(self.blur_sd), "profile": self.profile}
        if self.profile == "gaussian":
            table["profile_fwhm"] = self.profile_fwhm
        if self.kspace is not None:
            table["kspace"] = asdict(self.kspace)
        if self.missing is not None:
            table["missing"] = {"box": list(self.missing)}
        return {**table, "noise_sd": self.noise_sd}

    def sentence(self) -> str:
        """The operator in words, for a report."""
        steps = []
        if any(self.blur_sd):
            steps.append(f"blurred by {self.blur_sd[0]:g} x {self.blur_sd[1]:g} pixels")
        if self.scale != (1, 1):
            rows, columns = self.scale
            how = {
                "box": "averaged over",
                "gaussian": f"averaged with a Gaussian of {self.profile_fwhm:g} input pixels over",
                "point": "sampled every",
            }[self.profile]
            steps.append(f"{how} {rows} x {columns} pixels")
        if self.kspace is not None:
            k = self.kspace
            steps.append(f"left {k.kept:.0%} of the {k.axis} of k-space, with {k.centre:.0%} about the centre")
        if self.missing is not None:
            steps.append("emptied in a box from {:.0%}, {:.0%} to {:.0%}, {:.0%}".format(*self.missing))
        done = ", ".join(steps) if steps else "taken as it is"
        noise = f"noise of {100 * self.noise_sd:g} % of the range" if self.noise_sd else "no noise"
        return f"The input is the truth {done}, with {noise}."

    def _parts(self, shape: Shape) -> Separable:
        """All but the missing region, for a truth of this size."""
        lines = {None if self.kspace is None else self.kspace.axis: self.kspace}
        down, across = (
            Thick(self.scale[k], self.blur_sd[k], self.profile, self.profile_fwhm, lines.get(axis))
            for k, axis in enumerate(AXES)
        )
        return separable(down, across, shape)

    def _cut_out(self, y: Float) -> Float:
        return y if self.missing is None else y * self.measured((y.shape[-2], y.shape[-1]))

    def _require_multiple(self, truth: Float) -> Shape:
        (height, width), (rows, columns) = truth.shape[-2:], self.scale
        if height % rows or width % columns:
            raise ValueError(f"x must be a multiple of {rows} x {columns} pixels in size, got {height} x {width}")
        return height, width

    def _require_input(self, y: Any, shape: Shape) -> Float:
        given = _images(y, "y")
        expected = (shape[0] // self.scale[0], shape[1] // self.scale[1])
        if given.shape[-2:] != expected or any(n % s for n, s in zip(shape, self.scale, strict=True)):
            raise ValueError(f"y must be {expected} for a truth of {shape}, got {given.shape[-2:]}")
        return given

    def _conjugate_gradients(self, parts: Separable, y: Float) -> Float:
        """CGLS from 0, each image by itself; steps of images that have converged are 0."""
        x, residual = np.zeros((*y.shape[:-2], *parts.shape)), self._cut_out(y)
        gradient = parts.adjoint(residual)
        direction, energy = gradient, _energy(gradient)
        enough = TOLERANCE**2 * energy
        for _ in range(ITERATIONS):
            if (energy <= enough).all():
                break
            seen = self._cut_out(parts.apply(direction))
            step = ratio(np.where(energy > enough, energy, 0.0), _energy(seen))
            x, residual = x + step * direction, residual - step * seen
            gradient = parts.adjoint(self._cut_out(residual))
            energy, before = _energy(gradient), energy
            direction = gradient + ratio(energy, before) * direction
        return x


def declared(table: Mapping[str, Any], scale: Shape) -> Degradation:
    """The operator that a card's table [degradation] declares.

    Args:
        table: any of `blur_sd` (a number or [rows, columns], pixels of the truth), `profile` ("box", "gaussian" or
            "point"), `profile_fwhm` (pixels of the input), `kspace` (table of `kept`, `centre`, `seed`, `axis`),
            `missing` (table of `box` = [top, left, bottom, right] in shares), `noise_sd` (unit range).
        scale: how many times the rows and columns.

    Raises:
        ValueError: an unknown key, or a value that cannot be; the message names it.
    """
    table_of.require_known(table, KEYS, "degradation")
    profile = table.get("profile", "box")
    if profile not in get_args(Profile):
        raise ValueError(f"profile must be one of {', '.join(get_args(Profile))}, got {profile!r}")
    if "profile_fwhm" in table and profile != "gaussian":
        raise ValueError(f"profile_fwhm belongs to profile gaussian, got it with profile {profile}")
    return Degradation(
        scale=scale,
        blur_sd=table_of.blur(table.get("blur_sd", 0.0)),
        profile=profile,
        profile_fwhm=table_of.number(table.get("profile_fwhm", 1.0), "profile_fwhm", lambda v: 0 < v <= 100, "above 0"),
        kspace=table_of.kspace(table["kspace"]) if "kspace" in table else None,
        missing=table_of.box(table["missing"]) if "missing" in table else None,
        noise_sd=table_of.number(table.get("noise_sd", 0.0), "noise_sd", lambda v: 0 <= v < 1, "from 0 to below 1"),
    )


def _images(x: Any, name: str) -> Float:
    array = np.asarray(x, np.float64)
    if array.ndim < 2 or 0 in array.shape[-2:]:
        raise ValueError(f"{name} must be images (..., H, W), got shape {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite")
    return array


def _energy(x: Float) -> Float:
    energy: Float = np.square(x).sum(axis=(-2, -1), keepdims=True)
    return energy


__all__ = ["ITERATIONS", "SEEN", "TOLERANCE", "Degradation", "KSpace", "declared"]
