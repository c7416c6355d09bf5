"""A lesion set into another patient's image is found at its place, with its source; clean images are left alone."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import ndimage

from medgan_qa.cohorts.phantom import draw_cohort
from medgan_qa.cohorts.phantom_render import anatomy, render
from medgan_qa.metrics import _patches as patches
from medgan_qa.metrics.local_copies import LocalMatches, local_matches
from medgan_qa.rng import child

PATIENTS = np.repeat(np.arange(75), 2)
LARGE_PX = 60


@cache
def phantoms(partition: str, patients: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and lesion masks, two slices of each patient."""
    specs = draw_cohort(5, partition, patients)
    return (
        np.stack([render(spec, "FLAIR", 64) for spec in specs]),
        np.stack([anatomy(spec, 64).mask for spec in specs]),
    )


def train() -> np.ndarray:
    return phantoms("train", 75)[0]


def searched(queries: np.ndarray) -> LocalMatches:
    return local_matches(queries, train(), reference_groups=PATIENTS)


@cache
def held_out() -> LocalMatches:
    return searched(phantoms("test", 40)[0])


@cache
def pasted(dose: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """60 independent images, a share of which holds a large training lesion with 2 pixels round its bounding box.

    Returns images, source (-1 for none), and the upper left corner of the box.
    """
    images = phantoms("fresh", 30)[0].copy()
    g = child(0, "pasted")
    lesions = np.flatnonzero(phantoms("train", 75)[1].sum(axis=(1, 2)) >= LARGE_PX)
    sources = np.full(len(images), -1)
    sources[g.choice(len(images), round(dose * len(images)), replace=False)] = -2
    corners = np.zeros((len(images), 2), int)
    for query in np.flatnonzero(sources == -2):
        sources[query] = g.choice(lesions)
        rows, columns = np.nonzero(phantoms("train", 75)[1][sources[query]])
        top, left = max(rows.min() - 2, 0), max(columns.min() - 2, 0)
        box = np.s_[top : rows.max() + 3, left : columns.max() + 3]
        images[query][box] = train()[sources[query]][box]
        corners[query] = top, left
    return images, sources, corners


@pytest.mark.parametrize("dose", [0.05, 0.2])
def test_pasted_lesions_are_found_with_their_source_and_place(dose):
    images, sources, corners = pasted(dose)
    found = searched(images)
    flagged = found.ratio < np.sort(held_out().ratio)[0]
    planted = sources >= 0
    assert np.array_equal(found.reference[flagged & planted], sources[flagged & planted])
    assert flagged[planted].mean() >= 0.9
    assert np.count_nonzero(flagged & ~planted) <= 2
    # pasted in place: the patch lies where it lay, inside or next to the box
    hit = flagged & planted
    assert np.array_equal(found.query_corner[hit], found.reference_corner[hit])
    assert (found.query_corner[hit] > corners[hit] - found.patch).all()


def test_a_lesion_moved_elsewhere_is_found_and_both_places_are_told():
    images, sources, _ = pasted(0.2)
    planted = np.flatnonzero(sources >= 0)
    moved = np.roll(images[planted], (5, -4), axis=(1, 2))
    found = searched(moved)
    hit = found.ratio < np.sort(held_out().ratio)[0]
    assert hit.mean() >= 0.8
    assert np.array_equal(found.reference[hit], sources[planted][hit])
    assert (found.query_corner[hit] - found.reference_corner[hit] == (5, -4)).all()


def test_independent_images_are_left_alone():
    assert held_out().residual.min() > 0.005
    assert held_out().ratio.min() > 0.05


def test_blurred_independent_images_are_left_alone():
    blurred = searched(ndimage.gaussian_filter(phantoms("fresh", 30)[0], (0, 0.7, 0.7)))
    assert np.count_nonzero(blurred.ratio < np.sort(held_out().ratio)[0]) <= 3


def test_whole_copies_are_found_under_gain_and_offset():
    found = searched(0.1 + 0.7 * train()[10:20])
    assert np.array_equal(found.reference, np.arange(10, 20))
    assert found.residual == pytest.approx(0.0, abs=1e-6)
    assert np.array_equal(found.query_corner, found.reference_corner)


def test_the_own_patient_can_be_left_out():
    found = local_matches(train()[:20], train(), reference_groups=PATIENTS, query_groups=PATIENTS[:20])
    assert (PATIENTS[found.reference] != PATIENTS[:20]).all()
    assert found.ratio.min() > 0.05


def test_a_duplicate_of_the_source_hides_no_copy_when_declared():
    doubled = np.concatenate([train()[:40], train()[:40]])
    groups = np.tile(np.arange(40), 2)
    assert local_matches(train()[:5], doubled, reference_groups=groups).ratio.max() < 1e-4
    undeclared = local_matches(train()[:5], doubled)
    assert undeclared.residual.max() < 1e-6


def test_featureless_images_match_nothing():
    found = searched(np.stack([np.zeros((64, 64)), np.full((64, 64), 0.3)]))
    assert (found.reference == -1).all()
    assert (found.residual == 1.0).all()
    assert np.isnan(found.ratio).all()


def test_featureless_references_are_no_rivals_but_no_obstacle():
    known = np.concatenate([train()[:1], np.zeros((3, 64, 64), np.float32)])
    found = local_matches(train()[:1], known)
    assert found.reference == 0
    assert found.ratio == pytest.approx(0.0, abs=1e-6)


def test_one_reference_leaves_nothing_to_compare_with():
    found = local_matches(train()[:1], train()[:1])
    assert found.reference == 0
    assert found.residual == pytest.approx(0.0, abs=1e-6)
    assert np.isnan(found.ratio).all()


def test_larger_images_tell_places_in_their_own_pixels():
    known = np.repeat(np.repeat(train()[:20], 2, axis=1), 2, axis=2)
    query = np.roll(known[3], (12, -8), axis=(0, 1))[None]
    found = local_matches(query, known)
    assert found.reference == 3
    assert found.patch == 20
    assert (found.query_corner - found.reference_corner).tolist() == [[12, -8]]


def test_images_that_are_not_square_are_searched():
    known = train()[:20, 8:56]
    found = local_matches(known[:3], known)
    assert np.array_equal(found.reference, np.arange(3))


def test_no_query_has_an_empty_answer():
    assert searched(np.empty((0, 64, 64), np.float32)).ratio.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"references": np.zeros((0, 64, 64))}, "no reference"),
        ({"references": np.zeros((2, 32, 64))}, "must be 32 x 64"),
        ({"patch": 11}, "patch must be even"),
        ({"patch": 40}, "patch must be even"),
        ({"stride": 0}, "stride"),
        ({"salient": 0}, "salient"),
        ({"candidates": 0}, "candidates"),
        ({"queries": np.zeros((1, 10, 10)), "references": np.zeros((1, 10, 10))}, "too small"),
        ({"queries": np.full((1, 64, 64), np.inf)}, "hold NaN or infinity"),
    ],
)
def test_what_cannot_be_searched_is_refused(arguments, message):
    call = {"queries": train()[:1], "references": train()[:2], **arguments}
    with pytest.raises(ValueError, match=message):
        local_matches(**call)


