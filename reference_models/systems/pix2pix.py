"""pix2pix (Isola et al. 2017): paired translation by a conditional GAN with an L1 content term."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import l1_loss, mse_loss

from reference_models.data import Batch
from reference_models.networks.patchgan import PatchDiscriminator
from reference_models.networks.resnet import ResNetTranslator
from reference_models.networks.unet import UNetTranslator
from reference_models.systems.base import System, trainable


class Pix2Pix(System):
    """A translator and a conditional discriminator.

    min_G max_D  gan_weight * (E[log D(x, y)] + E[log(1 - D(x, G(x)))]) + l1_weight * E|y - G(x)|, with the
    non-saturating generator loss. Without the adversarial term the discriminator stays as it was initialised.

    Args:
        width: channels of the generator.
        depth: halvings of a U-Net generator.
        dropout: of a U-Net generator.
        d_width: channels of the discriminator.
        l1_weight: of the content term.
        gan_weight: of the adversarial term.
        least_squares: adversarial losses of Mao et al. 2017 in place of cross-entropies.
        scales: resolutions that the discriminator judges.
        lr: learning rate.
        d_lr: learning rate of the discriminator, where it has one of its own.
        blocks: with any, the generator is CycleGAN's, with that many residual blocks.
    """

    def __init__(
        self,
        *,
        width: int = 24,
        depth: int = 4,
        dropout: float = 0.0,
        d_width: int = 32,
        l1_weight: float = 100.0,
        gan_weight: float = 1.0,
        least_squares: bool = False,
        scales: int = 1,
        lr: float = 2e-4,
        d_lr: float | None = None,
        blocks: int = 0,
    ) -> None:
        super().__init__()
        if blocks:
            self.generator: nn.Module = ResNetTranslator(width=width, blocks=blocks)
            self.architecture, self.config = "resnet-translator", {"width": width, "blocks": blocks}
        else:
            self.generator = UNetTranslator(width=width, depth=depth, dropout=dropout)
            self.architecture, self.config = "unet-translator", {"width": width, "depth": depth}
        self.discriminator = PatchDiscriminator(channels=2, width=d_width, scales=scales)
        self.exported = self.generator
        self.l1_weight, self.gan_weight = l1_weight, gan_weight
        self.towards = _least_squares if least_squares else _cross_entropy
        self.optimizers = {
            "g": optim.Adam(self.generator.parameters(), lr=lr, betas=(0.5, 0.999)),
            "d": optim.Adam(self.discriminator.parameters(), lr=d_lr or lr, betas=(0.5, 0.999)),
        }

    def step(self, batch: Batch) -> dict[str, float]:
        """One discriminator update, then one generator update."""
        fake = self.generator(batch.source)
        content = l1_loss(fake, batch.target)
        losses = {"l1": content.item()}
        loss = self.l1_weight * content
        if self.gan_weight:
            losses["d"] = self._judge(batch, fake.detach())
            trainable(self.discriminator, yes=False)
            logits = self.discriminator(torch.cat([batch.source, fake], 1))
            adversarial = self.towards(logits, 1.0)
            losses["g"] = adversarial.item()
            loss = loss + self.gan_weight * adversarial
        self.optimizers["g"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers["g"].step()
        return losses

    def _judge(self, batch: Batch, fake: Tensor) -> float:
        """One discriminator update on the pairs of a batch and on the translations of it."""
        trainable(self.discriminator, yes=True)
        real_logits = self.discriminator(torch.cat([batch.source, batch.target], 1))
        fake_logits = self.discriminator(torch.cat([batch.source, fake], 1))
        loss = 0.5 * (self.towards(real_logits, 1.0) + self.towards(fake_logits, 0.0))
        self.optimizers["d"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers["d"].step()
        return float(loss.item())


def _cross_entropy(logits: Tensor, label: float) -> Tensor:
    return bce(logits, torch.full_like(logits, label))


def _least_squares(logits: Tensor, label: float) -> Tensor:
    """Mao et al. 2017."""
    return mse_loss(logits, torch.full_like(logits, label))
