"""Items and batches of data loaders taken apart: which part is the image, and which its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

IMAGE_KEYS = ("image", "img", "source", "input", "inputs")
NAME_KEYS = ("case_id", "id", "name")
CHANNELS = 4
"""Most channels that an image has."""

Float = NDArray[np.float32]


def taken_apart(item: Any) -> tuple[Any, Any]:
    """Image and case id (None where there is none) of an item or a batch.

    Raises:
        ValueError: it holds no image.
    """
    if isinstance(item, Mapping) and not _is_image(item):
        image = next((item[key] for key in IMAGE_KEYS if key in item), None)
        # A batch of TorchIO holds each image as a mapping.
        image = image.get("data") if isinstance(image, Mapping) and not _is_image(image) else image
        if image is None:
            raise ValueError(f"expected one of the keys {', '.join(IMAGE_KEYS)}, got {len(item)} others")
        return image, next((item[key] for key in NAME_KEYS if key in item), None)
    if isinstance(item, tuple | list):
        image = next((part for part in item if _is_image(part)), None)
        if image is None:
            raise ValueError(f"expected an array among {len(item)} parts, got {_types(item)}")
        return image, next((part for part in item if _is_name(part)), None)
    if not _is_image(item):
        raise ValueError(f"expected a mapping, a tuple or an array, got {type(item).__name__}")
    return item, None


def as_array(image: Any) -> NDArray[Any]:
    """An array of an array, a tensor (on any device), a PIL image or a TorchIO image."""
    if type(image).__module__.startswith("torchio."):
        image = image.data
    if hasattr(image, "detach"):
        image = image.detach().cpu()
    array = np.asarray(image)
    if array.dtype == object:
        raise ValueError(f"expected numbers, got {type(image).__name__}")
    return array


def as_image(array: NDArray[Any]) -> Float:
    """(C, H, W) float32 of one image.

    Raises:
        ValueError: it has another number of axes, or no axis that can be that of the channels.
    """
    if array.ndim == 4 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 3 and array.shape[0] > CHANNELS and array.shape[-1] <= CHANNELS:
        array = np.moveaxis(array, -1, 0)
    if array.ndim != 3 or not 0 < array.shape[0] <= CHANNELS or 0 in array.shape:
        raise ValueError(f"expected an image (H, W), (C, H, W) or (H, W, C), got an array of shape {array.shape}")
    return array.astype(np.float32)


def _is_image(part: Any) -> bool:
    """An array of at least two axes, whatever library it is of."""
    if type(part).__module__.startswith("torchio."):
        return not hasattr(part, "get_images") and hasattr(part, "data")
    if hasattr(part, "__array_interface__") or hasattr(part, "__array__"):
        return len(getattr(part, "shape", (0, 0))) >= 2
    return False


def _is_name(part: Any) -> bool:
    return isinstance(part, str) or (isinstance(part, tuple | list) and bool(part) and isinstance(part[0], str))


def _types(parts: Sequence[Any]) -> str:
    return ", ".join(type(part).__name__ for part in parts[:5]) or "nothing"
