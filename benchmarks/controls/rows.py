"""Every row, in the order of the catalogue of controls."""

from __future__ import annotations

from benchmarks.controls import other_rows, translation_rows
from benchmarks.controls.planted import Row

ROWS: tuple[Row, ...] = (*translation_rows.ROWS, *other_rows.ROWS)
