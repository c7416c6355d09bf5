"""Dice coefficient against an independent distance and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.distance import dice as dissimilarity

from medgan_qa.metrics.dice import dice

EMPTY, FULL = np.zeros((4, 5), bool), np.ones((4, 5), bool)
masks = arrays(bool, (4, 5))


@given(masks, masks)
def test_property_it_is_one_less_scipys_dissimilarity(a, b):
    if a.any() or b.any():
        assert dice(a, b) == pytest.approx(1 - dissimilarity(a.ravel(), b.ravel()))
    assert dice(a, b) == dice(b, a)


def test_two_empty_masks_agree_and_one_does_not():
    assert dice(EMPTY, EMPTY) == 1.0
    assert dice(EMPTY, FULL) == dice(FULL, EMPTY) == 0.0


def test_half_an_overlap_by_hand():
    a, b = EMPTY.copy(), EMPTY.copy()
    a[0, :4], b[0, 2:5] = True, True
    assert dice(a, b) == pytest.approx(2 * 2 / 7)


def test_scores_and_other_shapes_are_refused():
    with pytest.raises(TypeError, match="bool"):
        dice(EMPTY.astype(float), EMPTY)
    with pytest.raises(ValueError, match="shape"):
        dice(EMPTY, EMPTY.T)


@given(st.integers(0, 20))
def test_property_every_wrong_pixel_costs(k):
    b = FULL.copy()
    b.ravel()[:k] = False
    assert dice(FULL, b) == pytest.approx(2 * (20 - k) / (40 - k))
