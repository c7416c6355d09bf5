"""Extractors that are networks: by name, by torchvision's name, by file."""

from __future__ import annotations

from pathlib import Path

from medgan_qa.errors import ConfigurationError
from medgan_qa.features.network import NetworkExtractor
from medgan_qa.features.weights import STANDARD, TORCHVISION, find, torchvision_here

_ABOUT = {
    "inception": "FID's Inception network of 2015, 2048 features",
    "efficientnet-lite0": "EfficientNet-Lite0 of ImageNet, 1280 features",
}


def deep_extractor(name: str, device: str = "cpu") -> NetworkExtractor:
    """The extractor called `name`, its weights found and checked. Nothing is downloaded.

    Args:
        name: `inception`, `efficientnet-lite0`, `torchvision:NAME`, or the path of a network's file.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`.

    Raises:
        ConfigurationError: nothing of that name; no such device.
        MissingDependencyError: its weights are not on this machine.
        IntegrityError: its weights are another file than they should be.
        ModelError: the network's file cannot be used.
    """
    # Each is imported where it is named: an audit with embedded extractors starts without torchvision.
    if name == "inception":
        from medgan_qa.features.inception import inception

        return inception(device)
    if name == "efficientnet-lite0":
        from medgan_qa.features.efficientnet import efficientnet_lite0

        return efficientnet_lite0(device)
    if name.startswith(TORCHVISION):
        from medgan_qa.features.torchvision_nets import torchvision_extractor

        return torchvision_extractor(name.removeprefix(TORCHVISION), device)
    return _of_file(name, device)


def _of_file(name: str, device: str) -> NetworkExtractor:
    if not Path(name).suffix and "/" not in name:
        raise ConfigurationError(
            "There is no network extractor of that name.",
            expected=f"{', '.join(_ABOUT)}, {TORCHVISION}NAME, or the path of a network's file",
            found=name,
            todo="`medgan-qa list extractors` shows what there is.",
        )
    from medgan_qa.features.scripted import FileExtractor

    return FileExtractor(Path(name), device)


def deep_extractors() -> dict[str, tuple[bool, str]]:
    """What there is: name -> (whether its weights are on this machine, one line about it)."""
    listed = {name: _entry(name, about) for name, about in _ABOUT.items()}
    listed |= {name: (True, f"torchvision's network, weights {w.file} here") for name, w in torchvision_here().items()}
    listed[TORCHVISION + "NAME"] = (
        False,
        f"any other classification network of torchvision: `medgan-qa weights fetch {TORCHVISION}NAME`",
    )
    return listed


def _entry(name: str, about: str) -> tuple[bool, str]:
    path = find(STANDARD[name])
    if path is None:
        return False, f"{about}; weights not on this machine: {STANDARD[name].remedy}"
    return True, f"{about}; weights at {path}"
