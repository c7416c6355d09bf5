"""pix2pix (Isola et al. 2017): paired translation by a conditional GAN with an L1 content term."""

from __future__ import annotations

import torch
from torch import optim
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import l1_loss

from reference_models.data import Batch
from reference_models.networks.patchgan import PatchDiscriminator
from reference_models.networks.unet import UNetTranslator
from reference_models.systems.base import System, trainable


class Pix2Pix(System):
    """A translator and a conditional discriminator.

    min_G max_D  E[log D(x, y)] + E[log(1 - D(x, G(x)))] + weight * E|y - G(x)|, with the non-saturating generator loss.
    """

    def __init__(
        self,
        *,
        width: int = 24,
        depth: int = 4,
        dropout: float = 0.0,
        d_width: int = 32,
        l1_weight: float = 100.0,
        lr: float = 2e-4,
    ) -> None:
        super().__init__()
        self.generator = UNetTranslator(width=width, depth=depth, dropout=dropout)
        self.discriminator = PatchDiscriminator(channels=2, width=d_width)
        self.exported = self.generator
        self.architecture, self.config = "unet-translator", {"width": width, "depth": depth}
        self.l1_weight = l1_weight
        self.optimizers = {
            "g": optim.Adam(self.generator.parameters(), lr=lr, betas=(0.5, 0.999)),
            "d": optim.Adam(self.discriminator.parameters(), lr=lr, betas=(0.5, 0.999)),
        }

    def step(self, batch: Batch) -> dict[str, float]:
        """One discriminator update, then one generator update."""
        fake = self.generator(batch.source)

        trainable(self.discriminator, yes=True)
        real_logits = self.discriminator(torch.cat([batch.source, batch.target], 1))
        fake_logits = self.discriminator(torch.cat([batch.source, fake.detach()], 1))
        d_loss = 0.5 * (
            bce(real_logits, torch.ones_like(real_logits)) + bce(fake_logits, torch.zeros_like(fake_logits))
        )
        self.optimizers["d"].zero_grad(set_to_none=True)
        d_loss.backward()
        self.optimizers["d"].step()

        trainable(self.discriminator, yes=False)
        logits = self.discriminator(torch.cat([batch.source, fake], 1))
        adversarial, content = bce(logits, torch.ones_like(logits)), l1_loss(fake, batch.target)
        self.optimizers["g"].zero_grad(set_to_none=True)
        (adversarial + self.l1_weight * content).backward()
        self.optimizers["g"].step()
        return {"d": d_loss.item(), "g": adversarial.item(), "l1": content.item()}
