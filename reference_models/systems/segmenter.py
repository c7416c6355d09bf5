"""A lesion detector for the target domain: a U-Net trained on real target images, never on a translator's output."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import binary_cross_entropy_with_logits as bce

from reference_models.data import Batch
from reference_models.networks.unet import UNetSegmenter
from reference_models.systems.base import System


class Segmenter(System):
    """Cross-entropy plus soft Dice, with intensity and resolution jitter so that a changed style does not blind it."""

    def __init__(self, *, width: int = 12, depth: int = 3, lr: float = 2e-3) -> None:
        super().__init__()
        self.network = UNetSegmenter(width=width, depth=depth)
        self.exported = self.network
        self.architecture, self.config = "unet-segmenter", {"width": width, "depth": depth}
        self.optimizers = {"g": optim.AdamW(self.network.parameters(), lr=lr, weight_decay=1e-4)}

    def step(self, batch: Batch) -> dict[str, float]:
        """One update."""
        logits = self.network(jitter(batch.target))
        cross, dice = bce(logits, batch.target_mask), soft_dice_loss(logits, batch.target_mask)
        self.optimizers["g"].zero_grad(set_to_none=True)
        (cross + 0.5 * dice).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizers["g"].step()
        return {"bce": cross.item(), "dice": dice.item()}


def soft_dice_loss(logits: Tensor, mask: Tensor) -> Tensor:
    """1 - Dice over the whole batch (lesion-free images carry no Dice of their own)."""
    p = torch.sigmoid(logits)
    return 1 - (2 * (p * mask).sum() + 1) / (p.sum() + mask.sum() + 1)


def jitter(images: Tensor) -> Tensor:
    """Random gain, offset, exponent, blur and noise, per image; (N, 1, H, W) in [-1, 1]."""
    n, device = len(images), images.device
    gain, offset, gamma, blur, noise = torch.rand(5, n, 1, 1, 1, device=device)
    unit = ((images + 1) / 2).clamp(1e-4, 1) ** (0.8 + 0.5 * gamma)
    unit = unit * (0.85 + 0.3 * gain) + 0.06 * (offset - 0.5)
    smooth = nn.functional.avg_pool2d(nn.functional.pad(unit, (1, 1, 1, 1), mode="replicate"), 3, 1)
    unit = unit + (blur * (blur > 0.4)) * (smooth - unit)
    jittered: Tensor = (unit + 0.03 * noise * torch.randn_like(unit)) * 2 - 1
    return jittered
