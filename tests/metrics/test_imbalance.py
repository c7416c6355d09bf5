"""Standardised differences and their tests against closed forms and scipy's own."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from medgan_qa.metrics.imbalance import level_imbalance, numeric_imbalance
from medgan_qa.rng import child

G = child(0, "imbalance test")


def test_numbers_against_the_closed_form() -> None:
    found = numeric_imbalance([1, 2, 3, 4], [3, 4, 5, 6])
    assert found.difference == pytest.approx(2 / np.std([1, 2, 3, 4], ddof=1))
    assert found.p == stats.mannwhitneyu([1, 2, 3, 4], [3, 4, 5, 6]).pvalue
    assert found.error == pytest.approx(math.sqrt(0.5 + found.difference**2 / 16))
    assert found.counts == (4, 4)
    assert found.level is None


def test_two_levels_use_fisher_and_name_the_level_that_differs() -> None:
    found = level_imbalance(["f"] * 8 + ["m"] * 2, ["f"] * 5 + ["m"] * 5, G)
    assert found.difference == pytest.approx(0.3 / math.sqrt((0.16 + 0.25) / 2))
    assert found.p == pytest.approx(stats.fisher_exact([[8, 2], [5, 5]]).pvalue)
    assert found.test == "Fisher's exact test"


def test_more_levels_use_chi_square_or_its_permutation() -> None:
    many = level_imbalance(list("abc") * 20, list("aabbbc") * 10, child(0, "a"))
    assert many.test == "chi-square test"
    few = level_imbalance(list("abc"), list("abcc"), child(0, "b"))
    assert "permutations" in few.test
    assert few.p > 0.5
    apart = level_imbalance(list("ab") * 5, list("cd") * 5, child(0, "c"))
    assert apart.p < 0.01
    assert apart.difference == pytest.approx(1.0 * 0.5 / math.sqrt(0.125))


def test_groups_with_nothing_in_common_differ_without_bound() -> None:
    assert level_imbalance(["a"] * 5, ["b"] * 5, G).difference == math.inf
    assert numeric_imbalance([1, 1], [2, 2]).difference == math.inf
    assert numeric_imbalance([1, 1], [1, 1]).difference == 0
    assert numeric_imbalance([1, 1], [1, 1]).p == 1


def test_permutation_agrees_with_chi_square_where_that_holds() -> None:
    from medgan_qa.metrics.imbalance import _permuted

    table = np.array([[20, 10, 12], [12, 18, 14]])
    exact = stats.chi2_contingency(table, correction=False).pvalue
    assert _permuted(table, child(0, "agree")) == pytest.approx(exact, abs=0.03)


@pytest.mark.parametrize("bad", [([], [1.0]), ([math.nan], [1.0])])
def test_groups_without_numbers_are_refused(bad: tuple[list[float], list[float]]) -> None:
    with pytest.raises(ValueError, match="finite numbers"):
        numeric_imbalance(*bad)
    with pytest.raises(ValueError, match="hold units"):
        level_imbalance([], ["a"], G)


@given(
    st.lists(st.sampled_from("abc"), min_size=1, max_size=20), st.lists(st.sampled_from("abc"), min_size=1, max_size=20)
)
def test_prop_the_order_of_groups_and_units_changes_nothing(first: list[str], second: list[str]) -> None:
    one, other = level_imbalance(first, second, child(0, "p")), level_imbalance(second, first[::-1], child(0, "p"))
    assert one.difference == pytest.approx(other.difference)
    assert 0 < one.p <= 1
    assert one.difference >= 0
