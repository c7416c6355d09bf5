"""The Inception network that the Frechet Inception distance is defined by, through torch-fidelity.

Heusel et al. 2017 define FID on the pool features of TensorFlow's Inception of 2015-12-05, read from 8-bit images. The
network, its resizing and its weights are torch-fidelity's, which reproduces TensorFlow's numbers; a Frechet distance of
these features, and of no others, is called FID.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from medgan_qa.features.network import TorchExtractor
from medgan_qa.features.preprocessing import GREY, three_channels
from medgan_qa.features.weights import STANDARD, require
from medgan_qa.subjects.exported import nothing_unpickled_but_tensors

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn

FID_EXTRACTOR = "inception"
"""The name of the one extractor whose Frechet distance is FID."""
FEATURES = "2048"
"""torch-fidelity's name of the pool features."""
PREPROCESSING: dict[str, Any] = {
    "input": "unit range, clipped to [0, 1] and quantised to 8 bit (round(255 x), ties to even), as FID is defined "
    "on 8-bit images",
    "channels": GREY,
    "resize": "bilinear as in TensorFlow 1 (not antialiased, corners not aligned), to 299 x 299; no crop, aspect not "
    "kept",
    "normalisation": "(v - 128) / 128 of the 8-bit value v",
}


def inception(device: str = "cpu") -> TorchExtractor:
    """FID's network: 2048 features.

    Raises:
        MissingDependencyError: its weights are not on this machine.
        IntegrityError: the weights are another file.
        ConfigurationError: no such device.
    """
    found = require(STANDARD["inception"])
    network = _network(found.path)
    return TorchExtractor(
        network,
        lambda x: network(eight_bit(x))[0],
        name=FID_EXTRACTOR,
        version=f"torch-fidelity {version('torch-fidelity')}, {found.path.name}",
        digest=found.digest,
        preprocessing=dict(PREPROCESSING),
        device=device,
    )


def eight_bit(x: Tensor) -> Tensor:
    """Unit range (N, 1 or 3, H, W) to uint8 (N, 3, H, W); values k / 255 come back as k exactly."""
    import torch

    return (three_channels(x).clamp(0, 1) * 255).round().to(torch.uint8)


def _network(path: Path) -> nn.Module:
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    # torch-fidelity reads the file with `weights_only=False`; here it is held to tensors all the same.
    with nothing_unpickled_but_tensors(), torch.random.fork_rng(devices=[]):
        module: nn.Module = FeatureExtractorInceptionV3("inception-v3-compat", [FEATURES], str(path))
    return module
