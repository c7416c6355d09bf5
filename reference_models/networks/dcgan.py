"""Generator and discriminator of a DCGAN (Radford et al. 2016); no sample depends on the batch that it is drawn in."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv_transpose2d, pad


class PixelNorm(nn.Module):
    """Scale each pixel's feature vector to unit mean square (Karras et al. 2018)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-8)


class ResizeConv(nn.Module):
    """Nearest-neighbour doubling, then a 3 x 3 convolution, in one pass: (N, C_in, H, W) to (N, C_out, 2 H, 2 W).

    A kernel of 3 x 3 over doubled pixels is one of 4 x 4 with stride 2 over the pixels themselves (Karras et al. 2019,
    the fused scaling of StyleGAN). All four output pixels of an input pixel share their weights, so that there is no
    checkerboard to begin with (Odena et al. 2016), at the cost of a transposed convolution.
    """

    def __init__(self, inner: int, outer: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outer, inner, 3, 3))
        self.bias = nn.Parameter(torch.zeros(outer))
        nn.init.kaiming_normal_(self.weight, a=0.2)

    def forward(self, x: Tensor) -> Tensor:
        """Double and convolve a batch."""
        # A convolution is a correlation and its transpose is not: the kernel is turned round.
        w = pad(self.weight.flip(2, 3).transpose(0, 1), (1, 1, 1, 1))
        fused = w[..., 1:, 1:] + w[..., 1:, :-1] + w[..., :-1, 1:] + w[..., :-1, :-1]
        return conv_transpose2d(x, fused, self.bias, stride=2, padding=1)


class DCGANGenerator(nn.Module):
    """Latent vectors (N, latent_dim), standard normal, to images (N, channels_out, size, size) in [-1, 1].

    Against the original, doublings with convolutions take the place of transposed convolutions (no checkerboard), and
    pixel normalisation that of batch normalisation (an image depends on its own latent vector alone).

    Args:
        latent_dim: length of a latent vector.
        size: pixels along each side, a power of two of at least 8.
        width: channels at half resolution; they double per level down to 4 x 4, up to 8 * width.
        channels_out: channels of the image.
    """

    def __init__(self, latent_dim: int = 64, size: int = 64, width: int = 32, channels_out: int = 1) -> None:
        super().__init__()
        channels = _channels(size, width)[::-1]
        self.first = channels[0]
        self.stem = nn.Linear(latent_dim, 16 * self.first)
        self.act = nn.Sequential(nn.LeakyReLU(0.2), PixelNorm())
        self.up = nn.Sequential(
            *(
                nn.Sequential(ResizeConv(a, b), nn.LeakyReLU(0.2), PixelNorm())
                for a, b in zip(channels, [*channels[1:], max(width // 2, 1)], strict=True)
            )
        )
        self.head = nn.Sequential(nn.Conv2d(max(width // 2, 1), channels_out, 3, padding=1), nn.Tanh())
        self.apply(_initialise)

    def forward(self, z: Tensor) -> Tensor:
        """Images of a batch of latent vectors."""
        x = self.act(self.stem(z).reshape(len(z), self.first, 4, 4))
        out: Tensor = self.head(self.up(x))
        return out


class DCGANDiscriminator(nn.Module):
    """Images (N, C, size, size) to one logit each, (N, 1).

    The last map is joined by the spread of features over groups of four images (Karras et al. 2018), from which a batch
    of look-alikes is told; the generator never sees it.

    Args:
        size: pixels along each side, a power of two of at least 8.
        width: channels after the first halving.
        channels: of the image.
        spread: join the minibatch standard deviation.
    """

    def __init__(self, size: int = 64, width: int = 32, channels: int = 1, *, spread: bool = True) -> None:
        super().__init__()
        sizes = _channels(size, width)
        self.spread = spread
        self.down = nn.Sequential(
            *(
                nn.Sequential(nn.Conv2d(a, b, 4, 2, 1), nn.LeakyReLU(0.2))
                for a, b in zip([channels, *sizes], sizes, strict=False)
            )
        )
        last = sizes[-1]
        self.head = nn.Sequential(
            nn.Conv2d(last + int(spread), last, 3, padding=1), nn.LeakyReLU(0.2), nn.Flatten(), nn.Linear(16 * last, 1)
        )
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Logits of a batch; positive means real."""
        y = self.down(x)
        out: Tensor = self.head(_with_spread(y) if self.spread else y)
        return out


def _channels(size: int, width: int) -> list[int]:
    """Channels per level from half resolution down to 4 x 4."""
    levels = int(math.log2(size)) - 2
    if levels < 1 or size != 4 * 2**levels:
        raise ValueError(f"size must be a power of two of at least 8, not {size}")
    return [min(width * 2**k, 8 * width) for k in range(levels)]


def _with_spread(y: Tensor) -> Tensor:
    """Append a plane with the standard deviation over groups of four images, averaged over features and pixels."""
    n, _, height, width = y.shape
    group = math.gcd(n, 4)
    grouped = y.reshape(group, n // group, -1)
    spread = torch.sqrt(grouped.var(dim=0, unbiased=False) + 1e-8).mean(dim=1)
    plane = spread.repeat(group).reshape(n, 1, 1, 1).expand(n, 1, height, width)
    return torch.cat([y, plane], dim=1)


def _initialise(module: nn.Module) -> None:
    """Variance-preserving normal weights (He et al. 2015), zero biases."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, a=0.2)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
