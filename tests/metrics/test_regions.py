"""Areas measured by thresholds of the reference, on drawn shapes of known size."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.metrics.body import body_mask
from medgan_qa.metrics.regions import (
    body_pixels,
    body_threshold,
    dark_pixels,
    dark_rule,
    lesion_core,
    lesion_pixels,
    window_pixels,
)

Y, X = np.indices((128, 128)) - 63.5


def head(radius=10.0):
    image = np.where(np.hypot(Y, X) < 50, 0.5, 0.02)
    return np.where(np.hypot(Y, X) < radius, 0.05, image)


def test_body_is_that_of_the_body_mask():
    image = head()

    assert body_pixels(image, body_threshold(image)) == body_mask(image).sum()
    assert body_pixels(np.zeros_like(image), body_threshold(image)) == 0
    assert body_threshold(np.full((9, 9), 0.3)) is None


@pytest.mark.parametrize("radius", [8.0, 10.0, 14.0])
def test_dark_area_is_that_of_the_disc_in_another_image(radius):
    rule = dark_rule(head(), body_mask(head()), np.zeros(head().shape, bool))

    # smoothing pulls the half level of a small disc inwards a little
    assert dark_pixels(head(radius), rule) == pytest.approx(np.pi * radius**2, rel=0.06)


def test_dark_needs_a_difference():
    flat = np.full((40, 40), 0.5)

    assert dark_rule(flat, np.ones(flat.shape, bool), np.zeros(flat.shape, bool)) is None


def test_window_counts_the_inside():
    image = np.where(np.hypot(Y, X) < 20, 100.0, 0.0)

    counted = window_pixels(image, (50.0, np.inf), np.ones(image.shape, bool))
    assert counted == pytest.approx(np.pi * 400, rel=0.02)


@settings(deadline=None, max_examples=15)
@given(st.floats(4.0, 12.0), st.floats(0.6, 1.4), st.sampled_from([-0.2, 0.3]))
def test_property_lesion_area_follows_the_radius_and_a_removed_lesion_has_none(radius, growth, step):
    g = np.random.default_rng(1)
    body = np.hypot(Y, X) < 50
    base = np.where(body, 0.5, 0.0) + 0.01 * g.standard_normal(Y.shape)
    mask = np.hypot(Y, X) < radius
    reference, output = base + step * mask, base + step * (np.hypot(Y, X) < growth * radius)

    after = lesion_pixels((reference, output), mask, body, mask)
    removed = lesion_pixels((reference, base), mask, body, mask)

    assert after[0] == mask.sum()
    assert after[1] == pytest.approx((np.hypot(Y, X) < growth * radius).sum(), abs=1)
    assert removed[1] == 0


def test_a_lesion_without_contrast_has_no_area():
    body = np.hypot(Y, X) < 50
    mask = np.hypot(Y, X) < 6
    image = np.where(body, 0.5, 0.0) + 0.05 * np.random.default_rng(2).standard_normal(Y.shape)

    assert lesion_pixels((image, image), mask, body, mask) is None


def test_core_of_a_lesion_is_never_empty():
    single = np.zeros((9, 9), bool)
    single[4, 4] = True

    assert (lesion_core(single) == single).all()
    assert lesion_core(np.hypot(Y, X) < 6).sum() < (np.hypot(Y, X) < 6).sum()
