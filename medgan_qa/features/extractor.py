"""Feature extractors: what they are, how one is found by name, and how one is run on a batch.

An extractor turns images in unit range into rows of numbers. Distances between such rows are what fidelity, coverage
and memorization are read from, so a value means something only beside the extractor's name, version and digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from medgan_qa.errors import ConfigurationError, ModelError

Float = NDArray[np.float32]
GROUP = "medgan_qa.extractors"
"""Entry-point group: a callable without arguments that returns `{name: callable(device) -> Extractor}`."""
DEEP_PREFIX = "torchvision:"
FILE_SUFFIXES = (".pt", ".pt2", ".torchscript", ".onnx", ".safetensors")


class Extractor(Protocol):
    """Images in, features out.

    An extractor whose features have units of their own sets an attribute `in_reference_units = True`: its features are
    then divided by their spread among the real reference images before anything is computed from them. The others'
    are taken as they are, as the definition of the FID wants it.

    `digest` is the SHA-256 of the weights, or of the parameters where there are no weights. An extractor that can be
    set to prepare images in more than one way says so in a further attribute `preprocessing` (JSON-able). What agrees
    in all of these gives the same features (see `identity`).
    """

    @property
    def name(self) -> str:
        """What it is called on the command line and in the record."""

    @property
    def version(self) -> str:
        """Raised whenever the same parameters begin to give other numbers."""

    @property
    def digest(self) -> str:
        """SHA-256, 64 hexadecimal digits."""

    def features(self, images: Float) -> Float:
        """Features float32 (N, D) of images float32 (N, C, H, W) in unit range; each row depends on its image alone."""


Factory = Callable[[str], Extractor]


def extractor(name: str, device: str = "cpu") -> Extractor:
    """The extractor called `name`.

    Args:
        name: `radiomic`, `pixels`, a deep extractor, `torchvision:NAME`, the path of a network's file (it ends in one
            of `FILE_SUFFIXES` or contains a slash), or what an installed package registers.
        device: torch device that deep extractors run on; the embedded ones run on the processor.

    Raises:
        ConfigurationError: nothing of that name is known, or two packages register it.
        MissingDependencyError, ModelError: its weights or its package are missing or unusable.
    """
    if name in _EMBEDDED:
        return _EMBEDDED[name][0]()
    if _is_deep(name):
        from medgan_qa.features.deep import deep_extractor

        found: Extractor = deep_extractor(name, device)
        return found
    registered = _registered()
    if name not in registered:
        raise ConfigurationError(
            "There is no extractor of that name.",
            expected=f"one of {', '.join(extractors())}, {DEEP_PREFIX}NAME, or the path of a network's file",
            found=name,
            todo="`medgan-qa list extractors` shows what there is and what can be used on this machine.",
        )
    return registered[name](device)


def extractors() -> dict[str, tuple[bool, str]]:
    """What there is: name -> (whether it can be used on this machine, one line about it)."""
    from medgan_qa.features.deep import deep_extractors

    listed = {name: (True, text) for name, (_, text) in _EMBEDDED.items()}
    listed |= deep_extractors()
    for point in _points():
        try:
            names = list(point.load()())
        except Exception as error:  # a package of somebody else's, listed among others: it must not hide them
            listed[point.name] = (False, f"the package that registers it failed: {type(error).__name__}: {error}")
            continue
        listed |= {name: (True, f"registered by {point.value}") for name in names if name not in listed}
    return listed


def extract(source: Extractor, images: Float) -> Float:
    """Features of a batch, checked for what every estimator relies on.

    Args:
        source: the extractor.
        images: float32 (N, C, H, W), N >= 1.

    Returns:
        float32 (N, D), finite.

    Raises:
        ValueError: `images` are not float32 (N, C, H, W).
        ModelError: the extractor returned another shape, or NaN or infinity.
    """
    if images.ndim != 4 or images.dtype != np.float32:
        raise ValueError(f"images must be float32 (N, C, H, W), got {images.dtype} {images.shape}")
    found = np.asarray(source.features(images))
    if found.ndim != 2 or found.shape[0] != images.shape[0] or found.shape[1] == 0:
        raise _unusable(source, f"shape {found.shape}", f"{images.shape[0]} rows of at least one feature, (N, D)")
    found = found.astype(np.float32, copy=False)
    bad = np.flatnonzero(~np.isfinite(found).all(axis=1))
    if bad.size:
        raise _unusable(source, f"NaN or infinity in row {bad[0]} of the batch ({bad.size} in all)", "finite features")
    return np.ascontiguousarray(found)


def checked(images: Float) -> Float:
    """Images as float32, for extractors that are not networks.

    Raises:
        ValueError: not (N, C, H, W), images without pixels, or NaN or infinity in an image (its row is named).
    """
    if images.ndim != 4 or 0 in images.shape[1:]:
        raise ValueError(f"images must be (N, C, H, W) and hold pixels, got shape {images.shape}")
    bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
    if bad.size:
        raise ValueError(f"image {bad[0]} holds NaN or infinity ({bad.size} of {len(images)} images do)")
    return images.astype(np.float32, copy=False)


def identity(source: Extractor) -> str:
    """SHA-256 over everything that decides what features an image has: name, version, digest, preprocessing if any."""
    parts = [source.name, source.version, source.digest, getattr(source, "preprocessing", None)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def parameter_digest(*parameters: object) -> str:
    """SHA-256 of the `repr` of the parameters that define an extractor without weights (numbers, texts, tuples)."""
    return hashlib.sha256(repr(parameters).encode()).hexdigest()


def _unusable(source: Extractor, found: str, expected: str) -> ModelError:
    return ModelError(
        "The extractor returned features that cannot be used.",
        expected=expected,
        found=found,
        where=source.name,
        todo="Check the images it was given (size, channels, finite pixels), or choose another extractor.",
    )


def _is_deep(name: str) -> bool:
    if name.startswith(DEEP_PREFIX) or name.endswith(FILE_SUFFIXES) or "/" in name:
        return True
    from medgan_qa.features.deep import deep_extractors

    return name in deep_extractors()


def _points() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value))


def _registered() -> dict[str, Factory]:
    """What installed packages register, by name.

    Raises:
        ConfigurationError: two packages register one name, so that it would depend on the order of installation.
    """
    found: dict[str, Factory] = {}
    for point in _points():
        names: dict[str, Factory] = point.load()()
        if twice := sorted(set(found) & set(names)):
            raise ConfigurationError(
                "Two installed packages register the same extractor.",
                expected="every name registered once",
                found=", ".join(twice),
                where=f"entry-point group {GROUP}, {point.value}",
                todo="Uninstall one of the packages.",
            )
        found |= names
    return found


def _radiomic() -> Any:
    from medgan_qa.features.radiomic import RadiomicExtractor

    return RadiomicExtractor()


def _pixels() -> Any:
    from medgan_qa.features.pixels import PixelExtractor

    return PixelExtractor()


_EMBEDDED: dict[str, tuple[Callable[[], Extractor], str]] = {
    "radiomic": (_radiomic, "embedded; texture, shape and intensity statistics that have names; needs no weights"),
    "pixels": (_pixels, "embedded; the image averaged down to at most 16 x 16; needs no weights"),
}
