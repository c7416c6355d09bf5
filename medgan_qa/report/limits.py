"""How much of a run the report prints: every limit in one place, with its reason.

Two kinds. What is drawn at all is bounded, so that a run of any size can be rendered; the run's files are whole. What
goes on paper is bounded further, so that a person reads the PDF to its end; `report.html`, made from the same page,
shows what the PDF leaves out. Each place where something is left out says so and says where it stands.

An audit counts as judged here if a criterion judges one of its measurements: these are what a reviewer has to weigh,
so they get more room.
"""

from __future__ import annotations

# Drawn at all.
MOST_POINTS = 1500
"""Marks in a scatter plot: more lie on top of each other, and slow down every viewer."""
MOST_STRATA = 120
"""Rows of an interval plot: three pages of it."""
MOST_STEPS = 400
"""Steps of a line: paper shows no finer ones."""
MOST_PANELS = 40
"""Cases of an exhibit of images: each is about 100 kB of the page."""
MOST_IMAGES = 120
"""Small images of one group of a contact sheet: twelve rows."""

# Put on paper.
PAPER_CASES_JUDGED, PAPER_CASES_OTHER = 6, 3
"""Cases of an exhibit of images. Six fill a page; three show what a reported audit is about."""
PAPER_RANDOM = 3
"""One case in so many is one that was drawn at random, so that the page does not show failures alone."""
PAPER_EXHIBITS_JUDGED, PAPER_EXHIBITS_OTHER = 3, 1
"""Exhibits of an audit beyond its tables: one of each kind where it is judged, else the one that tells most."""
PAPER_ROWS_JUDGED, PAPER_ROWS_OTHER = 40, 12
"""Rows of a table of counts: most of a page, and a third of one."""
PAPER_SHEET_ROWS_JUDGED, PAPER_SHEET_ROWS_OTHER = 12, 4
"""Groups, or rows of small groups, of a contact sheet: two pages at most, and a third of one."""
PAPER_PLOTS_OTHER = 1
"""Drawings of an interval plot of many rows, where no criterion judges: a third of a page."""
PAPER_STRATA_JUDGED, PAPER_STRATA_OTHER = 10, 3
"""Strata of one measurement: all that subgroup plans commonly name where it is judged, else the worst few."""

# Annex A.
CASE_ROWS_JUDGED, CASE_ROWS_OTHER = 40, 12
"""Cases of an audit: most of a page, and a quarter of one. The file of cases, which travels with the PDF, has all."""
CASE_TABLE_MM = 174.0
"""Width of a table of cases: that of an upright page, so that nobody turns the report to read it."""
