"""Undoing what augmentation does to an image: one of eight orientations, a whole-pixel shift, a gamma.

The copy searches compare images on a working grid of at most 64 pixels along the shorter side, lightly smoothed,
so that cost and the reach of the search do not depend on the stored size.

References:
    D. Padfield, "Masked object registration in the Fourier domain", IEEE Trans. Image Process. 21 (2012) 2706-2718:
        normalised cross-correlation at every shift when some pixels do not count.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft

Float = NDArray[np.float32]
Transforms = Literal["dihedral", "identity"]

ORIENTATIONS: tuple[str, ...] = (
    "identity",
    "flip left-right",
    "flip up-down",
    "rotate 180",
    "transpose",
    "rotate 90 clockwise",
    "rotate 90 counterclockwise",
    "transpose about the other diagonal",
)
"""Names of the codes 0 to 7 of `oriented`. The first four keep height and width."""
INVERSE: tuple[int, ...] = (0, 1, 2, 3, 4, 6, 5, 7)
"""Code of the orientation that undoes each."""

WORKING_PX = 64
"""Pixels along the shorter side that larger images are reduced to."""
GAMMAS: NDArray[np.float64] = np.exp(np.linspace(np.log(0.5), np.log(2.0), 139))
"""Gammas that the fit chooses from; the middle one is 1, neighbours are 1 % apart."""
LEVELS = 128
"""Grey levels that stand for a reference while its gamma is sought; the score itself is computed from the pixels."""
FLAT = 1e-9
"""Variance (unit range squared) below which an image has nothing to explain."""


class Alignment(NamedTuple):
    """How each query of a batch is best obtained from its reference, all (B,)."""

    residual: NDArray[np.float64]
    """Share of the query's foreground variance left unexplained, in [0, 1]."""
    shift: NDArray[np.intp]
    """(B, 2) pixels (rows down, columns right) of the working grid that the reference is moved by."""
    gamma: NDArray[np.float64]
    """Gamma applied to the reference."""


def image_stack(images: Any, name: str, shape: tuple[int, int] | None = None) -> Float:
    """`images` as float32 (N, H, W).

    Raises:
        ValueError: not three-dimensional, without pixels, of another height or width than `shape`, or not finite; the
            images that are not finite are named.
    """
    array = np.asarray(images, dtype=np.float32)
    if array.ndim != 3 or 0 in array.shape[1:]:
        raise ValueError(f"{name} must be (N, H, W) and hold pixels, got shape {array.shape}")
    if shape is not None and array.shape[1:] != shape:
        raise ValueError(f"{name} must be {shape[0]} x {shape[1]} pixels, got {array.shape[1]} x {array.shape[2]}")
    bad = np.flatnonzero(~np.isfinite(array).all(axis=(1, 2)))
    if bad.size:
        raise ValueError(f"{name} {bad[:5].tolist()} hold NaN or infinity; leave them out and report how many")
    return array


def orientations(shape: tuple[int, int], transforms: Transforms) -> tuple[int, ...]:
    """Codes to search: all eight for square images, the four that keep the size for others, 0 alone for "identity".

    Raises:
        ValueError: `transforms` is neither "dihedral" nor "identity".
    """
    if transforms not in ("dihedral", "identity"):
        raise ValueError(f"transforms must be 'dihedral' or 'identity', got {transforms!r}")
    if transforms == "identity":
        return (0,)
    return tuple(range(8 if shape[0] == shape[1] else 4))


def oriented(images: Float, code: int) -> Float:
    """`images` (..., H, W) in orientation `code`, an index of `ORIENTATIONS`; a view."""
    if code == 0:
        return images
    if code < 4:
        return images[..., :: -1 if code & 2 else 1, :: -1 if code & 1 else 1]
    turned = np.swapaxes(images, -1, -2)
    return turned[..., :: -1 if code in (6, 7) else 1, :: -1 if code in (5, 7) else 1]


