"""The feature network for phantoms: trained to tell what was drawn of a slice, from its image."""

from __future__ import annotations

from torch import Tensor, nn, optim
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import mse_loss

from reference_models.data import FACTS, Batch
from reference_models.networks.phantom_net import PhantomNet
from reference_models.systems.base import System

AGE_YEARS = (55.0, 16.0)
"""Mean and standard deviation by which ages are standardised: those that phantom patients are drawn from."""
SIDE_FACTS = {
    "male": (0.5, 0.5),
    "level_mm": (21.0, 11.0),
    "ventricles": (0.12, 0.13),
    "atrophy": (0.25, 0.18),
    "lesion_radius_mm": (7.0, 8.0),
}
"""Facts that only steer the training, with the mean and the standard deviation that bring them to unit scale."""


class PhantomFacts(System):
    """Tumour (cross-entropy) and age (squared error), and facts beside them that make the features describe anatomy.

    Args:
        width: channels of the network at full resolution.
        side_weight: weight of the facts that the exported network does not tell.
        lr: learning rate.
    """

    def __init__(self, *, width: int = 16, side_weight: float = 0.5, lr: float = 3e-3) -> None:
        super().__init__()
        self.network = PhantomNet(width=width)
        self.side_head = nn.Linear(self.network.head.in_features, len(SIDE_FACTS))
        self.exported = self.network
        self.architecture, self.config = "phantom-net", {"width": width}
        self.side_weight = side_weight
        learnt = [*self.network.parameters(), *self.side_head.parameters()]
        self.optimizers = {"g": optim.AdamW(learnt, lr=lr, weight_decay=1e-3)}

    def step(self, batch: Batch) -> dict[str, float]:
        """One update."""
        features = self.network.features(batch.target)
        logit, age = self.network.head(features).unbind(1)
        tumour = bce(logit, _fact(batch, "tumour"))
        ageing = mse_loss(age, _fact(batch, "age_years", *AGE_YEARS))
        side = sum(
            (mse_loss(told, _fact(batch, name, *scale)) for told, (name, scale) in self._told(features)),
            start=features.new_zeros(()),
        )
        self.optimizers["g"].zero_grad(set_to_none=True)
        (tumour + ageing + self.side_weight * side).backward()
        self.optimizers["g"].step()
        return {"tumour": tumour.item(), "age": ageing.item(), "side": side.item()}

    def _told(self, features: Tensor) -> zip[tuple[Tensor, tuple[str, tuple[float, float]]]]:
        return zip(self.side_head(features).unbind(1), SIDE_FACTS.items(), strict=True)


def _fact(batch: Batch, name: str, mean: float = 0.0, deviation: float = 1.0) -> Tensor:
    """One column of the facts, standardised; (N,)."""
    return (batch.facts[:, FACTS.index(name)] - mean) / deviation
