"""What is done to an image before a network made for photographs reads it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from medgan_qa.errors import ConfigurationError
from medgan_qa.features.preprocessing import ImagePreparation, three_channels
from medgan_qa.rng import child

PLAIN = ImagePreparation(24, "bilinear", mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def images(count: int = 2, channels: int = 1, height: int = 40, width: int = 56) -> torch.Tensor:
    return torch.from_numpy(child(0, "preprocessing").random((count, channels, height, width), np.float32))


def test_grey_is_repeated_and_colour_kept() -> None:
    grey, colour = images(), images(channels=3)
    assert torch.equal(three_channels(grey), torch.cat([grey, grey, grey], dim=1))
    assert torch.equal(three_channels(colour), colour)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_numbers_of_channels_are_refused(channels: int) -> None:
    with pytest.raises(ConfigurationError, match="cannot read") as caught:
        three_channels(images(channels=channels))
    assert caught.value.found == f"{channels} channels"


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [24, 96])
def test_resizes_as_pillow_does_on_floats(interpolation: str, size: int) -> None:
    x = images(1)
    found = ImagePreparation(size, interpolation, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))(x)
    method = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[interpolation]
    expected = np.asarray(Image.fromarray(x[0, 0].numpy()).resize((size, size), method))
    assert found.shape == (1, 3, size, size)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-5)


def test_an_image_of_the_right_size_is_not_touched() -> None:
    x = images(height=24, width=24)
    assert torch.equal(PLAIN(x)[:, 1], x[:, 0])


def test_normalises_each_channel_by_its_own_numbers() -> None:
    x = images(channels=3, height=24, width=24)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.25, 2.0)
    found = ImagePreparation(24, "bilinear", mean, std)(x)
    for c in range(3):
        torch.testing.assert_close(found[:, c], (x[:, c] - mean[c]) / std[c])


def test_values_beyond_the_range_stay() -> None:
    x = torch.full((1, 1, 24, 24), 1.7)
    assert float(PLAIN(x).min()) == pytest.approx(1.7)


def test_says_what_it_does() -> None:
    said = json.dumps(ImagePreparation(224, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)).as_dict())
    for word in ("bicubic", "antialiased", "224 x 224", "no crop", "repeated three times", "[0.1, 0.2, 0.3]", "0.6"):
        assert word in said
