"""A small feature network for brain phantoms: what a classifier and regressor of them has learnt to look at."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.functional import interpolate


class PhantomNet(nn.Module):
    """(N, 1, H, W) in [-1, 1], H and W at least 32, to two numbers: tumour logit, and standardised age.

    Images are first brought to the resolution of the training images (shorter side `size`, bilinear, with an
    anti-aliasing filter when made smaller), as Inception's users do.

    Args:
        width: channels at full resolution; they double per halving.
        size: pixels of the shorter side that the network works at.
        features: length of the feature vector.
    """

    SMALLEST = 32

    def __init__(self, width: int = 16, size: int = 64, features: int = 128) -> None:
        super().__init__()
        self.size = size
        self.body = nn.Sequential(
            _layer(1, width, 1),
            _layer(width, 2 * width, 2),
            _layer(2 * width, 2 * width, 1),
            _layer(2 * width, 4 * width, 2),
            _layer(4 * width, 4 * width, 1),
            _layer(4 * width, features, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.head = nn.Linear(features, 2)

    def features(self, x: Tensor) -> Tensor:
        """Penultimate layer, averaged over positions: (N, features).

        Raises:
            ValueError: an image is smaller than 32 pixels on a side.
        """
        shorter = min(x.shape[-2:])
        if shorter < self.SMALLEST:
            raise ValueError(f"images must measure at least {self.SMALLEST} pixels on each side, not {shorter}")
        if shorter != self.size:
            size = [round(side * self.size / shorter) for side in x.shape[-2:]]
            x = interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        out: Tensor = self.body(x)
        return out

    def forward(self, x: Tensor) -> Tensor:
        """Tumour logit and standardised age of a batch, (N, 2)."""
        out: Tensor = self.head(self.features(x))
        return out


def _layer(inner: int, outer: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inner, outer, 3, stride, 1, bias=False), nn.BatchNorm2d(outer), nn.LeakyReLU(0.1, inplace=True)
    )
