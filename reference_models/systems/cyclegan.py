"""CycleGAN (Zhu et al. 2017): unpaired translation, least-squares adversarial losses and a cycle in both directions."""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch import Tensor, optim
from torch.nn.functional import l1_loss, mse_loss

from medgan_qa import rng
from reference_models.data import Batch
from reference_models.networks.patchgan import PatchDiscriminator
from reference_models.networks.resnet import ResNetTranslator
from reference_models.systems.base import System, trainable


class HistoryPool:
    """Earlier outputs, half of which stand in for new ones before the discriminator (Shrivastava et al. 2017)."""

    def __init__(self, capacity: int, name: str) -> None:
        self.capacity, self.name = capacity, name
        self.images: list[Tensor] = []
        self.draws = 0

    def exchange(self, fresh: Tensor) -> Tensor:
        """Give back as many images as came in, some of them old; (N, C, H, W)."""
        out = []
        for image in fresh.detach():
            g = rng.child(self.draws, "history", self.name)
            self.draws += 1
            if len(self.images) < self.capacity:
                self.images.append(image)
                out.append(image)
            elif g.random() < 0.5:
                k = int(g.integers(self.capacity))
                out.append(self.images[k])
                self.images[k] = image
            else:
                out.append(image)
        return torch.stack(out)


class CycleGAN(System):
    """Both directions, both discriminators; the source-to-target generator is what is exported."""

    def __init__(
        self,
        *,
        width: int = 32,
        blocks: int = 4,
        d_width: int = 32,
        scales: int = 1,
        cycle_weight: float = 5.0,
        identity_weight: float = 0.0,
        g_lr: float = 4e-4,
        d_lr: float = 8e-4,
        history: int = 50,
    ) -> None:
        super().__init__()
        self.forward_generator = ResNetTranslator(width=width, blocks=blocks)
        self.backward_generator = ResNetTranslator(width=width, blocks=blocks)
        self.target_critic = PatchDiscriminator(width=d_width, scales=scales)
        self.source_critic = PatchDiscriminator(width=d_width, scales=scales)
        self.exported = self.forward_generator
        self.architecture, self.config = "resnet-translator", {"width": width, "blocks": blocks}
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        self.history = {"target": HistoryPool(history, "target"), "source": HistoryPool(history, "source")}
        generators = itertools.chain(self.forward_generator.parameters(), self.backward_generator.parameters())
        critics = itertools.chain(self.target_critic.parameters(), self.source_critic.parameters())
        self.optimizers = {
            "g": optim.Adam(generators, lr=g_lr, betas=(0.5, 0.999)),
            "d": optim.Adam(critics, lr=d_lr, betas=(0.5, 0.999)),
        }

    def step(self, batch: Batch) -> dict[str, float]:
        """One update of both generators, then one of both discriminators."""
        x, y = batch.source, batch.target
        trainable(self.target_critic, yes=False)
        trainable(self.source_critic, yes=False)
        fake_y, fake_x = self.forward_generator(x), self.backward_generator(y)
        adversarial = _towards(self.target_critic(fake_y), 1.0) + _towards(self.source_critic(fake_x), 1.0)
        cycle = l1_loss(self.backward_generator(fake_y), x) + l1_loss(self.forward_generator(fake_x), y)
        loss = adversarial + self.cycle_weight * cycle
        if self.identity_weight:
            identity = l1_loss(self.forward_generator(y), y) + l1_loss(self.backward_generator(x), x)
            loss = loss + self.cycle_weight * self.identity_weight * identity
        self.optimizers["g"].zero_grad(set_to_none=True)
        loss.backward()
        self.optimizers["g"].step()

        trainable(self.target_critic, yes=True)
        trainable(self.source_critic, yes=True)
        old_y, old_x = self.history["target"].exchange(fake_y), self.history["source"].exchange(fake_x)
        d_loss = 0.5 * (_towards(self.target_critic(y), 1.0) + _towards(self.target_critic(old_y), 0.0))
        d_loss = d_loss + 0.5 * (_towards(self.source_critic(x), 1.0) + _towards(self.source_critic(old_x), 0.0))
        self.optimizers["d"].zero_grad(set_to_none=True)
        d_loss.backward()
        self.optimizers["d"].step()
        return {"d": d_loss.item(), "g": adversarial.item(), "cycle": cycle.item()}

    def extra_state(self) -> dict[str, Any]:
        """The two pools of earlier outputs."""
        return {k: {"draws": torch.tensor(p.draws), "images": p.images} for k, p in self.history.items()}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """Put the two pools back."""
        for k, pool in self.history.items():
            pool.draws, pool.images = int(state[k]["draws"]), list(state[k]["images"])


def _towards(logits: Tensor, label: float) -> Tensor:
    """Least-squares adversarial loss (Mao et al. 2017)."""
    return mse_loss(logits, torch.full_like(logits, label))
