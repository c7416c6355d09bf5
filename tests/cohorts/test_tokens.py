"""The corner token: how often it agrees with the label, and that it is part of the cohort's identity."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from medgan_qa.cohorts.cohort import subset
from medgan_qa.cohorts.phantom import EMBEDDED, BrainSlices
from medgan_qa.cohorts.tokens import TOKEN_LEVEL, TokenCohort, token_side


@pytest.fixture(scope="module")
def plain() -> BrainSlices:
    return BrainSlices(people=30, size=32)


def stamped(cohort: TokenCohort, plain: BrainSlices) -> tuple[np.ndarray, np.ndarray]:
    """Which test images carry a token, and which show a lesion."""
    pairs = [(cohort.load(c), plain.load(c)) for c in subset(plain.cases, "test")]
    return (
        np.array([not np.array_equal(a.image, b.image) for a, b in pairs]),
        np.array([b.lesion_mask.any() for _, b in pairs]),
    )


@pytest.mark.parametrize("agreement", [1.0, 0.9, 0.5, 0.0])
def test_the_token_agrees_with_the_label_as_often_as_it_says(plain, agreement):
    token, lesion = stamped(TokenCohort(plain, agreement), plain)
    assert np.mean(token == lesion) == pytest.approx(agreement, abs=0.15)
    if agreement in (0.0, 1.0):
        assert np.mean(token == lesion) == agreement


def test_the_token_is_a_bright_square_and_nothing_else_changes(plain):
    cohort = TokenCohort(plain, 1.0)
    case = next(c for c in subset(plain.cases, "test") if plain.load(c).lesion_mask.any())
    before, after = plain.load(case), cohort.load(case)
    changed = (before.image != after.image)[0]
    side = token_side(before.image.shape)

    assert changed.sum() == side**2
    assert (after.image[0][changed] == np.float32(TOKEN_LEVEL)).all()
    assert changed[1 : 1 + side, -1 - side : -1].all()
    assert np.array_equal(before.lesion_mask, after.lesion_mask)
    assert (after.image.dtype, after.image.shape) == (before.image.dtype, before.image.shape)


def test_it_is_another_cohort_and_says_so(plain):
    cohort, other = TokenCohort(plain), TokenCohort(plain, seed=1)
    assert len({plain.digest(), cohort.digest(), other.digest()}) == 3
    assert cohort.inventory().description != plain.inventory().description
    assert cohort.inventory().rows == plain.inventory().rows
    described = cohort.describe()
    assert described["digest"] == cohort.digest()
    assert described["token"] == {"agreement": 0.95, "seed": 0}
    assert described["phantom"] is True
    assert cohort.cases == plain.cases
    assert "token" in cohort.name


def test_it_can_be_copied_and_sent(plain):
    cohort = TokenCohort(plain)
    for again in (copy.copy(cohort), pickle.loads(pickle.dumps(cohort))):
        assert again.digest() == cohort.digest()


def test_it_is_embedded():
    assert isinstance(EMBEDDED["phantom:brain-token"][1](), TokenCohort)
    assert token_side((1, 64, 64)) == 5
    assert token_side((1, 8, 8)) == 2