def resampling_rows(size: int, cells: int, blur: float) -> Float:
    """(cells, size) weights that average `size` pixels into `cells` equal cells after a Gaussian blur.

    Args:
        size: pixels along the axis.
        cells: cells along it, at most `size`.
        blur: standard deviation of the Gaussian in pixels, >= 0; near the ends its weights are renormalised.
    """
    edges = np.arange(cells + 1) * (size / cells)
    pixel = np.arange(size)
    overlap = np.clip(np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel), 0, 1)
    if blur > 0:
        gaussian = np.exp(-0.5 * np.square((pixel[:, None] - pixel[None, :]) / blur))
        overlap = overlap @ (gaussian / gaussian.sum(axis=1, keepdims=True))
    rows: Float = (overlap / overlap.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


def resampled(images: Float, shape: tuple[int, int], blur: float) -> Float:
    """Area means of (N, H, W) on a grid of `shape`, after a Gaussian blur of `blur` pixels of the images."""
    rows = resampling_rows(images.shape[1], shape[0], blur)
    columns = resampling_rows(images.shape[2], shape[1], blur)
    result: Float = np.matmul(np.matmul(rows, images), columns.T)
    return result


def working_scale(shape: tuple[int, int]) -> float:
    """Image pixels per working pixel, >= 1."""
    return max(1.0, min(shape) / WORKING_PX)


def working_images(images: Float, blur: float) -> Float:
    """Images on the working grid, smoothed by `blur` working pixels."""
    scale = working_scale((images.shape[1], images.shape[2]))
    shape = (round(images.shape[1] / scale), round(images.shape[2] / scale))
    return resampled(images, shape, blur * scale)


def aligned(queries: Float, masks: NDArray[np.bool_], references: Float, reach: int) -> Alignment:
    """Best whole-pixel shift and gamma of each reference towards its query.

    The shift is the one of largest masked normalised cross-correlation (Padfield 2012). Then the gamma is fitted, and
    the residual is that of query ~ a + b reference^gamma with b > 0. Pixels that the shift brings in from outside do
    not count.

    Args:
        queries: (B, h, w).
        masks: (B, h, w) bool, the pixels of each query that count.
        references: (B, h, w), already in the orientation to be tried.
        reach: largest shift in pixels along each axis.
    """
    shift = _best_shift(queries, masks, references, reach)
    moved, counted = _moved(references, shift)
    counted &= masks
    gamma = _best_gamma(queries, counted, moved)
    power = np.power(moved, gamma[:, None, None].astype(np.float32))
    return Alignment(unexplained(queries, counted, power), shift, gamma)


def gamma_between(
    queries: Float, masks: NDArray[np.bool_], references: Float, shift: NDArray[np.intp]
) -> NDArray[np.float64]:
    """(B,) gamma of each query over its reference, already oriented, moved by a known shift.

    To be read off unsmoothed images where it is to be told: smoothing after a gamma is not a gamma after smoothing.
    """
    moved, inside = _moved(references, shift)
    return _best_gamma(queries, masks & inside, moved)


def unexplained(queries: Float, masks: NDArray[np.bool_], references: Float) -> NDArray[np.float64]:
    """Share (B,) of each query's variance under its mask that gain (positive) and offset of the reference leave over.

    1 minus the squared correlation; 1 where the correlation is negative, or where query or reference is flat: nothing
    is there that could have been copied.
    """
    weight = masks.reshape(len(masks), -1).astype(np.float64)
    q, r = (a.reshape(len(a), -1).astype(np.float64) for a in (queries, references))
    n = np.maximum(weight.sum(axis=1, keepdims=True), 1.0)
    q = (q - (weight * q).sum(axis=1, keepdims=True) / n) * weight
    r = (r - (weight * r).sum(axis=1, keepdims=True) / n) * weight
    return _residual(*(np.einsum("bi,bi->b", a, b) / n[:, 0] for a, b in ((q, r), (q, q), (r, r))))


def _residual(qr: NDArray[np.float64], qq: NDArray[np.float64], rr: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 - correlation^2 from a covariance and two variances, elementwise."""
    textured = (qq > FLAT) & (rr > FLAT) & (qr > 0)
    share = np.square(qr) / np.where(textured, qq * rr, 1.0)
    return np.where(textured, np.clip(1.0 - share, 0.0, 1.0), 1.0)


def _best_shift(queries: Float, masks: NDArray[np.bool_], references: Float, reach: int) -> NDArray[np.intp]:
    """(B, 2) shift of least residual over the (2 reach + 1)^2 whole-pixel shifts; gain and offset free."""
    weight = masks.astype(np.float32)
    # About zero, where single precision has its digits.
    q = (queries - _mean(queries, weight)) * weight
    r = references - _mean(references, weight)
    shape = tuple(fft.next_fast_len(size + reach, real=True) for size in queries.shape[1:])
    window = np.arange(-reach, reach + 1)

    def spectrum(a: Float) -> NDArray[np.complex64]:
        result: NDArray[np.complex64] = fft.rfft2(a, s=shape)
        return result

    def correlated(a: NDArray[np.complex64], b: NDArray[np.complex64]) -> Float:
        """Sum over x of a(x) b(x - s), for every s in the window."""
        full = fft.irfft2(a * b.conj(), s=shape)
        part: Float = full[:, window[:, None], window]
        return part

    f_q, f_qq, f_w = spectrum(q), spectrum(q * q), spectrum(weight)
    f_r, f_rr = spectrum(r), spectrum(r * r)
    f_inside = spectrum(np.ones((1, *queries.shape[1:]), np.float32))
    n = np.maximum(correlated(f_w, f_inside), 1.0)
    q_mean, r_mean = correlated(f_q, f_inside) / n, correlated(f_w, f_r) / n
    residual = _residual(
        correlated(f_q, f_r) / n - q_mean * r_mean,
        correlated(f_qq, f_inside) / n - q_mean**2,
        correlated(f_w, f_rr) / n - r_mean**2,
    )
    best = residual.reshape(len(residual), -1).argmin(axis=1)
    return np.stack(np.divmod(best, len(window)), axis=1) - reach


def _mean(images: Float, weight: Float) -> Float:
    total = np.maximum(weight.sum(axis=(1, 2), keepdims=True), 1.0)
    mean: Float = (images * weight).sum(axis=(1, 2), keepdims=True) / total
    return mean


def _moved(images: Float, shift: NDArray[np.intp]) -> tuple[Float, NDArray[np.bool_]]:
    """Each image moved by its own shift, values held to [0, 1], and which pixels came from inside it."""
    height, width = images.shape[1:]
    rows = np.arange(height) - shift[:, :1]
    columns = np.arange(width) - shift[:, 1:]
    inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
    rows, columns = np.clip(rows, 0, height - 1), np.clip(columns, 0, width - 1)
    picked = images[np.arange(len(images))[:, None, None], rows[:, :, None], columns[:, None, :]]
    moved: Float = np.clip(picked, 0.0, 1.0)
    return moved, inside


def _best_gamma(queries: Float, masks: NDArray[np.bool_], references: Float) -> NDArray[np.float64]:
    """(B,) member of `GAMMAS` for which query ~ b reference^gamma fits best, from sums over each reference grey level.

    Through black, without an offset: over the range of tissue an offset and a gamma do much the same, and only the
    dark end tells them apart.
    """
    batch = len(queries)
    pair, *pixel = np.nonzero(masks)
    level = np.rint(references[pair, *pixel] * (LEVELS - 1)).astype(np.intp) + LEVELS * pair
    values = queries[pair, *pixel].astype(np.float64)
    count = np.bincount(level, minlength=batch * LEVELS).reshape(batch, LEVELS)
    total = np.bincount(level, values, minlength=batch * LEVELS).reshape(batch, LEVELS)
    power = (np.arange(LEVELS) / (LEVELS - 1))[:, None] ** GAMMAS
    energy = count @ power**2
    explained = np.square(total @ power) / np.where(energy > 0, energy, 1.0)
    # Where all fit alike (a flat or a black query) the one nearest 1 is told.
    order = np.argsort(np.abs(np.log(GAMMAS)), kind="stable")
    best: NDArray[np.float64] = GAMMAS[order[explained[:, order].argmax(axis=1)]]
    return best
