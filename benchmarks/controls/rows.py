"""Every row, in the order of the catalogue of controls."""

from __future__ import annotations

from benchmarks.controls import translation_rows
from benchmarks.controls.planted import Row

ROWS: tuple[Row, ...] = translation_rows.ROWS
