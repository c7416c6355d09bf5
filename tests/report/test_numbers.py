"""Columns of the case table, and digests in groups."""

from __future__ import annotations

from medgan_qa import quantities
from medgan_qa.report import numbers


def test_numbers_are_written_as_everywhere_else() -> None:
    written = [name for name in numbers.__all__ if hasattr(quantities, name)]
    assert len(written) == 11
    assert all(getattr(numbers, name) is getattr(quantities, name) for name in written)


def test_a_column_is_shortened_with_its_points_aligned() -> None:
    assert numbers.column(["0.123456", "-0.5", "", "0.98765"]) == ["0.1235", "\u22120.5000", "", "0.9877"]
    assert numbers.column(["12.3456", "8.9"]) == ["12.35", "8.90"]
    assert numbers.column(["1", "20", "kept"]) == ["1", "20", "kept"]
    assert numbers.column(["3.0", "4.0"]) == ["3", "4"]


def test_a_column_of_very_unlike_sizes_keeps_small_numbers_visible() -> None:
    assert numbers.column(["1234.567", "0.00123456"]) == ["1235", "0.001235"]


def test_only_digests_are_cut_into_groups() -> None:
    assert numbers.groups("ab" * 32) == ["abababab"] * 8
    assert numbers.groups("sha256:" + "0f" * 32) == ["0f0f0f0f"] * 8
    assert numbers.groups("not a digest at all") == ["not a digest at all"]
