"""U-Net for image-to-image translation (Isola et al. 2017, pix2pix) and for segmentation (Ronneberger et al. 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class _Down(nn.Sequential):
    def __init__(self, inner: int, outer: int, *, norm: bool) -> None:
        layers: list[nn.Module] = [nn.Conv2d(inner, outer, 4, 2, 1, bias=not norm)]
        if norm:
            layers.append(nn.BatchNorm2d(outer))
        layers.append(nn.LeakyReLU(0.2))
        super().__init__(*layers)


class _Up(nn.Sequential):
    def __init__(self, inner: int, outer: int, *, dropout: float) -> None:
        super().__init__(
            nn.ConvTranspose2d(inner, outer, 4, 2, 1, bias=False),
            nn.BatchNorm2d(outer),
            nn.Dropout2d(dropout),
            nn.ReLU(),
        )


class UNetTranslator(nn.Module):
    """pix2pix generator: (N, C_in, H, W) in [-1, 1] to (N, C_out, H, W) in [-1, 1]; H and W multiples of 2**depth.

    Args:
        channels_in: input channels.
        channels_out: output channels.
        width: channels of the first level; they double per level up to 8 * width.
        depth: number of halvings.
        dropout: of the inner half of the decoder, in training only.
    """

    def __init__(
        self, channels_in: int = 1, channels_out: int = 1, width: int = 24, depth: int = 4, dropout: float = 0.0
    ) -> None:
        super().__init__()
        sizes = [min(width * 2**k, 8 * width) for k in range(depth)]
        self.stem = nn.Sequential(nn.Conv2d(channels_in, width, 3, padding=1), nn.LeakyReLU(0.2))
        self.down = nn.ModuleList(
            _Down(inner, outer, norm=k > 0)
            for k, (inner, outer) in enumerate(zip([width, *sizes], sizes, strict=False))
        )
        outs = [width, *sizes[:-1]]
        self.up = nn.ModuleList(
            _Up(sizes[k] * (1 if k == depth - 1 else 2), outs[k], dropout=dropout if k >= depth // 2 else 0.0)
            for k in reversed(range(depth))
        )
        self.head = nn.Sequential(nn.Conv2d(2 * width, channels_out, 3, padding=1), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        levels = [self.stem(x)]
        for down in self.down:
            levels.append(down(levels[-1]))
        y = levels.pop()
        for up in self.up:
            y = torch.cat([up(y), levels.pop()], dim=1)
        out: Tensor = self.head(y)
        return out


class _Double(nn.Sequential):
    def __init__(self, inner: int, outer: int) -> None:
        super().__init__(
            nn.Conv2d(inner, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
        )


class UNetSegmenter(nn.Module):
    """Lesion segmenter: (N, 1, H, W) in its declared range to lesion logits (N, 1, H, W); any H and W (padded inside).

    Args:
        width: channels of the first level, doubled per level.
        depth: number of halvings.
    """

    def __init__(self, width: int = 12, depth: int = 3) -> None:
        super().__init__()
        sizes = [width * 2**k for k in range(depth + 1)]
        self.depth = depth
        self.encode = nn.ModuleList(_Double(a, b) for a, b in zip([1, *sizes], sizes, strict=False))
        self.decode = nn.ModuleList(_Double(sizes[k + 1] + sizes[k], sizes[k]) for k in reversed(range(depth)))
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Lesion logits of a batch."""
        height, width = x.shape[-2:]
        multiple = 2**self.depth
        x = nn.functional.pad(x, (0, -width % multiple, 0, -height % multiple), mode="replicate")
        levels = []
        for k, block in enumerate(self.encode):
            x = block(self.pool(x) if k else x)
            levels.append(x)
        y = levels.pop()
        for block in self.decode:
            skip = levels.pop()
            y = nn.functional.interpolate(y, size=skip.shape[-2:], mode="nearest")
            y = block(torch.cat([y, skip], dim=1))
        out: Tensor = self.head(y)[..., :height, :width]
        return out
