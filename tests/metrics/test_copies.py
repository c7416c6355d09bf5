"""Copies planted among brain phantoms are found and their transform named; independent images are left alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from medgan_qa.cohorts.phantom import draw_cohort
from medgan_qa.cohorts.phantom_render import render
from medgan_qa.metrics.copies import AlignedNeighbors, aligned_neighbors
from medgan_qa.rng import child

TRAIN_PATIENTS = np.repeat(np.arange(75), 2)
SOURCES = child(0, "sources").choice(150, 20, replace=False)
BLUR = (0, 0.7, 0.7)


@cache
def phantoms(partition: str, patients: int) -> np.ndarray:
    images = np.stack([render(spec, "FLAIR", 64) for spec in draw_cohort(5, partition, patients)])
    images.setflags(write=False)
    return images


def train() -> np.ndarray:
    return phantoms("train", 75)


def searched(queries: np.ndarray) -> AlignedNeighbors:
    return aligned_neighbors(queries, train(), reference_groups=TRAIN_PATIENTS)


@cache
def held_out() -> AlignedNeighbors:
    return searched(phantoms("test", 40))


def noisy(images: np.ndarray, sd: float = 0.02) -> np.ndarray:
    return np.clip(images + child(0, "noise").normal(0, sd, images.shape), 0, 1)


MADE = {
    "unchanged": lambda x: x,
    "flip left-right": lambda x: x[:, :, ::-1],
    "flip up-down": lambda x: x[:, ::-1],
    "rotate 90 clockwise": lambda x: np.rot90(x, -1, axes=(1, 2)),
    "rotate 90 counterclockwise": lambda x: np.rot90(x, 1, axes=(1, 2)),
    "shift (+2, -2)": lambda x: np.roll(x, (2, -2), axis=(1, 2)),
    "shift (-2, +0)": lambda x: np.roll(x, -2, axis=1),
}


@pytest.mark.parametrize("name", MADE)
def test_a_transformed_copy_is_flagged_and_its_transform_named(name):
    found = searched(MADE[name](train()[SOURCES]))
    assert np.array_equal(found.reference, SOURCES)
    assert found.residual.max() < 0.01 < held_out().residual.min() / 5
    assert {found.transform(query) for query in range(len(SOURCES))} == {name}


@pytest.mark.parametrize("gamma", [0.8, 1.25])
def test_a_gamma_is_undone_and_told(gamma):
    found = searched(train()[SOURCES] ** gamma)
    assert np.array_equal(found.reference, SOURCES)
    assert found.residual.max() < 0.01
    assert found.gamma == pytest.approx(gamma, rel=0.02)
    assert found.transform(0).startswith("gamma ")


def test_noise_of_two_per_cent_hides_no_copy():
    found = searched(noisy(train()[SOURCES]))
    assert np.array_equal(found.reference, SOURCES)
    assert found.residual.max() < held_out().residual.min() / 4
    assert {found.transform(query) for query in range(len(SOURCES))} == {"unchanged"}


def test_everything_at_once_is_undone():
    turned = np.roll(train()[SOURCES][:, :, ::-1], (-1, 2), axis=(1, 2))
    found = searched(noisy(turned**1.2))
    assert np.array_equal(found.reference, SOURCES)
    assert found.residual.max() < held_out().residual.min() / 4
    assert found.ratio.max() < held_out().ratio.min() / 4
    assert all(found.transform(q).startswith("flip left-right, shift (-1, +2), gamma 1.") for q in range(20))
    assert found.plain.min() > 0.1


def test_independent_images_score_far_above_copies():
    assert held_out().residual.min() > 0.06
    assert held_out().ratio.min() > 0.2


def test_fresh_images_are_flagged_at_the_rate_of_held_out_ones():
    fresh = searched(phantoms("fresh", 50))
    # rank 2 of 80: 2.5 % expected, so that more than 7 of 100 happen once in a hundred such tests
    assert np.count_nonzero(fresh.residual < np.sort(held_out().residual)[1]) <= 7
    assert np.count_nonzero(fresh.ratio < np.sort(held_out().ratio)[1]) <= 7


def test_blurred_independent_images_are_no_copies():
    blurred = searched(ndimage.gaussian_filter(phantoms("fresh", 50), BLUR))
    assert np.count_nonzero(blurred.ratio < np.sort(held_out().ratio)[1]) <= 5
    assert np.count_nonzero(blurred.residual < np.sort(held_out().residual)[1]) <= 7


def test_a_blurred_copy_is_a_copy():
    found = searched(ndimage.gaussian_filter(train()[SOURCES], BLUR))
    assert np.array_equal(found.reference, SOURCES)
    assert found.residual.max() < held_out().residual.min()


def test_the_second_slice_of_a_patient_is_no_copy_unless_it_shows_the_same():
    # one slice of each patient is known, the other one asked for
    found = aligned_neighbors(train()[1::2], train()[0::2])
    flagged = found.residual < np.sort(held_out().residual)[1]
    assert 0 < np.count_nonzero(flagged) <= 20
    # what is flagged shows the patient's own other slice
    assert np.mean(found.reference[flagged] == np.flatnonzero(flagged)) >= 0.8


def test_the_second_slice_hides_no_copy_from_the_ratio():
    # every patient's slices are near duplicates of each other
    doubled = np.concatenate([train()[::2], noisy(train()[::2], 0.01)])
    groups = np.tile(np.arange(75), 2)
    queries = train()[::2][:10]
    assert aligned_neighbors(queries, doubled, reference_groups=groups).ratio.max() < 0.05
    assert np.isin(aligned_neighbors(queries, doubled).rival_reference[:, 0], np.arange(75, 150)).all()


def test_leaving_the_own_patient_out_gives_the_scores_of_strangers():
    own = aligned_neighbors(train()[:40], train(), reference_groups=TRAIN_PATIENTS, query_groups=TRAIN_PATIENTS[:40])
    assert (TRAIN_PATIENTS[own.reference] != TRAIN_PATIENTS[:40]).all()
    assert own.residual.min() > 0.06


def test_rivals_are_of_other_groups_and_in_order():
    found = held_out()
    best = TRAIN_PATIENTS[found.reference]
    rivals = TRAIN_PATIENTS[found.rival_reference]
    assert (rivals != best[:, None]).all()
    assert all(len(set(row)) == 5 for row in rivals)
    assert (np.diff(found.rivals, axis=1) >= 0).all()
    assert (found.residual <= found.rivals[:, 0]).all()
    assert found.ratio == pytest.approx(found.residual / np.median(found.rivals, axis=1))


def test_the_answer_for_a_query_does_not_depend_on_the_others():
    some = searched(phantoms("test", 40)[3:7])
    assert some.residual == pytest.approx(held_out().residual[3:7], abs=1e-6)
    assert np.array_equal(some.reference, held_out().reference[3:7])


def test_images_that_are_not_square_are_searched_in_four_orientations():
    known = train()[:40, 4:60, :]
    found = aligned_neighbors(np.roll(known[:6, ::-1, ::-1], 1, axis=2), known)
    assert np.array_equal(found.reference, np.arange(6))
    assert {found.transform(query) for query in range(6)} == {"rotate 180, shift (+0, +1)"}


def test_larger_images_tell_shifts_in_their_own_pixels():
    known = np.repeat(np.repeat(train()[:30], 3, axis=1), 3, axis=2)
    found = aligned_neighbors(np.roll(known[:4], (6, -9), axis=(1, 2)), known)
    assert np.array_equal(found.reference, np.arange(4))
    assert {found.transform(query) for query in range(4)} == {"shift (+6, -9)"}


def test_shifts_beyond_the_reach_are_not_undone():
    moved = np.roll(train()[SOURCES], 4, axis=1)
    assert aligned_neighbors(moved, train(), max_shift=1).residual.min() > 0.1
    assert np.abs(aligned_neighbors(moved, train(), max_shift=1).shift).max() <= 1


def test_identity_alone_does_not_undo_a_flip():
    flipped = train()[SOURCES][:, :, ::-1]
    assert aligned_neighbors(flipped, train(), transforms="identity").residual.min() > 0.05


def test_featureless_images_are_copies_of_nothing():
    found = searched(np.stack([np.zeros((64, 64)), np.full((64, 64), 0.5)]))
    assert (found.residual == 1.0).all()
    assert (found.ratio == 1.0).all()
    among = aligned_neighbors(train()[:2], np.stack([np.zeros((64, 64)), train()[1]]))
    assert among.residual[1] == pytest.approx(0.0, abs=1e-6)


def test_one_reference_leaves_no_rival():
    found = aligned_neighbors(train()[:2], train()[:1])
    assert found.residual[0] == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(found.ratio).all()
    assert (found.rival_reference == -1).all()


def test_no_query_has_an_empty_answer():
    found = searched(np.empty((0, 64, 64), np.float32))
    assert found.residual.shape == (0,)
    assert found.rivals.shape == (0, 5)
    assert found.ratio.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"references": np.zeros((0, 64, 64))}, "no reference"),
        ({"references": np.zeros((2, 32, 64))}, "must be 32 x 64"),
        ({"candidates": 0}, "candidates"),
        ({"max_shift": -1}, "max_shift"),
        ({"transforms": "affine"}, "transforms"),
        ({"reference_groups": ["a"]}, "one group per image"),
        ({"query_groups": ["a"]}, "needs reference_groups"),
        ({"reference_groups": ["a", "a"], "query_groups": ["a"]}, "no reference outside"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments, message):
    call = {"queries": train()[:1], "references": train()[:2], **arguments}
    with pytest.raises(ValueError, match=message):
        aligned_neighbors(**call)
