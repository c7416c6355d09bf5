"""What is done to an image in unit range before a network made for photographs reads it.

Every step is a choice that moves a distance between features (Parmar, Zhang and Zhu 2022 on resizing), so each
extractor carries its own in `preprocessing`, as data for the Record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from medgan_qa.errors import ConfigurationError

if TYPE_CHECKING:
    from torch import Tensor

GREY = "a single channel is repeated three times; three channels are taken as they are"


def three_channels(x: Tensor) -> Tensor:
    """(N, 1, H, W) or (N, 3, H, W) to (N, 3, H, W).

    Raises:
        ConfigurationError: any other number of channels.
    """
    if x.shape[1] not in (1, 3):
        raise ConfigurationError(
            "A network made for photographs cannot read these images.",
            expected="images of one channel (grey) or three",
            found=f"{x.shape[1]} channels",
            todo="Choose the radiomic or pixels extractor, or your own network (the path of a TorchScript file).",
        )
    return x.repeat(1, 3, 1, 1) if x.shape[1] == 1 else x


@dataclass(frozen=True)
class ImagePreparation:
    """Replicate channels, resize to a square, normalise; in floating point from end to end.

    The whole image is resized, without the centre crop of ImageNet's evaluation protocol: a crop would leave the rim of
    a medical image unseen. An image that is not square is therefore stretched. Nothing is clipped.

    Args:
        size: pixels of a side that the network is given.
        interpolation: `bilinear` or `bicubic`; antialiased where it shrinks, as Pillow does.
        mean: subtracted from each channel of the unit range.
        std: divided by thereafter.
    """

    size: int
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __call__(self, x: Tensor) -> Tensor:
        """(N, 1 or 3, H, W) in unit range to (N, 3, size, size), normalised."""
        import torch

        x = three_channels(x)
        if x.shape[-2:] != (self.size, self.size):
            x = torch.nn.functional.interpolate(
                x, size=(self.size, self.size), mode=self.interpolation, align_corners=False, antialias=True
            )
        mean, std = (torch.tensor(v, dtype=x.dtype, device=x.device)[:, None, None] for v in (self.mean, self.std))
        return (x - mean) / std

    def as_dict(self) -> dict[str, Any]:
        """The steps as JSON-able data."""
        return {
            "input": "unit range, float32, not clipped, not quantised",
            "channels": GREY,
            "resize": f"{self.interpolation}, antialiased, to {self.size} x {self.size}; no crop, aspect not kept",
            "mean": list(self.mean),
            "std": list(self.std),
        }
