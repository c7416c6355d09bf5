"""Residual generator of CycleGAN (Zhu et al. 2017; after Johnson et al. 2016), with sub-pixel upsampling."""

from __future__ import annotations

from torch import Tensor, nn


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(channels, affine=True),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(channels, affine=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class ResNetTranslator(nn.Module):
    """CycleGAN generator: (N, C_in, H, W) in [-1, 1] to (N, C_out, H, W) in [-1, 1]; H and W even.

    One halving, `blocks` residual blocks at half resolution, one sub-pixel doubling (Shi et al. 2016), which leaves no
    checkerboard.

    Args:
        channels_in: input channels.
        channels_out: output channels.
        width: channels at half resolution.
        blocks: residual blocks.
    """

    def __init__(self, channels_in: int = 1, channels_out: int = 1, width: int = 32, blocks: int = 4) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(channels_in, width // 2, 5, padding=2, padding_mode="reflect", bias=False),
            nn.InstanceNorm2d(width // 2, affine=True),
            nn.ReLU(),
            nn.Conv2d(width // 2, width, 4, stride=2, padding=1, bias=False),
            nn.InstanceNorm2d(width, affine=True),
            nn.ReLU(),
        )
        self.body = nn.Sequential(*(_Residual(width) for _ in range(blocks)))
        self.up = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.PixelShuffle(2),
            nn.InstanceNorm2d(width // 2, affine=True),
            nn.ReLU(),
            nn.Conv2d(width // 2, channels_out, 5, padding=2, padding_mode="reflect"),
            nn.Tanh(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Translate a batch."""
        out: Tensor = self.up(self.body(self.stem(x)))
        return out
