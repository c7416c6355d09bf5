"""Sections and annexes of the report, in the order of the design and development file."""

from __future__ import annotations

from typing import NamedTuple


class Section(NamedTuple):
    """A section or annex."""

    number: str
    anchor: str
    title: str

    @property
    def name(self) -> str:
        """How text refers to it, e.g. `section 6` or `annex E`."""
        return f"annex {self.number}" if self.number.isalpha() else f"section {self.number}"


_TITLES = (
    ("cover", "Cover"),
    ("summary", "Summary"),
    ("purpose", "Purpose, scope and context of use"),
    ("references", "References"),
    ("article", "Test article"),
    ("system", "Test system"),
    ("data", "Data"),
    ("criteria", "Predefined acceptance criteria"),
    ("methods", "Statistical methods"),
    ("results", "Results by audit"),
    ("trace", "Hazard traceability"),
    ("deviations", "Deviations, checks without a result, attempts"),
    ("comparison", "Comparison with a baseline"),
    ("residual", "Residual risk inputs, limitations, cautions"),
    ("conclusion", "Conclusion and assessment"),
    ("signatures", "Signatures"),
)
_ANNEXES = (
    ("cases", "Cases"),
    ("criteria-file", "Criteria file"),
    ("configuration", "Configuration"),
    ("qualification", "Qualification of the tool"),
    ("regulation", "Regulation map"),
    ("glossary", "Glossary"),
    ("files", "Files"),
)
SECTIONS: dict[str, Section] = {
    anchor: Section(number, anchor, title)
    for number, (anchor, title) in [
        *((str(place), entry) for place, entry in enumerate(_TITLES)),
        *((chr(ord("A") + place), entry) for place, entry in enumerate(_ANNEXES)),
    ]
}
"""Every section by its anchor, in order."""
