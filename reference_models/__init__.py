"""Reference models: networks, recipes, one training loop, cards and weights.

They reach medgan_qa through entry points (`medgan_qa.architectures`, `medgan_qa.recipes`, `medgan_qa.weights`), as any
outsider's models would.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def architectures() -> dict[str, Callable[..., nn.Module]]:
    """Networks that a checkpoint may name, by that name."""
    from reference_models.networks.resnet import ResNetTranslator
    from reference_models.networks.unet import UNetSegmenter, UNetTranslator

    return {
        "resnet-translator": ResNetTranslator,
        "unet-translator": UNetTranslator,
        "unet-segmenter": UNetSegmenter,
    }


def weights() -> dict[str, Path]:
    """Shipped models by name, for `medgan-qa audit reference:NAME`."""
    folder = Path(str(files("reference_models"))) / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def trainers() -> dict[str, Any]:
    """What `medgan-qa train` needs: the trainable names with their titles, and the two functions."""
    from reference_models.recipes import names, recipe
    from reference_models.training import train

    return {"names": names(), "recipe": recipe, "train": train}
