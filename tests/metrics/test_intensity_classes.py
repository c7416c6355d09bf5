"""Classes of tissue by intensity."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics.intensity_classes import HOUNSFIELD, class_masks, flat_tissue, otsu_windows


def test_windows_part_separate_levels():
    g = np.random.default_rng(0)
    values = np.concatenate([g.normal(level, 0.01, 500) for level in (0.1, 0.3, 0.5, 0.9)])

    windows = otsu_windows(values, 4)

    assert list(windows) == ["darkest", "dark", "bright", "brightest"]
    for (low, high), level in zip(windows.values(), (0.1, 0.3, 0.5, 0.9), strict=True):
        assert low < level - 0.03
        assert level + 0.03 < high


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.sampled_from([2, 3, 4, 5]))
def test_property_windows_hold_every_value_once(seed, classes):
    values = np.random.default_rng(seed).gamma(2.0, 0.2, 400)

    windows = otsu_windows(values, classes)

    held = sum(((values >= low) & (values < high)).astype(int) for low, high in windows.values())
    assert len(windows) == classes
    assert (held == 1).all()


def test_too_few_levels_are_not_parted():
    assert otsu_windows(np.array([0.1, 0.1, 0.5]), 4) == {}
    assert otsu_windows(np.zeros(5), 2) == {}
    with pytest.raises(ValueError, match="classes"):
        otsu_windows(np.arange(9.0), 7)


def test_hounsfield_windows_do_not_overlap():
    ordered = sorted(HOUNSFIELD.values())

    assert all(a[1] <= b[0] for a, b in pairwise(ordered))


def test_edges_are_left_out_and_a_noisy_pixel_stays_in_its_tissue():
    image = np.zeros((20, 20))
    image[:, 10:] = 1.0
    image[5, 4] = 1.0
    everywhere = np.ones(image.shape, bool)

    smooth, flat = flat_tissue(image, everywhere, 0.5, edge_px=2)
    masks = class_masks(smooth, flat, {"dark": (-math.inf, 0.5), "bright": (0.5, math.inf)})

    assert masks["dark"][5, 4]
    assert masks["dark"][:, :8].all()
    assert not masks["dark"][:, 8:].any()
    assert masks["bright"][:, 12:].all()
    assert not masks["bright"][:, :12].any()
    assert flat_tissue(image, everywhere, 0.5, edge_px=0)[1].all()
