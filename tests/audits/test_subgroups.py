"""Attributes of real images as levels: bands of numbers, sizes of lesions, the third that holds most."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from medgan_qa.audits.subgroups import (
    BANDS,
    MOST_LEVELS,
    Attribute,
    attributes,
    composition,
    densest_third,
)
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.cohorts.cohort import Case

Numbers = st.lists(st.integers(-999, 9_999).map(lambda k: k / 10), min_size=BANDS + 1, max_size=40, unique=True)


def pictures(values, *, site=None, masks=None, spacing=(1.0, 1.0), name="age"):
    """Real images of which only the attributes matter."""
    cases = tuple(
        Case(
            case_id=f"c{k}", patient_id=f"p{k}", partition="test", has_target=False, annotated=True, has_mask=True,
            site=None if site is None else site[k], synthetic=False,
            attributes={} if value is None else {name: value},
        )
        for k, value in enumerate(values)
    )  # fmt: skip
    names = tuple(case.case_id for case in cases)
    images = np.zeros((len(cases), 1, 2, 2), np.float32)
    return Pictures(
        images, names, tuple(c.patient_id for c in cases), cases, tuple(masks or [None] * len(cases)), spacing
    )


def only(reference, train):
    """The one attribute that both sets carry."""
    ((first, second),) = attributes(reference, train)
    return first, second


def disc(diameter, side=64):
    rows, columns = np.indices((side, side)) - side / 2
    return rows**2 + columns**2 <= (diameter / 2) ** 2


def test_numbers_are_cut_into_bands_of_a_round_width_that_both_sets_share():
    first, second = only(pictures([str(k) for k in range(20, 50)]), pictures([str(k) for k in range(30, 88)]))

    assert first.levels[0] == "20 to 30"
    assert first.levels[10] == second.levels[0] == "30 to 40"
    assert second.levels[-1] == "80 to 90"
    assert len({*first.levels, *second.levels}) == 7


def test_few_different_numbers_stay_as_they_are():
    first, _ = only(pictures(["1.5", "3", "1.5"] * 4), pictures(["3", "1.5"] * 4))

    assert set(first.levels) == {"1.5", "3"}
    assert first.numbers == ()


def test_bands_of_large_numbers_keep_apart():
    first, _ = only(*(pictures([str(20_231_000 + k) for k in range(1, 31)]) for _ in range(2)))

    assert len(set(first.levels)) == 7
    assert first.levels[0] == "20231000 to 20231005"


def test_one_number_written_in_many_ways_is_no_scale():
    written = [f"3.{'0' * k}" for k in range(BANDS + 2)]

    (first, _), *_ = attributes(pictures(written), pictures(written))
    assert first.numbers == ()


def test_text_and_numbers_mixed_are_text():
    first, _ = only(pictures([*"0123456789", "unknown"]), pictures([*"0123456789", "unknown"]))

    assert "unknown" in first.levels
    assert first.numbers == ()


def test_what_is_not_known_is_no_level():
    first, second = only(pictures(["F", None, "M"]), pictures(["M", "F", None]))

    assert first.levels == ("F", None, "M")
    assert composition(second) == {"M": 0.5, "F": 0.5}


@pytest.mark.parametrize("values", [["same"] * 5, [f"free text {k}" for k in range(MOST_LEVELS + 1)]])
def test_one_level_or_too_many_are_no_grouping(values):
    assert attributes(pictures(values), pictures(values)) == []


def test_an_attribute_of_one_set_alone_is_left_out():
    assert attributes(pictures(["F", "M"], name="sex"), pictures(["1", "2"], name="age")) == []


def test_sites_come_first():
    both = [pictures(["F", "M", "F"], name="sex", site=["A", "B", "A"]) for _ in range(2)]

    assert [first.name for first, _ in attributes(*both)] == ["site", "sex"]


def test_lesions_are_grouped_by_the_largest_in_the_slice():
    two = disc(10) | np.roll(disc(26), 20, axis=1)
    masks = [np.zeros((64, 64), bool), disc(10), two, disc(50), None]
    first, _ = only(pictures([None] * 5, masks=masks), pictures([None] * 5, masks=masks))

    assert first.name == "lesion"
    assert first.levels == ("none", "under 20 mm", "20-40 mm", "40 mm or more", None)


def test_lesion_size_is_in_millimetres():
    masks = [disc(14), np.zeros((64, 64), bool)]
    first, _ = only(*(pictures([None] * 2, masks=masks, spacing=(2.0, 2.0)) for _ in range(2)))

    assert first.levels[0] == "20-40 mm"


def test_the_densest_third_is_where_most_are():
    ages = [8, 9, 10, 11, 12, 13, 14, 10, 11, 0, 3, 18]
    third = densest_third(Attribute("age", tuple(map(str, ages)), tuple(map(float, ages))))

    assert (third.low, third.high, third.share) == (8, 14, 0.75)
    assert (third.least, third.most) == (0, 18)
    assert densest_third(Attribute("sex", ("F", "M"))) is None


@given(Numbers, Numbers)
def test_property_every_number_lies_in_its_band(reference, train):
    assume(len({*reference, *train}) > BANDS)
    both = attributes(*(pictures([str(v) for v in values]) for values in (reference, train)))
    for attribute, values in zip(both[0], (reference, train), strict=True):
        for level, value in zip(attribute.levels, values, strict=True):
            low, high = map(float, level.split(" to "))
            assert low - 1e-6 <= value < high + 1e-6
        assert attribute.numbers == tuple(values)
    assert 2 <= len({*both[0][0].levels, *both[0][1].levels}) <= BANDS + 2


@given(st.lists(st.integers(0, 90), min_size=1, max_size=60))
def test_property_the_densest_third_holds_a_third_and_no_more_than_all(values):
    attribute = Attribute("age", tuple(map(str, values)), tuple(map(float, values)))
    third = densest_third(attribute)

    inside = [v for v in values if third.low - 1e-3 <= v <= third.high + 1e-3]
    assert third.share == pytest.approx(len(inside) / len(values), abs=1e-9)
    assert third.share >= 1 / 3 - 1e-9
    assert third.least <= third.low <= third.high <= third.most


@given(st.lists(st.none() | st.sampled_from(["A", "B", "C"]), min_size=1, max_size=30))
def test_property_shares_add_up_to_one_largest_first(levels):
    shares = composition(Attribute("site", tuple(levels)))

    if any(levels):
        assert sum(shares.values()) == pytest.approx(1)
        assert list(shares.values()) == sorted(shares.values(), reverse=True)
    else:
        assert shares == {}
