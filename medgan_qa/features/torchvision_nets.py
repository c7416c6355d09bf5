"""Classification networks of torchvision with their default weights, read before their last layer."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from medgan_qa.errors import IntegrityError
from medgan_qa.features.network import TorchExtractor
from medgan_qa.features.preprocessing import ImagePreparation
from medgan_qa.features.weights import TORCHVISION, Located, require, weights

if TYPE_CHECKING:
    from torch import Tensor, nn

OLD_DENSENET = re.compile(r"(.*denselayer\d+\.(?:norm|relu|conv))\.(\d\..*)")
"""DenseNet's files write `norm.1.weight` for what the network has called `norm1.weight` since torch 0.4."""


def torchvision_extractor(model: str, device: str = "cpu") -> TorchExtractor:
    """Features of a torchvision classification model, with the weights that torchvision calls DEFAULT.

    Args:
        model: torchvision's name, such as `resnet50`.
        device: where to run.

    Raises:
        ConfigurationError: torchvision has no classification model of that name; no such device.
        MissingDependencyError: its weights are not on this machine.
        IntegrityError: the weights are another file, or do not fit the network.
    """
    found = require(weights(TORCHVISION + model))
    preparation, default = _preparation(model)
    network = _without_head(_filled(model, preparation.size, found))
    return TorchExtractor(
        network,
        lambda x: network(preparation(x)),
        name=TORCHVISION + model,
        version=f"torchvision {version('torchvision')}, {default}",
        digest=found.digest,
        preprocessing=preparation.as_dict(),
        device=device,
    )


def _preparation(model: str) -> tuple[ImagePreparation, str]:
    """How torchvision evaluates these weights (size, interpolation, normalisation), and what it calls them."""
    from torchvision import models

    default = models.get_model_weights(model).DEFAULT
    own = default.transforms()
    preparation = ImagePreparation(own.crop_size[0], own.interpolation.value, mean=tuple(own.mean), std=tuple(own.std))
    return preparation, f"{type(default).__name__}.{default.name}"


def _filled(model: str, size: int, found: Located) -> nn.Module:
    import torch
    from torchvision import models

    with torch.random.fork_rng(devices=[]):
        network: nn.Module = models.get_model(model, weights=None, **_options(model, size))
    stored = torch.load(found.path, map_location="cpu", weights_only=True)
    try:
        network.load_state_dict(_modern(model, stored))
    except RuntimeError as error:
        raise IntegrityError(
            f"The weights of {TORCHVISION}{model} do not fit the network.",
            expected=f"the tensors of torchvision {version('torchvision')}'s {model}",
            found=" ".join(str(error).split())[:300],
            where=found.path,
            todo="Install the release of torchvision that the file belongs to.",
        ) from error
    return network


def _options(model: str, size: int) -> dict[str, Any]:
    """What torchvision's builders set by themselves where they fetch the weights."""
    if model in ("inception_v3", "googlenet"):
        return {"transform_input": True, "aux_logits": True, "init_weights": False}
    if model.startswith("vit_"):
        return {"image_size": size}
    return {"init_weights": False} if model.startswith("vgg") else {}


def _modern(model: str, stored: dict[str, Tensor]) -> dict[str, Tensor]:
    if not model.startswith("densenet"):
        return stored
    return {OLD_DENSENET.sub(r"\1\2", key): value for key, value in stored.items()}


def _without_head(network: nn.Module) -> nn.Module:
    """The network without the layer that gives the 1000 classes: what comes out is what went into that layer.

    SqueezeNet classifies with a convolution and averages after it; its features are the averages of what it reads.
    """
    from torch import nn

    last = [
        name
        for name, layer in network.named_modules()
        if 1000 in (getattr(layer, "out_features", None), getattr(layer, "out_channels", None))
    ][-1]
    network.set_submodule(last, nn.Identity())
    return network
