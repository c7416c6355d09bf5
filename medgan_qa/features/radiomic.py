"""The embedded extractor: statistics of an image that have names and need no weights.

What is computed, in this order (`FEATURE_NAMES`):
    - first-order statistics of the whole image and of the body, and the share of values outside [0, 1];
    - co-occurrence of grey levels (GLCM) at a distance of 1 and of 3 pixels, runs (GLRLM), zones (GLSZM) and
      neighbourhood grey-tone differences (NGTDM), inside the body;
    - first-order statistics of Laplacian-of-Gaussian responses and of the Haar detail bands;
    - gradients, power by spatial frequency, shape and left-right symmetry of the body.
The body is `medgan_qa.metrics.body.body_mask`; lengths are pixels. Grey levels of texture are equal bins of the
declared range: with bins that followed each image's own range, a change of contrast would go unseen. Values outside the
range count as its ends there and nowhere else. Nothing is ever undefined: a constant image has a value for everything.

How many features there are depends on the number of channels alone. Several channels are averaged into one image that
gives all of the above, and each channel adds its own first-order statistics.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from medgan_qa.features import _filters, _intensity, _runs, _shape, _texture
from medgan_qa.features.extractor import checked, parameter_digest
from medgan_qa.metrics.body import body_mask

SIGMAS = (1.0, 2.0, 4.0)
"""Scales of the Laplacian of Gaussian, pixels."""
DISTANCES = (1, 3)
"""Distances of co-occurring pixels, pixels."""
BATCH_PIXELS = 2**18
"""Pixels worked on at once; bounds the memory, and changes no value."""
OUTSIDE_NAMES = ("share_below_range", "share_above_range")
BODY_LACKS = "maximum"
"""The brightest pixel is in the body, so the body's maximum would be the image's once more."""
DETAILS = ("horizontal", "vertical", "diagonal")

Float = NDArray[np.float64]


def _named(family: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(f"{family}.{name}" for name in names)


FEATURE_NAMES: tuple[str, ...] = (
    *_named("image", _intensity.FIRST_ORDER_NAMES),
    *_named("image", OUTSIDE_NAMES),
    *_named("body", tuple(name for name in _intensity.FIRST_ORDER_NAMES if name != BODY_LACKS)),
    *(name for d in DISTANCES for name in _named(f"glcm_{d}", _texture.GLCM_NAMES)),
    *_named("glrlm", _runs.SIZE_NAMES),
    *_named("glszm", _runs.SIZE_NAMES),
    *_named("ngtdm", _texture.NGTDM_NAMES),
    *(name for s in SIGMAS for name in _named(f"log_{s:g}px", _filters.RESPONSE_NAMES)),
    *(name for band in DETAILS for name in _named(f"haar_{band}", _filters.RESPONSE_NAMES)),
    *_named("gradient", _filters.GRADIENT_NAMES),
    *_named("spectrum", _filters.SPECTRAL_NAMES),
    *_named("shape", _shape.SHAPE_NAMES),
)
"""Names of the features of an image with one channel, in the order of the columns."""


def feature_names(channels: int = 1) -> tuple[str, ...]:
    """Names of the columns for images of that many channels (channels counted from 0)."""
    first_order = (*_intensity.FIRST_ORDER_NAMES, *OUTSIDE_NAMES)
    return FEATURE_NAMES + tuple(
        name for k in range(channels if channels > 1 else 0) for name in _named(f"channel_{k}", first_order)
    )


class RadiomicExtractor:
    """Radiomic features of images of any size, on the processor."""

    name = "radiomic"
    version = "1"
    in_reference_units = True
    digest = parameter_digest(
        FEATURE_NAMES,
        _texture.LEVELS,
        SIGMAS,
        DISTANCES,
        _filters.EDGE,
        _filters.BANDS,
        _filters.POWER_FLOOR,
    )

    def features(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Features float32 (N, len(feature_names(C))) of images float32 (N, C, H, W) in unit range.

        Raises:
            ValueError: not (N, C, H, W), an image without pixels, or NaN or infinity in an image (its row is named).
        """
        images = checked(images)
        step = max(BATCH_PIXELS // (images.shape[2] * images.shape[3]), 1)
        parts = [_features(images[k : k + step]) for k in range(0, len(images), step)]
        columns = len(feature_names(images.shape[1]))
        return np.concatenate([np.empty((0, columns), np.float32), *(part.astype(np.float32) for part in parts)])


def _features(images: NDArray[np.float32]) -> Float:
    n, channels = images.shape[:2]
    grey = images[:, 0] if channels == 1 else images.mean(axis=1, dtype=np.float64).astype(np.float32)
    wide = grey.astype(np.float64)
    body = np.stack([body_mask(image) for image in wide])
    levels = np.where(body, _intensity.levels_of(grey), 0)
    spectrum, details = _filters.spectrum(wide), _filters.haar_details(wide)
    families = [
        _intensity_of(wide.reshape(n, -1)),
        np.delete(
            _intensity.first_order(wide.reshape(n, -1), body.reshape(n, -1)),
            _intensity.FIRST_ORDER_NAMES.index(BODY_LACKS),
            axis=1,
        ),
        *(_texture.glcm_features(levels, d) for d in DISTANCES),
        _runs.glrlm_features(levels),
        _runs.glszm_features(levels),
        _texture.ngtdm_features(levels),
        *(_filters.response(_filters.laplacian_of_gaussian(spectrum, s)) for s in SIGMAS),
        *(_filters.response(details[band]) for band in DETAILS),
        _filters.gradients(wide),
        _filters.spectral(spectrum),
        _shape.shape(wide, body),
    ]
    own = [_intensity_of(images[:, k].reshape(n, -1).astype(np.float64)) for k in range(channels)]
    return np.hstack([*families, *(own if channels > 1 else [])])


def _intensity_of(values: Float) -> Float:
    """First-order statistics of whole images (N, P), and the shares outside the range."""
    everywhere = np.ones(values.shape, dtype=bool)
    outside = np.stack([(values < 0).mean(axis=1), (values > 1).mean(axis=1)], axis=1)
    return np.hstack([_intensity.first_order(values, everywhere), outside])
