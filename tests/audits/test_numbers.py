"""What a rate says is missing for a claim, against bounds that are computed anew."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits.numbers import rate
from medgan_qa.criteria import Declared
from medgan_qa.stats import clopper_pearson


def shortfall(events: int, n: int, limit: dict[str, float], alpha: float = 0.05, a_patient: int = 1) -> str | None:
    """Of `n` units of which `events` show the event, `a_patient` units a patient."""
    estimate = rate(
        "X.rate",
        "Rate",
        [k < events for k in range(n)],
        [f"p{k // a_patient}" for k in range(n)],
        unit_of_analysis="lesion",
    )
    declared = Declared("AC-1", "X.rate", limit, "upper" if "max" in limit else "lower")
    assert estimate.shortfall is not None
    return estimate.shortfall(declared, alpha)


def named(text: str | None) -> tuple[int, int]:
    """How many units are needed, and how many more that is."""
    found = re.search(r"; (\d+) independent ones .*, (\d+) more$", str(text))
    assert found is not None, text
    return int(found[1]), int(found[2])


def test_a_rate_that_may_not_be_too_high_counts_its_events():
    # 1 - 0.05^(1/59) is the first upper bound of no event that is at or below 5 %.
    assert shortfall(0, 20, {"max": 0.05}) == "0 of 20; 59 independent ones are needed for this claim with 0, 39 more"


def test_a_rate_that_may_not_be_too_low_counts_the_exceptions():
    text = shortfall(20, 20, {"min": 0.95})

    assert text == "20 of 20; 59 independent ones are needed for this claim with 0 exceptions, 39 more"
    assert str(shortfall(39, 40, {"min": 0.95})).endswith("with 1 exception, 53 more")


def test_patients_are_named_where_they_hold_several_units():
    text = str(shortfall(20, 20, {"min": 0.95}, a_patient=4))

    assert text.startswith("20 of 20 in 5 patients; ")
    assert named(text) == (59, 54)


@pytest.mark.parametrize(
    ("events", "limit", "where"), [(3, {"max": 0.1}, "above"), (18, {"min": 0.9}, "below"), (17, {"min": 0.9}, "below")]
)
def test_an_estimate_beyond_the_limit_is_not_mended_by_more_cases(events, limit, where):
    text = str(shortfall(events, 20, limit))

    assert text == (
        f"{events} of 20; the estimate itself is at or {where} the limit, so more cases alone will not carry this claim"
    )


@pytest.mark.parametrize("limit", [{"max": 0.0}, {"max": 1.0}, {"min": 0.0}, {"min": 1.0}])
def test_a_limit_at_an_end_of_the_scale_takes_no_number_of_cases(limit):
    assert shortfall(10, 20, limit) is None


def test_of_two_limits_the_one_that_is_not_met_counts():
    both = {"min": 0.5, "max": 0.99}

    # An upper bound of 1 against a limit of 99 %: events that are too frequent cannot be outnumbered.
    assert "at or above" in str(shortfall(20, 20, both))
    assert "exceptions" in str(shortfall(14, 20, both))
    assert "exception" not in str(shortfall(1, 20, {"min": 0.01, "max": 0.2}))


def test_no_units_say_nothing():
    assert shortfall(0, 0, {"min": 0.9}) is None
    assert shortfall(0, 0, {"max": 0.1}) is None


Rates = st.floats(0.02, 0.5)


@given(st.integers(0, 6), st.integers(8, 60), Rates, st.sampled_from([0.01, 0.025, 0.05]))
def test_property_so_many_carry_the_claim_and_one_less_does_not(exceptions, n, share, alpha):
    limit = 1 - share
    text = str(shortfall(n - exceptions, n, {"min": limit}, alpha))
    if "; " not in text or "at or below" in text:
        return
    needed, more = named(text)

    assert more == needed - n > 0
    # Rounding of 1 - share, and of 1 - bound, is the only difference between the two sides.
    assert clopper_pearson(needed - exceptions, needed, alpha)[0] >= limit - 1e-9
    assert clopper_pearson(needed - 1 - exceptions, needed - 1, alpha)[0] < limit + 1e-9


@given(st.integers(0, 20), Rates)
def test_property_both_sides_are_one_claim(events, limit):
    above, below = shortfall(events, 20, {"max": limit}), shortfall(20 - events, 20, {"min": 1 - limit})
    if above is None or below is None or abs(events / 20 - limit) < 1e-9:
        return

    assert ("at or" in above) == ("at or" in below)
    if "; " in above and "at or" not in above:
        assert named(above) == named(below)
