"""A hole of one value is the flattest square; a smooth image has none."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.metrics.cutout import flattest_squares, usual_body

INSIDE = np.zeros((48, 48), bool)
INSIDE[8:40, 8:40] = True


def textured(n: int = 4) -> np.ndarray:
    return (0.5 + 0.05 * np.random.default_rng(0).standard_normal((n, 48, 48))).astype(np.float32)


@given(st.integers(8, 31), st.integers(8, 31), st.floats(0, 1))
def test_prop_a_hole_inside_is_found_where_it_is(top, left, value):
    images = textured()
    images[2, top : top + 9, left : left + 9] = value
    found = flattest_squares(images, INSIDE)

    assert found is not None
    assert found.flatness[2] < 0.05
    assert found.flatness[[0, 1, 3]].min() > 0.5
    assert top <= found.place[2, 0] <= top + 9 - found.side
    assert left <= found.place[2, 1] <= left + 9 - found.side


def test_an_image_that_is_smooth_everywhere_has_no_hole():
    images = textured()
    images[0] = 0.5 + (images[0] - 0.5) / 1000
    images[1] = 0.5
    found = flattest_squares(images, INSIDE)
    assert found is not None
    assert found.flatness[:2].min() > 0.5


def test_what_lies_outside_does_not_count():
    images = textured()
    images[:, :8] = 0
    found = flattest_squares(images, INSIDE)
    assert found is not None
    assert found.flatness.min() > 0.5


def test_a_region_without_room_for_a_square_gives_none():
    assert flattest_squares(textured(), np.zeros((48, 48), bool)) is None


def test_the_usual_body_is_where_nearly_all_are():
    masks = np.zeros((20, 4, 4), bool)
    masks[:, 1:3] = True
    masks[0] = False
    assert usual_body(masks).sum() == 8
    assert usual_body(masks, 1.0).sum() == 0


def test_a_region_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="region"):
        flattest_squares(textured(), INSIDE[:10])
