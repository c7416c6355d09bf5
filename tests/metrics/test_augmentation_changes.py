"""Every change does what it says, and keeps shape, type and range."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.metrics.augmentation_changes import CHANGES, COLOUR_CHANGES, changes, hue_turned, shifted


def image(channels: int = 1) -> np.ndarray:
    return np.random.default_rng(0).uniform(0.1, 0.9, (channels, 40, 32)).astype(np.float32)


@pytest.mark.parametrize("change", [*CHANGES, *COLOUR_CHANGES], ids=lambda change: change.name)
def test_a_change_changes_and_stays_an_image(change):
    before = image(3)
    after = change.apply(before, np.random.default_rng(1))

    assert after.shape == before.shape
    assert after.dtype == np.float32
    assert after.min() >= 0
    assert after.max() <= 1
    assert np.abs(after - before).mean() > 0.01
    np.testing.assert_array_equal(before, image(3))
    np.testing.assert_array_equal(after, change.apply(before, np.random.default_rng(1)))


def test_colour_changes_are_for_colour_images():
    assert changes(1) == CHANGES
    assert set(changes(3)) > set(CHANGES)


def test_grey_stays_grey_when_the_hue_turns():
    grey = np.repeat(image(), 3, axis=0)
    np.testing.assert_allclose(hue_turned(grey, np.random.default_rng(0)), grey, atol=1e-6)


def test_a_shift_moves_whole_pixels():
    before, after = image()[0], shifted(image(), np.random.default_rng(0))[0]
    moved = [np.roll(before, s * 4, axis) for axis in (0, 1) for s in (-1, 1)]
    assert max((after == one).mean() for one in moved) > 0.85
