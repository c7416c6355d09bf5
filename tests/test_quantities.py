"""How numbers are written for readers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import quantities
from medgan_qa.record import Interval


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.03, "fraction", "3.0 %"),
        (0.076, "fraction", "7.6 %"),
        (0.0, "fraction", "0 %"),
        (1.0, "fraction", "100 %"),
        (0.9996, "fraction", "99.96 %"),
        (0.00042, "fraction", "0.04 %"),
        (-0.05, "fraction", "\u22125.0 %"),
        (0.944, "1", "0.94"),
        (0.042, "1", "0.042"),
        (0.00063, "1", "0.0006"),
        (-0.1234, "1", "\u22120.12"),
        (0.0000123, "1", "1.23e\u221205"),
        (31.24, "dB", "31.2 dB"),
        (1.84, "mm", "1.8 mm"),
        (0.213, "mm", "0.21 mm"),
        (0.0, "count", "0"),
        (12345.0, "count", "12\u202f345"),
        (2.5, "count", "2.5"),
        (123.4, "HU", "123 HU"),
        (-0.0001, "dB", "0.0 dB"),
    ],
)
def test_a_quantity_is_written_in_the_digits_of_its_unit(value: float, unit: str, text: str) -> None:
    assert quantities.quantity(value, unit) == text


def test_a_number_near_a_limit_gets_the_digits_that_tell_them_apart() -> None:
    assert quantities.against(0.1004, [0.1], "fraction") == "10.04 %"
    assert quantities.against(0.1, [0.1], "fraction") == "10.0 %"
    assert quantities.against(0.04985, [0.0499], "fraction") == "4.98 %"
    assert quantities.against(0.04, [0.0], "count") == "0.04"


UNITS = ["fraction", "1", "dB", quantities.POINTS]


@given(st.floats(-2, 2), st.floats(-2, 2).map(lambda limit: round(limit, 3)), st.sampled_from(UNITS))
def test_prop_a_written_number_reads_on_its_side_of_the_limit(value: float, limit: float, unit: str) -> None:
    if 0 < abs(value - limit) < 1e-12:
        return
    digits = quantities.against(value, [limit], unit).split()[0].replace("\u2212", "-")
    read = float(f"{digits}e-2" if unit in ("fraction", quantities.POINTS) else digits)
    assert (read > limit, read < limit) == (value > limit, value < limit)


def test_differences_of_shares_are_percentage_points() -> None:
    points = quantities.of_difference("fraction")
    assert quantities.quantity(0.31, points) == "31.0 percentage points"
    assert quantities.short(quantities.declared(0.1, points)) == "10 points"
    assert quantities.of_difference("dB") == "dB"
    assert quantities.against(0.030001, [0.03], points) == "3.0001 percentage points"


def test_a_number_with_its_interval_names_its_unit_once() -> None:
    ends = Interval(low=0.1429, high=0.4394, level=0.95, method="exact", sided=1)
    points = quantities.of_difference("fraction")
    assert quantities.with_interval(0.31, ends, points, [0.1]) == "31.0 percentage points (14.3 to 43.9)"
    assert quantities.with_interval(0.31, ends.model_copy(update={"low": None}), "fraction") == "31.0 % (at most 43.9)"
    assert quantities.with_interval(0.31, ends, "1") == "0.31 (0.14 to 0.44)"
    assert quantities.with_interval(31.24, None, "dB") == "31.2 dB"
    assert quantities.with_interval(None, ends, "dB") == "-"


def test_terminals_get_plain_characters() -> None:
    assert quantities.plain(quantities.quantity(-12345.0, "count")) == "-12 345"


def test_intervals_say_which_end_they_lack() -> None:
    assert quantities.span(0.012, 0.076, "fraction") == "1.2 to 7.6 %"
    assert quantities.span(None, 0.076, "fraction") == "at most 7.6 %"
    assert quantities.span(30.6, None, "dB") == "at least 30.6 dB"
    assert quantities.span(None, None, "dB") == "not obtained"
    assert quantities.interval(None, "dB") == ""


def test_levels_say_their_sides() -> None:
    one = Interval(low=None, high=0.1, level=0.975, method="Wilson", sided=1)
    assert quantities.level(one) == "97.5 %, one-sided"
    assert quantities.level(one.model_copy(update={"sided": 2, "level": 0.95})) == "95 %, two-sided"
    assert quantities.level(None) == ""


def test_limits_keep_the_digits_they_were_declared_with() -> None:
    assert quantities.limit({"max": 0.1}, "fraction") == "\u2264 10 %"
    assert quantities.limit({"max": 0.07}, "fraction") == "\u2264 7 %"
    assert quantities.limit({"min": 25.0}, "dB") == "\u2265 25 dB"
    assert quantities.limit({"max": 1.4, "min": 0.7}, "1") == "0.7 to 1.4"
    assert quantities.allowed({"max": 0.07}, "fraction") == "at most 7 %"
    assert quantities.allowed({"max": 1.1, "min": 0.9}, "1") == "at least 0.9 and at most 1.1"
    assert quantities.declared(0.12345678, "fraction") == "12.345678 %"


def test_samples_name_their_patients() -> None:
    assert quantities.sample(160, "lesion", 84) == "160 lesions; 84 patients"
    assert quantities.sample(1, "lesion", 1) == "1 lesion; 1 patient"
    assert quantities.sample(84, "patient", 84) == "84 patients"
    assert quantities.sample(12, "case with lesions", None) == "12 cases with lesions"
    assert quantities.sample(3, "study", None) == "3 studies"
    assert quantities.sample(None, None, None) == ""
