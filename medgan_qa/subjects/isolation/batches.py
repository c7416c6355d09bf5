"""Batches that fit: how many images a network can take at once is found out, not asked for."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np

from medgan_qa.errors import ModelError
from medgan_qa.rng import child_seed
from medgan_qa.subjects.isolation.limits import MB
from medgan_qa.subjects.networks import Float, Network, OutOfMemoryError

ROOM = 0.75
"""The share of the memory that a batch is planned to fill at most, as memory falls to pieces."""
MOST = 1024
"""Images that no audit gives at once."""
ONCE_MB = 256
"""What a runtime sets up at the first image and keeps, which further images do not take again."""


@runtime_checkable
class Measured(Network, Protocol):
    """A network that knows what an image takes."""

    @property
    def memory_mb(self) -> int:
        """What a batch has to fit into."""

    def measured(self, x: Float, seed: int) -> tuple[Float, int | None]:
        """Run it as a call does, and say how many bytes it took."""


class FittedNetwork:
    """A network whose batches are split where they do not fit into memory.

    The first image of each size is run by itself and measured. A batch that fits is given as it is; another is given in
    parts of a power of two, with a seed of its own each. Where memory runs out all the same, parts are halved, down to
    one image, and the batch is run again, so that what comes out depends on nothing but the batch, its seed and the
    size of the parts.

    Args:
        network: the network.
        facts: where the size is written down once a batch was split, under `batch`.
    """

    def __init__(self, network: Network, facts: dict[str, Any]) -> None:
        self.network, self.facts = network, facts
        self._most: dict[tuple[int, ...], int | None] = {}
        """Images at once by the shape of one; None for any number."""
        self._why: dict[tuple[int, ...], str] = {}

    def __call__(self, x: Float, seed: int) -> Float:
        """Run the network on a batch; `seed` fixes whatever is random inside.

        Raises:
            OutOfMemoryError: not even one image fits.
            ModelError: as the network says.
        """
        shape = x.shape[1:]
        if shape not in self._most and isinstance(self.network, Measured) and len(x):
            y = self._measure(self.network, x, seed)
            if y is not None:
                return y
        while True:
            try:
                return self._in_parts(x, seed, self._most.get(shape))
            except OutOfMemoryError:
                tried = min(len(x), self._most.get(shape) or len(x))
                if tried <= 1:
                    raise
                self._settle(shape, _power_below(tried), "memory ran out")

    def _measure(self, network: Measured, x: Float, seed: int) -> Float | None:
        """Find out what one image takes; the output where the batch is that image."""
        shape = x.shape[1:]
        self._most[shape] = None
        try:
            y, taken = network.measured(x[:1], seed)
        except ModelError:
            # It may take no batch of one, or no such images; the batch itself tells.
            return None
        if taken is not None:
            image = max(1, taken - ONCE_MB * MB)
            fits = int(ROOM * network.memory_mb * MB) // image
            if fits < MOST:
                self._settle(shape, _power_below(fits + 1), "measured with one image")
        return y if len(x) == 1 else None

    def _settle(self, shape: tuple[int, ...], size: int, why: str) -> None:
        self._most[shape], self._why[shape] = size, why

    def _in_parts(self, x: Float, seed: int, most: int | None) -> Float:
        if most is None or len(x) <= most:
            return self.network(x, seed)
        known: dict[str, str] = self.facts.setdefault("batch", {})
        known[" x ".join(map(str, x.shape[1:]))] = f"{most} at once ({self._why[x.shape[1:]]})"
        starts = range(0, len(x), most)
        return np.concatenate([self.network(x[k : k + most], child_seed(seed, "part", k)) for k in starts])


def _power_below(number: int) -> int:
    """The largest power of two below a number; 1 where there is none."""
    return 1 << max(0, (number - 1).bit_length() - 1)
