"""PatchGAN discriminator (Isola et al. 2017): one logit a patch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """(N, C, H, W) in [-1, 1] to patch logits (N, scales, H', W').

    With more than one scale, a discriminator of its own sees the image at each halving (Wang et al. 2018, pix2pixHD):
    noise is averaged out there, so what is left to tell real from translated is structure. Coarser logits are repeated
    to the grid of the finest, so every scale weighs the same in a mean over logits.

    Args:
        channels: input channels (for a conditional discriminator, those of condition and image together).
        width: channels of the first layer.
        layers: strided layers.
        spectral: bound every layer's Lipschitz constant (Miyato et al. 2018).
        scales: how many resolutions are judged.
    """

    def __init__(
        self, channels: int = 1, width: int = 32, layers: int = 2, *, spectral: bool = True, scales: int = 1
    ) -> None:
        super().__init__()
        self.stacks = nn.ModuleList(_stack(channels, width, layers, spectral=spectral) for _ in range(scales))

    def forward(self, x: Tensor) -> Tensor:
        """Patch logits of a batch."""
        logits: list[Tensor] = []
        for stack in self.stacks:
            judged = stack(x)
            logits.append(judged if not logits else interpolate(judged, size=logits[0].shape[-2:]))
            x = avg_pool2d(x, 2)
        return torch.cat(logits, dim=1)


def _stack(channels: int, width: int, layers: int, *, spectral: bool) -> nn.Sequential:
    wrap: Callable[[nn.Module], nn.Module] = spectral_norm if spectral else lambda module: module
    stack: list[nn.Module] = [wrap(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
    for k in range(1, layers):
        stack += [wrap(nn.Conv2d(width * 2 ** (k - 1), width * 2**k, 4, 2, 1)), nn.LeakyReLU(0.2)]
    last = width * 2 ** (layers - 1)
    stack += [wrap(nn.Conv2d(last, 2 * last, 3, 1, 1)), nn.LeakyReLU(0.2), wrap(nn.Conv2d(2 * last, 1, 3, 1, 1))]
    return nn.Sequential(*stack)