def test_salience_is_the_smaller_eigenvalue_of_the_gradient_covariance():
    images = train()[:2].astype(np.float64)
    corners = patches.grid((64, 64), 8, 9)
    found = patches.salience(images.astype(np.float32), 8, corners)
    dy, dx = np.gradient(images, axis=(1, 2))
    for image in range(2):
        for place, (y, x) in enumerate(corners):
            a, b = (d[image, y : y + 8, x : x + 8].ravel() for d in (dy, dx))
            smaller = np.linalg.eigvalsh([[a @ a, a @ b], [a @ b, b @ b]])[0]
            assert found[image, place] == pytest.approx(smaller, abs=1e-5)


def test_straight_edges_are_not_salient():
    edge = np.zeros((1, 32, 32), np.float32)
    edge[:, :, 16:] = 1.0
    corner = np.zeros((1, 32, 32), np.float32)
    corner[:, 16:, 16:] = 1.0
    middle = np.array([[11, 11]])
    assert patches.salience(edge, 10, middle) == pytest.approx(0.0, abs=1e-6)
    assert patches.salience(corner, 10, middle) > 0.5


def test_salient_patches_keep_their_distance():
    corners = patches.most_salient(train()[:4], 10, patches.grid((64, 64), 10, 2), 20, 3)
    assert corners.shape == (4, 20, 2)
    for places in corners:
        gap = np.abs(places[:, None] - places[None]).max(axis=2) + 99 * np.eye(20, dtype=int)
        assert gap.min() >= 3


def test_refinement_equals_brute_force():
    g = child(0, "refine")
    image = ndimage.gaussian_filter(g.random((2, 40, 40)), (0, 1, 1)).astype(np.float32)
    start = np.array([[12, 13]]), np.array([[14, 12]])
    found = patches.found_again(image[:1], image[1:], *start, 10)
    offset = found.reference_corner - found.query_corner
    assert (np.abs(offset - (start[1] - start[0])) <= patches.OFFSET_PX).all()
    assert (np.abs(found.query_corner - start[0]) <= patches.SLIDE_PX).all()

    def residual(y, x, dy, dx):
        a, b = image[0, y : y + 10, x : x + 10], image[1, y + dy : y + dy + 10, x + dx : x + dx + 10]
        return 1 - max(np.corrcoef(a.ravel(), b.ravel())[0, 1], 0) ** 2

    moves = [(dy, dx) for dy in range(0, 5) for dx in range(-3, 2)]
    best = min(moves, key=lambda move: residual(12, 13, *move))
    slid = [residual(12 + y, 13 + x, *best) for y in range(-3, 4) for x in range(-3, 4)]
    assert tuple(offset[0]) == best
    assert found.residual[0] == pytest.approx(min(slid), abs=1e-5)
