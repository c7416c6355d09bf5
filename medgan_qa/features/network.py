"""What all extractors that are networks share: images in batches, float32 arithmetic, one device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.errors import ModelError
from medgan_qa.subjects.load import choose_device

if TYPE_CHECKING:
    from torch import Tensor, nn

Float = NDArray[np.float32]
BATCH = 32
"""Images that go through a network at once. The features of an image depend on it by rounding alone."""


class NetworkExtractor(ABC):
    """A network's features.

    Args:
        name: what it is called.
        version: of the code that runs it and of the weights, in words.
        digest: SHA-256 of the weights.
        preprocessing: what is done to an image before the network sees it, as JSON-able data.
        device: `cpu`, `cuda`, `cuda:N`, or `auto`.
        batch: images that go through the network at once.

    Raises:
        ConfigurationError: no such device.
    """

    def __init__(
        self,
        name: str,
        version: str,
        digest: str,
        preprocessing: dict[str, Any],
        device: str = "cpu",
        batch: int = BATCH,
    ) -> None:
        self.name, self.version, self.digest = name, version, digest
        self.preprocessing = preprocessing
        self.device, self.batch = choose_device(device), batch

    def features(self, images: Float) -> Float:
        """Features float32 (N, D) of images float32 (N, C, H, W) in unit range, N >= 1.

        Raises:
            ValueError: another shape.
            ModelError: a pixel is NaN or infinite.
            ConfigurationError: the network cannot read that many channels.
        """
        if images.ndim != 4 or images.shape[0] == 0:
            raise ValueError(f"images must be (N, C, H, W) with N >= 1, got {images.shape}")
        self._require_finite(images)
        parts = (images[k : k + self.batch] for k in range(0, len(images), self.batch))
        with float32_arithmetic(self.device):
            return np.concatenate([self.run(np.ascontiguousarray(part, dtype=np.float32)) for part in parts])

    @abstractmethod
    def run(self, images: Float) -> Float:
        """Features float32 (N, D) of one batch."""

    def _require_finite(self, images: Float) -> None:
        bad = np.flatnonzero(~np.isfinite(images).all(axis=(1, 2, 3)))
        if bad.size:
            raise ModelError(
                "Images hold values that are no numbers.",
                expected="finite pixels",
                found=f"NaN or infinity in {bad.size} of {len(images)} images, the first at position {bad[0]}",
                where=f"extractor {self.name}",
                todo="Check the model that made the images, or the files that they were read from.",
            )


class TorchExtractor(NetworkExtractor):
    """A torch module of ours or of a library, with the preparation that it needs.

    Args:
        module: what is moved to the device.
        forward: float32 (N, C, H, W) in unit range, on the device, to (N, D); runs the module.
        name: see `NetworkExtractor`, as all others.
        version: see there.
        digest: see there.
        preprocessing: see there.
        device: see there.
    """

    def __init__(
        self,
        module: nn.Module,
        forward: Callable[[Tensor], Tensor],
        *,
        name: str,
        version: str,
        digest: str,
        preprocessing: dict[str, Any],
        device: str = "cpu",
    ) -> None:
        super().__init__(name, version, digest, preprocessing, device)
        self.module = module.eval().requires_grad_(False).to(self.device)
        self.forward = forward

    def run(self, images: Float) -> Float:
        """Features float32 (N, D) of one batch."""
        import torch

        with torch.inference_mode():
            features: Float = self.forward(torch.from_numpy(images).to(self.device)).float().cpu().numpy()
            return features


@contextmanager
def float32_arithmetic(device: str) -> Iterator[None]:
    """On CUDA, keep convolutions at float32 (TF32 has 10 bits of mantissa) and their algorithm fixed."""
    import torch

    if not device.startswith("cuda"):
        yield
        return
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        yield
