"""A Record as a summary for a pull request: the verdict and its reasons first, a minute to read."""

from __future__ import annotations

from medgan_qa.evidence._markdown_comparison import comparison_lines
from medgan_qa.evidence.markdown import PHANTOM, WITHHELD_NOTE, WORDS, code, criteria_table, escaped, reasons, why
from medgan_qa.evidence.withheld import is_withheld
from medgan_qa.record import Record


