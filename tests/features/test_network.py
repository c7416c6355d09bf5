"""Batches, shapes and numbers of extractors that are networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.features.network import TorchExtractor, float32_arithmetic
from medgan_qa.rng import child


class Pool(nn.Module):
    """Eight convolved channels, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 8, 5)
        self.drop = nn.Dropout(0.5)
        self.sizes: list[int] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.sizes.append(len(x))
        assert not torch.is_grad_enabled()
        return self.drop(self.conv(x)).mean((2, 3))


def made(batch: int = 32, device: str = "cpu") -> TorchExtractor:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = Pool().train()
    found = TorchExtractor(module, module, name="pool", version="1", digest="0" * 64, preprocessing={}, device=device)
    found.batch = batch
    return found


def images(count: int = 7) -> Any:
    return child(0, "network").random((count, 1, 16, 16), np.float32)


def test_features_do_not_depend_on_the_batch() -> None:
    alone = np.concatenate([made().features(x[None]) for x in images()])
    for batch in (1, 3, 7, 32):
        np.testing.assert_allclose(made(batch).features(images()), alone, rtol=1e-6, atol=1e-7)


def test_images_go_through_in_batches() -> None:
    extractor = made(3)
    found = extractor.features(images())
    assert extractor.module.sizes == [3, 3, 1]
    assert found.shape == (7, 8)
    assert found.dtype == np.float32


def test_other_layouts_in_memory_and_double_precision_give_the_same() -> None:
    x = images()
    np.testing.assert_array_equal(made().features(x.astype(np.float64)), made().features(x))
    flipped = np.ascontiguousarray(x[..., ::-1])[..., ::-1]
    np.testing.assert_array_equal(made().features(flipped), made().features(x))


def test_the_network_is_neither_trained_nor_changed() -> None:
    extractor = made()
    assert not extractor.module.training
    assert not any(p.requires_grad for p in extractor.module.parameters())
    np.testing.assert_array_equal(extractor.features(images()), extractor.features(images()))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_pixels_that_are_no_numbers_are_refused_and_counted(value: float) -> None:
    x = images()
    x[2, 0, 3, 3] = x[5, 0, 0, 0] = value
    with pytest.raises(ModelError, match="no numbers") as caught:
        made().features(x)
    assert "2 of 7 images, the first at position 2" in str(caught.value)


@pytest.mark.parametrize("shape", [(0, 1, 16, 16), (1, 16, 16), (16, 16)])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, C, H, W\)"):
        made().features(np.zeros(shape, np.float32))


def test_an_unknown_device_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        made(device="abacus")


def test_float32_arithmetic_leaves_the_settings_as_they_were() -> None:
    flags = torch.backends.cudnn
    before = (flags.allow_tf32, flags.deterministic, flags.benchmark)
    with float32_arithmetic("cuda"):
        assert not flags.allow_tf32
        assert flags.deterministic
    assert (flags.allow_tf32, flags.deterministic, flags.benchmark) == before
    with float32_arithmetic("cpu"):
        assert flags.allow_tf32 == before[0]


@pytest.mark.gpu
def test_the_gpu_gives_what_the_processor_gives() -> None:
    np.testing.assert_allclose(made(device="cuda").features(images()), made().features(images()), rtol=1e-5, atol=1e-6)
