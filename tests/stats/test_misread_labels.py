"""Wrong labels behind a reader with errors: the estimate is Rogan and Gladen's, the ends hold whoever reads better."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.stats import clopper_pearson
from medgan_qa.stats.misread_labels import Counted, wrong_labels


def counted(k: int, n: int, each: int = 1) -> Counted:
    """`k` events of `n`, `each` to a patient."""
    return Counted([i < k for i in range(n)], [f"p{i // each}" for i in range(n)])


def test_the_estimate_is_the_corrected_share():
    found = wrong_labels(counted(30, 100), counted(10, 100), [counted(20, 100)])

    assert found.value == pytest.approx((0.3 - 0.1) / (1 - 0.1 - 0.2))
    assert found.low < found.value < found.high


def test_the_ends_are_built_as_said():
    found = wrong_labels(counted(30, 100), counted(10, 100), [counted(20, 100)], alpha=0.05)
    (q_low, q_high), e_high, f_high = (
        clopper_pearson(30, 100, 0.025),
        clopper_pearson(10, 100, 0.025)[1],
        clopper_pearson(20, 100, 0.025)[1],
    )

    assert found.low == pytest.approx((q_low - e_high) / (1 - e_high))
    assert found.high == pytest.approx(q_high / (1 - f_high))


def test_a_perfect_reader_of_right_labels_leaves_what_was_not_seen():
    found = wrong_labels(counted(0, 200), counted(0, 200), [counted(0, 200)])

    assert found.value == 0
    assert found.low == 0
    assert 0.018 < found.high < 0.022


def test_the_worst_of_several_other_classes_counts():
    one = wrong_labels(counted(30, 100), counted(5, 100), [counted(20, 100)])
    two = wrong_labels(counted(30, 100), counted(5, 100), [counted(20, 100), counted(0, 100)])

    assert two.value == one.value
    assert two.high >= one.high


@pytest.mark.parametrize(
    ("q", "e", "f"), [((5, 10), (0, 0), (0, 10)), ((0, 0), (0, 10), (0, 10)), ((5, 10), (6, 10), (6, 10))]
)
def test_nothing_to_count_and_a_reader_who_tells_nothing_apart_give_no_estimate(q, e, f):
    found = wrong_labels(counted(*q), counted(*e), [counted(*f)])

    assert found.value is None
    assert 0 <= found.low <= found.high <= 1


def test_without_another_class_there_is_no_wrong_label():
    with pytest.raises(ValueError, match="no other class"):
        wrong_labels(counted(1, 10), counted(1, 10), [])


@pytest.mark.parametrize("eased", [1.0, 0.0], ids=["same errors", "samples are easier"])
def test_the_ends_cover_whether_the_reader_errs_on_samples_or_not(eased):
    g, truth, miss, take, below, above = rng.child(3, "cover", str(eased)), 0.15, 0.08, 0.06, 0, 0
    for _ in range(300):
        wrong = g.random(150) < truth
        said_other = np.where(wrong, g.random(150) >= take, g.random(150) < eased * miss)
        # Two images of a patient are misread together, half of the time.
        real = [np.where(g.random(120) < 0.5, np.repeat(g.random(60) < p, 2), g.random(120) < p) for p in (miss, take)]
        people = [f"p{i // 2}" for i in range(120)]
        found = wrong_labels(
            Counted(said_other.tolist(), list(range(150))),
            Counted(real[0].tolist(), people),
            [Counted(real[1].tolist(), people)],
        )
        below += truth < found.low
        above += truth > found.high

    assert below <= 22
    assert above <= 22


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(1, 4))
def test_prop_ends_enclose_the_estimate(q, e, f, each):
    found = wrong_labels(counted(q, 40), counted(e, 40, each), [counted(f, 40, each)])

    assert 0 <= found.low <= found.high <= 1
    if found.value is not None:
        assert found.low <= found.value + 1e-12
        assert found.value <= found.high + 1e-12
