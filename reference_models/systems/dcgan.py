"""DCGAN (Radford et al. 2016): images from latent vectors, with an R1 penalty (Mescheder et al. 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn, optim
from torch.nn.functional import softplus

from reference_models.data import Batch
from reference_models.networks.dcgan import DCGANDiscriminator, DCGANGenerator
from reference_models.systems.base import System, trainable


class DCGAN(System):
    """A generator and a discriminator.

    The discriminator minimises E[softplus(-D(x))] + E[softplus(D(G(z)))] + gamma/2 E|grad D(x)|^2 over real x, the
    generator E[softplus(-D(G(z)))] (Goodfellow et al. 2014, the non-saturating variant).

    Args:
        latent_dim: length of a latent vector.
        size: pixels along each side of the training images.
        width: channels of the generator at half resolution.
        d_width: channels of the discriminator after the first halving.
        spread: show the discriminator the minibatch standard deviation.
        r1_gamma: weight of the penalty; 0 leaves it out.
        r1_every: steps between two evaluations of the penalty, whose weight grows by as much (Karras et al. 2020).
        g_lr: the generator's learning rate.
        d_lr: the discriminator's.
        beta1: Adam's first decay, of both.
    """

    calls: Tensor

    def __init__(
        self,
        *,
        latent_dim: int = 64,
        size: int = 64,
        width: int = 32,
        d_width: int = 32,
        spread: bool = True,
        r1_gamma: float = 5.0,
        r1_every: int = 4,
        g_lr: float = 4e-4,
        d_lr: float = 4e-4,
        beta1: float = 0.0,
    ) -> None:
        super().__init__()
        self.generator = DCGANGenerator(latent_dim=latent_dim, size=size, width=width)
        self.discriminator = DCGANDiscriminator(size=size, width=d_width, spread=spread)
        self.exported = self.generator
        self.architecture = "dcgan-generator"
        self.config = {"latent_dim": latent_dim, "size": size, "width": width}
        self.latent_dim, self.r1_gamma, self.r1_every = latent_dim, r1_gamma, r1_every
        self.optimizers = {
            "g": optim.Adam(self.generator.parameters(), lr=g_lr, betas=(beta1, 0.99)),
            "d": optim.Adam(self.discriminator.parameters(), lr=d_lr, betas=(beta1, 0.99)),
        }
        # In the state, so that a resumed run takes up the penalty's rhythm where it was.
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def step(self, batch: Batch) -> dict[str, float]:
        """One discriminator update, then one generator update on the same latent vectors."""
        real = batch.target
        fake = self.generator(torch.randn(len(real), self.latent_dim, device=real.device))

        trainable(self.discriminator, yes=True)
        real_logits, fake_logits = self.discriminator(real), self.discriminator(fake.detach())
        d_loss = softplus(-real_logits).mean() + softplus(fake_logits).mean()
        penalised = self.r1_gamma > 0 and int(self.calls) % self.r1_every == 0
        penalty = r1_penalty(self.discriminator, real) if penalised else torch.zeros((), device=real.device)
        self.optimizers["d"].zero_grad(set_to_none=True)
        (d_loss + self.r1_every * self.r1_gamma / 2 * penalty).backward()
        self.optimizers["d"].step()

        trainable(self.discriminator, yes=False)
        g_loss = softplus(-self.discriminator(fake)).mean()
        self.optimizers["g"].zero_grad(set_to_none=True)
        g_loss.backward()
        self.optimizers["g"].step()
        self.calls += 1
        return {
            "d": d_loss.item(),
            "g": g_loss.item(),
            "real_logit": real_logits.mean().item(),
            "fake_logit": fake_logits.mean().item(),
        }


def r1_penalty(discriminator: nn.Module, real: Tensor) -> Tensor:
    """Mean squared norm of the logit's gradient at real images (N, C, H, W); a scalar that can be differentiated."""
    x = real.detach().requires_grad_(True)
    (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3)).mean()
