"""What the training loop asks of a system."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from torch import nn, optim

from reference_models.data import Batch


class System(nn.Module):
    """Networks and optimisers that are trained together.

    `exported` is the network that leaves the training; the loop keeps its moving average and writes that, with the name
    under which `reference_models.architectures` knows it and the arguments that build it.
    """

    exported: nn.Module
    architecture: str
    config: dict[str, Any]
    optimizers: dict[str, optim.Optimizer]

    @abstractmethod
    def step(self, batch: Batch) -> dict[str, float]:
        """One update of everything; returns the losses, for the log and never as a measure of quality."""

    def extra_state(self) -> dict[str, Any]:
        """What a resumed run needs beside weights and optimisers."""
        return {}

    def load_extra_state(self, state: dict[str, Any]) -> None:
        """The opposite of `extra_state`."""


def trainable(net: nn.Module, *, yes: bool) -> None:
    """Freeze or thaw a network: the opponent is not updated while the other side learns."""
    for parameter in net.parameters():
        parameter.requires_grad_(yes)
