"""PatchGAN discriminator (Isola et al. 2017): one logit a patch."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class PatchDiscriminator(nn.Module):
    """(N, C, H, W) in [-1, 1] to patch logits (N, 1, H', W').

    Args:
        channels: input channels (for a conditional discriminator, those of condition and image together).
        width: channels of the first layer.
        layers: strided layers.
        spectral: bound every layer's Lipschitz constant (Miyato et al. 2018) instead of normalising activations.
    """

    def __init__(self, channels: int = 1, width: int = 32, layers: int = 2, *, spectral: bool = True) -> None:
        super().__init__()
        wrap: Callable[[nn.Module], nn.Module] = spectral_norm if spectral else lambda module: module
        stack: list[nn.Module] = [wrap(nn.Conv2d(channels, width, 4, 2, 1)), nn.LeakyReLU(0.2)]
        for k in range(1, layers):
            stack += [wrap(nn.Conv2d(width * 2 ** (k - 1), width * 2**k, 4, 2, 1)), nn.LeakyReLU(0.2)]
        last = width * 2 ** (layers - 1)
        stack += [wrap(nn.Conv2d(last, 2 * last, 3, 1, 1)), nn.LeakyReLU(0.2), wrap(nn.Conv2d(2 * last, 1, 3, 1, 1))]
        self.stack = nn.Sequential(*stack)

    def forward(self, x: Tensor) -> Tensor:
        """Patch logits of a batch."""
        out: Tensor = self.stack(x)
        return out
