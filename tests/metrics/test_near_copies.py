"""Augmented copies: found, laid over their source to a fraction of a pixel, and told from other patients."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa import rng
from medgan_qa.cohorts.cohort import subset
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.contaminated import compressed, cropped, moved
from medgan_qa.metrics._alignment import oriented
from medgan_qa.metrics._polar import foreground_rings, soft_foreground
from medgan_qa.metrics._prepared import normalised_detail
from medgan_qa.metrics._similarity import Layout, refined, warp
from medgan_qa.metrics.near_copies import ClosePairs, Prepared, as_query, near_copies, prepared

PEOPLE = 40


@cache
def brains() -> np.ndarray:
    cohort = BrainSlices(people=PEOPLE)
    images: np.ndarray = np.stack([cohort.load(case).image[0] for case in subset(cohort.cases, "train")])
    return images


PATIENTS = [k // 2 for k in range(2 * PEOPLE)]


@cache
def ready() -> Prepared:
    return prepared(brains())


@cache
def strangers() -> ClosePairs:
    return near_copies(ready(), ready(), PATIENTS, PATIENTS)


def searched(images: np.ndarray) -> ClosePairs:
    return near_copies(prepared(images), ready(), [f"q{k}" for k in range(len(images))], PATIENTS)


CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "none": lambda x: x,
    "flip": lambda x: x[:, ::-1],
    "quarter turn": lambda x: np.rot90(x),
    "shift": lambda x: np.roll(x, (1, -2), (0, 1)),
    "rotation": lambda x: moved(x, 10.0, 1.0),
    "half turn and more": lambda x: moved(x, -130.0, 1.0),
    "scale": lambda x: moved(x, 0.0, 0.95),
    "gamma": lambda x: np.clip(x, 0, 1) ** np.float32(1.25),
    "gain and offset": lambda x: np.float32(0.8) * x + np.float32(0.05),
    "blur": lambda x: ndimage.gaussian_filter(x, 1.0),
    "flip and rotation": lambda x: moved(x[:, ::-1], 7.0, 1.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_finds_the_source(name: str) -> None:
    found = searched(np.stack([CHANGES[name](image) for image in brains()[:20]]))
    assert (found.reference == np.arange(20)).mean() >= 0.95
    hit = found.where(found.reference == found.query)
    clean = strangers()
    assert np.quantile(hit.score, 0.9) < clean.score.min()


def test_undoes_noise_of_two_per_cent() -> None:
    g = rng.child(0, "noise")
    found = searched((brains()[:20] + 0.02 * g.standard_normal(brains()[:20].shape)).astype(np.float32))
    assert np.array_equal(found.reference, np.arange(20))
    assert found.residual.max() < 0.03


@settings(max_examples=15, deadline=None)
@given(
    st.floats(-170, 170),
    st.floats(0.93, 1.0),
    st.booleans(),
    st.integers(0, 2 * PEOPLE - 1),
)
def test_prop_tells_what_was_done(degrees: float, scale: float, flip: bool, which: int) -> None:
    image = brains()[which]
    copy = moved(image[:, ::-1] if flip else image, degrees, scale)
    # By the layout alone: the search is another question.
    one, other = prepared(copy[None]), prepared(image[None])
    found = near_copies(one, other, ["a"], ["b"])
    if found.residual[0] > 0.05:
        return
    assert bool(found.mirrored[0]) == flip
    assert abs((found.turn[0] - degrees + 180) % 360 - 180) < 1.0
    assert found.scale[0] == pytest.approx(scale, abs=0.01)
    assert np.abs(found.shift[0]).max() < 0.5


def test_most_layouts_are_found_without_a_rival() -> None:
    g, hits = rng.child(0, "layouts"), 0
    for image in brains()[:30]:
        copy = moved(image, float(g.uniform(-180, 180)), float(g.uniform(0.93, 1.05)))
        hits += near_copies(prepared(copy[None]), prepared(image[None]), ["a"], ["b"]).residual[0] < 0.05
    assert hits >= 27


@pytest.mark.parametrize("code", range(8))
def test_tells_the_eight_orientations(code: int) -> None:
    found = searched(oriented(brains()[:4], code))
    assert np.array_equal(found.reference, np.arange(4))
    assert (found.residual < 1e-3).all()
    assert np.allclose(found.scale, 1, atol=0.005)
    assert (np.abs(found.turn / 90 - np.rint(found.turn / 90)) < 0.01).all()


@pytest.mark.parametrize("name", ["shift", "rotation", "flip and rotation", "scale"])
def test_the_source_after_the_change_is_the_copy(name: str) -> None:
    image = brains()[3]
    copy = CHANGES[name](image).astype(np.float32)
    found = searched(copy[None])
    assert found.reference[0] == 3
    again = as_query(image, found, 0)
    assert np.abs(again - copy)[6:-6, 6:-6].mean() < 0.012


@pytest.mark.parametrize("strength", [0.05, 0.08])
def test_noise_is_told_from_another_anatomy(strength: float) -> None:
    g = rng.child(1, "noise")
    found = searched((brains()[:20] + strength * g.standard_normal(brains()[:20].shape)).astype(np.float32))
    clean = strangers()
    assert np.array_equal(found.reference, np.arange(20))
    assert np.quantile(found.quiet_score, 0.9) < 0.6 * clean.quiet_score.min()
    assert (found.quiet <= found.residual).all()
    assert (found.quiet >= 0.099 * found.residual).all()


@pytest.mark.parametrize("quality", [30, 50])
def test_finds_the_source_of_a_compressed_image(quality: int) -> None:
    found = searched(np.stack([compressed(image, quality) for image in brains()[:20]]))
    clean = strangers()
    assert np.array_equal(found.reference, np.arange(20))
    assert found.quiet_score.max() < clean.quiet_score.min()


@pytest.mark.parametrize(("share", "least"), [(0.9, 0.9), (0.8, 0.7)])
def test_finds_what_a_crop_was_cut_from(share: float, least: float) -> None:
    g = rng.child(0, "crops")
    crops = np.stack([cropped(image, share, g) for image in brains()[::2]])
    found = near_copies(prepared(crops), ready(), [f"q{k}" for k in range(len(crops))], PATIENTS)
    right = found.reference == 2 * found.query
    assert right.mean() >= least
    assert np.median(found.scale[right]) == pytest.approx(1 / share, rel=0.02)


def test_crops_are_searched_among_the_pairs_that_are_asked_for() -> None:
    g = rng.child(0, "crops")
    images = np.concatenate([brains()[:60:2], cropped(brains()[0], 0.85, g)[None]])
    both, groups = prepared(images), list(range(31))
    every = near_copies(both, both, groups, groups)
    none = near_copies(both, both, groups, groups, crops_of=np.zeros(31, bool))
    one_side = near_copies(both, both, groups, groups, crops_of=np.arange(31) == 0)
    assert every.reference[-1] == one_side.reference[-1] == 0
    assert every.residual[-1] == pytest.approx(one_side.residual[-1], abs=0.01)
    assert len(none) == 31


def test_slices_of_one_group_do_not_hide_how_near_strangers_come() -> None:
    """A source that stands among many slices much like it is still held against other groups."""
    image = brains()[0]
    near = np.stack([moved(image, 0.5 * k, 1.0) for k in range(6)])
    known = prepared(np.concatenate([brains()[2:60:2], near]))
    groups = [f"p{k}" for k in range(29)] + ["volume"] * 6
    found = near_copies(prepared(image[None, :, ::-1].copy()), known, ["q"], groups)
    assert found.reference[0] >= 29
    assert found.rivals[0] > 0.3 * np.median(strangers().rivals)


def test_what_of_the_grid_holds_no_image_does_not_count() -> None:
    """Images that are narrower than the grid are found by those that were cut out of the same, and the other way."""
    wide = brains()[:40:2]
    narrow = np.zeros_like(wide)
    narrow[:, :, 8:-8] = wide[:, :, 8:-8]
    held = np.tile(np.array([64, 48], np.float32), (len(wide), 1))
    one, other = prepared(narrow, held), prepared(wide)
    names = [f"q{k}" for k in range(len(wide))]
    for asked, known in ((one, other), (other, one)):
        found = near_copies(asked, known, names, range(len(wide)))
        assert (found.reference == np.arange(len(wide))).mean() >= 0.9
        assert np.median(found.residual) < 0.02


def test_own_group_is_left_out_or_asked_for() -> None:
    others, own = (near_copies(ready(), ready(), PATIENTS, PATIENTS, among=a) for a in ("others", "own"))
    assert np.array_equal(others.query, np.arange(2 * PEOPLE))
    assert all(PATIENTS[q] != PATIENTS[r] for q, r in zip(others.query, others.reference, strict=True))
    assert np.array_equal(own.reference, np.arange(2 * PEOPLE) ^ 1)


def test_order_and_company_do_not_change_a_pair() -> None:
    copy = moved(brains()[5], 8.0, 1.0)
    alone = searched(copy[None])
    together = searched(np.stack([brains()[7], copy]))
    assert together.reference[1] == alone.reference[0]
    assert together.residual[1] == pytest.approx(alone.residual[0], abs=1e-6)


def test_images_without_structure_are_no_copies() -> None:
    flat = np.full((2, 64, 64), 0.5, np.float32)
    found = searched(flat)
    assert (found.residual == 1).all()


def test_images_that_are_not_square_and_larger_are_searched() -> None:
    wide = np.repeat(np.repeat(brains()[:, 8:56], 2, axis=1), 2, axis=2)
    found = near_copies(prepared(wide[:6, :, ::-1]), prepared(wide), [f"q{k}" for k in range(6)], PATIENTS)
    assert np.array_equal(found.reference, np.arange(6))
    assert found.mirrored.all()


def test_nothing_to_compare_with_gives_no_pair() -> None:
    one = prepared(brains()[:1])
    assert len(near_copies(one, one, ["a"], ["a"])) == 0
    assert len(near_copies(one, one, ["a"], ["a"], among="own")) == 0
    assert len(near_copies(prepared(brains()[:0]), one, [], ["a"])) == 0
    two = prepared(brains()[:2])
    assert len(near_copies(two, two, "ab", "ab")) == 2
    assert np.isnan(near_copies(two, two, "ab", "ab").score).all()


def test_refuses_what_does_not_fit() -> None:
    with pytest.raises(ValueError, match="one size"):
        near_copies(ready(), prepared(brains()[:2, :60]), PATIENTS, "ab")
    with pytest.raises(ValueError, match="one group"):
        near_copies(ready(), ready(), PATIENTS, PATIENTS[1:])
    with pytest.raises(ValueError, match="NaN"):
        prepared(np.full((1, 64, 64), np.nan))


def test_signatures_do_not_change_with_a_quarter_turn_or_a_flip() -> None:
    smooth = ndimage.gaussian_filter(brains()[:5], (0, 1.5, 1.5))
    plain, turned, flipped = (
        foreground_rings(x, soft_foreground(x)).signatures
        for x in (smooth, np.rot90(smooth, axes=(1, 2)).copy(), smooth[..., ::-1].copy())
    )
    others = np.linalg.norm(plain[:, None] - plain, axis=2)[~np.eye(5, dtype=bool)]
    assert np.linalg.norm(plain - turned, axis=1).max() < 0.15 * others.min()
    assert np.linalg.norm(plain - flipped, axis=1).max() < 0.15 * others.min()


def test_warping_by_nothing_gives_the_image_and_by_a_pixel_moves_it() -> None:
    images = brains()[:2]
    whole = np.ones((2, 2), np.float32)
    same, plain = np.tile(np.array([1, 0, 0, 0], np.float32), (2, 1)), np.zeros(2, bool)
    stay = warp(images, np.arange(2), Layout(same, plain), whole)
    assert np.allclose(stay.pixels, images, atol=1e-5)
    assert stay.inside[:, 4:-4, 4:-4].all()
    assert not stay.inside[:, 0].any()
    pixel = np.float32(1 / 32)
    moved_ = Layout(np.tile(np.array([1, 0, pixel, 0], np.float32), (2, 1)), plain)
    right = warp(images, np.arange(2), moved_, whole)
    assert np.allclose(right.pixels[:, :, :-1], images[:, :, 1:], atol=1e-5)
    assert not right.inside[:, :, -1].any()
    mirror = warp(images, np.arange(2), Layout(same, ~plain), whole)
    assert np.allclose(mirror.pixels, images[..., ::-1], atol=1e-5)
    narrow = warp(images, np.arange(2), Layout(same, plain), np.array([[1, 0.5]] * 2, np.float32))
    assert not narrow.inside[:, :, :16].any()
    assert narrow.inside[:, 4:-4, 20:-20].all()


def test_steps_find_a_known_motion() -> None:
    smooth = ndimage.gaussian_filter(brains()[:6], (0, 1.5, 1.5))
    known = Layout(np.tile(np.array([1.02, 0.05, 0.03, -0.02], np.float32), (6, 1)), np.zeros(6, bool))
    whole = np.ones((6, 2), np.float32)
    queries = warp(smooth, np.arange(6), known, whole).pixels
    start = Layout(np.tile(np.array([1, 0, 0, 0], np.float32), (6, 1)), np.zeros(6, bool))
    pairs = (np.arange(6), np.arange(6))
    found = refined(queries, soft_foreground(queries), smooth, whole, pairs, start, 12, 0.8)
    assert np.allclose(found.motion, known.motion, atol=2e-3)


def test_detail_does_not_change_with_gain_offset_or_slow_shading() -> None:
    image = ndimage.gaussian_filter(brains()[:1], (0, 1, 1))
    assert np.allclose(normalised_detail(image), normalised_detail(3 * image + 1), atol=1e-3)
    shading = np.linspace(0.9, 1.1, 64, dtype=np.float32)[:, None]
    one, other = normalised_detail(image).ravel(), normalised_detail(image * shading).ravel()
    assert np.corrcoef(one, other)[0, 1] > 0.99
