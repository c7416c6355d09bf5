"""Reference models: networks, recipes, one training loop, cards and weights.

They reach medgan_qa through entry points (`medgan_qa.architectures`, `medgan_qa.recipes`, `medgan_qa.weights`,
`medgan_qa.extractors`), as any outsider's models would.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from medgan_qa.features.extractor import Extractor


def architectures() -> dict[str, Callable[..., nn.Module]]:
    """Networks that a checkpoint may name, by that name."""
    from reference_models.networks.dcgan import DCGANGenerator
    from reference_models.networks.phantom_net import PhantomNet
    from reference_models.networks.resnet import ResNetTranslator
    from reference_models.networks.unet import UNetSegmenter, UNetTranslator

    return {
        "dcgan-generator": DCGANGenerator,
        "phantom-net": PhantomNet,
        "resnet-translator": ResNetTranslator,
        "unet-translator": UNetTranslator,
        "unet-segmenter": UNetSegmenter,
    }


def weights() -> dict[str, Path]:
    """Shipped models by name, for `medgan-qa audit reference:NAME`."""
    folder = Path(str(files("reference_models"))) / "weights"
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def extractors() -> dict[str, Callable[[str], Extractor]]:
    """Shipped feature networks by name; each is made for a device. They are no subjects of an audit."""
    folder = Path(str(files("reference_models"))) / "extractors"
    return {path.stem: partial(_extractor, path) for path in sorted(folder.glob("*.safetensors"))}


def _extractor(path: Path, device: str) -> Extractor:
    from medgan_qa.features.scripted import CheckpointExtractor

    return CheckpointExtractor(path, device, path.stem)


def trainers() -> dict[str, Any]:
    """What `medgan-qa train` needs: the trainable names with their titles, and the two functions."""
    from reference_models.recipes import names, recipe
    from reference_models.training import train

    return {"names": names(), "recipe": recipe, "train": train}
