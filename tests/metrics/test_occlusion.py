"""Covering parts of an image: what is hidden is gone, and nothing else changes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from medgan_qa.metrics.occlusion import Typical, border_region, covered, fields, painted_over, share_inside

images = arrays(np.float32, (2, 12, 16), elements=st.floats(0, 1, width=32))
masks = arrays(np.bool_, (12, 16))


def test_the_border_is_a_frame_and_four_corners():
    region = border_region((8, 10), 1 / 8, 3 / 8)
    drawn = ["".join("#" if x else "." for x in row) for row in region]
    assert drawn == [
        "##########",
        "###....###",
        "###....###",
        "#........#",
        "#........#",
        "###....###",
        "###....###",
        "##########",
    ]
    assert not border_region((8, 8), 0.0, 0.0).any()
    assert border_region((64, 64), 0.001, 0.0).sum() == 4 * 63


@pytest.mark.parametrize(("frame", "corner"), [(0.5, 0.1), (-0.1, 0.1), (0.1, 0.6), (0.49, 0.0)])
def test_a_border_that_leaves_nothing_is_refused(frame, corner):
    with pytest.raises(ValueError, match=r"border|shares"):
        border_region((4, 4), frame, corner)


def test_typical_is_the_mean_and_follows_the_size():
    g = np.random.default_rng(0)
    given_ = [g.random((1, 8, 8), dtype=np.float32) for _ in range(5)]
    typical = Typical(given_)
    assert typical.at((1, 8, 8)) == pytest.approx(np.mean(given_, axis=0), abs=1e-6)
    assert typical.at((1, 12, 6)).shape == (1, 12, 6)
    even = Typical([np.full((1, 8, 8), 0.3, np.float32), np.full((1, 16, 4), 0.5, np.float32)])
    assert even.at((1, 5, 7)) == pytest.approx(0.4, abs=1e-6)


@given(images, masks)
def test_prop_covering_hides_the_region_and_keeps_the_rest(image, mask):
    out = covered(image, mask, 0.25)
    assert (out[:, mask] == 0.25).all()
    assert np.array_equal(out[:, ~mask], image[:, ~mask])
    assert out.dtype == np.float32


@settings(deadline=None)
@given(images, masks, images)
def test_prop_paint_depends_on_nothing_inside_and_has_no_new_extremes(image, mask, other):
    out = painted_over(image, mask, rim_px=0.0)
    if mask.all():
        assert out == pytest.approx(np.broadcast_to(image.mean(axis=(1, 2), keepdims=True), image.shape), abs=1e-6)
        return
    assert np.array_equal(out[:, ~mask], image[:, ~mask])
    again = painted_over(np.where(mask, other, image), mask, rim_px=0.0)
    assert again == pytest.approx(out, abs=1e-5)
    for channel, painted in zip(image, out, strict=True):
        kept = channel[~mask]
        assert painted.min() >= kept.min() - 1e-5
        assert painted.max() <= kept.max() + 1e-5


def test_paint_continues_a_slope():
    # a plane solves Laplace's equation, so that what is painted is what was there
    y, x = np.indices((20, 20))
    plane = ((2 * y + 3 * x) / 100).astype(np.float32)[None]
    mask = np.zeros((20, 20), bool)
    mask[6:13, 5:14] = True
    assert painted_over(np.where(mask, np.float32(9), plane), mask) == pytest.approx(plane, abs=1e-5)


def test_paint_takes_the_rim_along():
    image = np.zeros((1, 21, 21), np.float32)
    image[0, 7:14, 7:14] = 0.5
    image[0, 8:13, 8:13] = 1.0
    mask = image[0] == 1
    assert painted_over(image, mask).max() == pytest.approx(0, abs=1e-6)
    assert painted_over(image, mask, rim_px=0.0).max() == pytest.approx(0.5)


def test_an_empty_region_changes_nothing():
    image = np.random.default_rng(1).random((1, 6, 6), dtype=np.float32)
    out = painted_over(image, np.zeros((6, 6), bool))
    assert np.array_equal(out, image)
    assert out is not image


def test_a_mask_that_is_none_is_refused():
    with pytest.raises(TypeError, match="bool"):
        painted_over(np.zeros((1, 4, 4), np.float32), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="shape"):
        painted_over(np.zeros((1, 4, 4), np.float32), np.zeros((5, 4), bool))


@pytest.mark.parametrize(("shape", "along"), [((8, 8), 8), ((10, 7), 3), ((5, 9), 1)])
def test_fields_part_the_image(shape, along):
    parts = fields(shape, along)
    assert len(parts) == along**2
    assert (sum(part.astype(int) for part in parts) == 1).all()
    assert max(p.sum() for p in parts) <= np.prod([-(-n // along) for n in shape])


@pytest.mark.parametrize("along", [0, 9])
def test_more_fields_than_pixels_are_refused(along):
    with pytest.raises(ValueError, match="along"):
        fields((8, 12), along)


def test_rises_are_no_evidence():
    assert share_inside([3.0, 1.0, -5.0], [True, False, False]) == 0.75
    assert share_inside([-3.0, 0.0], [True, False]) is None
    assert share_inside([], []) is None
