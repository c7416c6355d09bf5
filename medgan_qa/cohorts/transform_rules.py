"""Whether a transform of a known library is random, told by its class and its ancestors, without importing anything."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any

TORCHVISION_RANDOM = frozenset(
    {
        "AugMix",
        "AutoAugment",
        "ColorJitter",
        "CutMix",
        "ElasticTransform",
        "GaussianNoise",
        "JPEG",
        "MixUp",
        "RandAugment",
        "ScaleJitter",
        "TrivialAugmentWide",
    }
)
ALBUMENTATIONS_FIXED = frozenset(
    {
        "CenterCrop",
        "Crop",
        "FromFloat",
        "HorizontalFlip",
        "InvertImg",
        "Lambda",
        "LongestMaxSize",
        "NoOp",
        "Normalize",
        "Pad",
        "PadIfNeeded",
        "Resize",
        "SmallestMaxSize",
        "ToFloat",
        "ToGray",
        "ToRGB",
        "ToTensor3D",
        "ToTensorV2",
        "Transpose",
        "VerticalFlip",
    }
)
"""The same for every image where their probability is 1."""
CHOOSING = frozenset({"OneOf", "OneOrOther", "RandomChoice", "RandomOrder", "SomeOf"})
"""Containers that draw which of their members to apply, or in which order."""


def library_of(thing: Any) -> str:
    """The first part of the module that an object's class, a class or a function comes from."""
    where = thing if isinstance(thing, type | types.FunctionType | types.BuiltinFunctionType) else type(thing)
    return str(getattr(where, "__module__", "") or "").partition(".")[0]


def ancestors(thing: Any) -> set[str]:
    """Names of an object's class and all that it derives from."""
    return {c.__name__ for c in type(thing).__mro__}


def probability(thing: Any) -> float | None:
    """With which probability a transform is applied; None where it has none.

    Attributes `prob` (MONAI), `probability` (TorchIO), `p` (the others).
    """
    for name in ("prob", "probability", "p"):
        value = getattr(thing, "__dict__", {}).get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
    return None


def kin_of(thing: Any) -> type | None:
    """The nearest class, its own or one that it derives from, of a library that there is a rule for."""
    return next((c for c in type(thing).__mro__ if library_of(c) in RULES), None)


def _sometimes(thing: Any) -> bool:
    p = probability(thing)
    return p is not None and 0 < p < 1


def _monai(thing: Any, kin: type) -> bool | None:
    names, kind = ancestors(thing), kin.__name__
    if not names & {"Transform", "Randomizable"} or kind == "Compose":
        return None
    if "Compose" in names:
        return kind in CHOOSING
    return "Randomizable" in names and probability(thing) != 0


def _torchio(thing: Any, kin: type) -> bool | None:
    names = ancestors(thing)
    if "Transform" not in names or (kin.__name__ == "Compose" and not _sometimes(thing)):
        return None
    return ("RandomTransform" in names and probability(thing) != 0) or _sometimes(thing)


def _torchvision(thing: Any, kin: type) -> bool | None:
    kind = kin.__name__
    if not kin.__module__.startswith("torchvision.transforms") or kind in ("Compose", "InterpolationMode"):
        return None
    if kind == "ColorJitter":
        return any(getattr(thing, name, None) is not None for name in ("brightness", "contrast", "saturation", "hue"))
    if kind == "GaussianBlur":
        low, high = thing.sigma
        return bool(low != high)
    named = kind.startswith("Random") or kind in TORCHVISION_RANDOM
    return named and probability(thing) != 0


def _albumentations(thing: Any, kin: type) -> bool | None:
    names, kind = ancestors(thing), kin.__name__
    if "BaseCompose" in names:
        chooses = kind in CHOOSING and probability(thing) != 0
        return True if chooses or _sometimes(thing) else None
    if "BasicTransform" not in names:
        return None
    return _sometimes(thing) or (kind not in ALBUMENTATIONS_FIXED and probability(thing) != 0)


RULES: dict[str, Callable[[Any, type], bool | None]] = {
    "monai": _monai,
    "torchio": _torchio,
    "torchvision": _torchvision,
    "albumentations": _albumentations,
}
"""Of each library, what says whether an object is a random transform (True), a fixed one (False) or none (None)."""
