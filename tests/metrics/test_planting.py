"""Planted lesions have the size, place and contrast that they are asked to have."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics.planting import disc, plant


@given(
    st.floats(4, 40), st.tuples(st.floats(0.5, 2), st.floats(0.5, 2)), st.tuples(st.floats(30, 50), st.floats(30, 50))
)
def test_property_the_area_is_that_of_the_disc(diameter, spacing, centre):
    cover = disc((128, 128), centre, diameter, spacing)
    inside = diameter / 2 < 25 * min(spacing)
    if inside and diameter >= 6 * max(spacing):
        area = float(cover.sum()) * spacing[0] * spacing[1]
        assert area == pytest.approx(np.pi * diameter**2 / 4, rel=0.04)
    assert cover.min() >= 0
    assert cover.max() <= 1


def test_the_edge_is_one_pixel_wide_and_half_at_the_radius():
    cover = disc((41, 41), (20, 20), 20.0, (1.0, 1.0))
    assert cover[20, 20] == 1
    assert cover[20, 30] == 0.5
    assert cover[20, 29] == 1
    assert cover[20, 31] == 0


def test_the_lesion_is_added_and_the_texture_stays():
    image = np.random.default_rng(0).random((2, 32, 32)).astype(np.float32)
    cover = disc((32, 32), (16, 16), 10.0, (1.0, 1.0))
    planted = plant(image, cover, -0.3)
    assert np.allclose(planted - image, -0.3 * cover, atol=1e-6)
    assert planted.dtype == np.float32


def test_a_disc_without_size_is_refused():
    with pytest.raises(ValueError, match="diameter_mm"):
        disc((8, 8), (4, 4), 0.0, (1.0, 1.0))
