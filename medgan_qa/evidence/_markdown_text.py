"""Text that stays text in Markdown, whatever it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from medgan_qa.evidence.checks import CLOSES
from medgan_qa.record import Verdict

LONGEST = 600
"""Characters of a text from the Record that are shown; of what is longer, the sentences that fit."""
REST = "The rest stands in record.json."

# Control characters, and those that change the direction in which a line reads.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_SENTENCE_END = re.compile(r"[.!?](?= )")
_LIST_OR_RULE = re.compile(r"^(\d{1,9}(?=[.)](?: |$))|(?=[-+=]))(.)")
_COMMENT = "<!-- -->"
_MARKS = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]~$"}
    # Entities hold where a backslash would not: in cells, in HTML, and in templates that run over the text.
    | {character: f"&#{ord(character)};" for character in "&<>|{}"}
    # An empty comment is no text, and parts what a forge would make a mention or a reference of.
    | {"@": f"@{_COMMENT}", "#": f"#{_COMMENT}"}
)
_SAFE_CODE = re.compile(r"[A-Za-z0-9.:,/()+-][A-Za-z0-9 ._:,/()\[\]+-]*(?<! )")


def escaped(text: str) -> str:
    """Text on one line that Markdown shows as it stands: no markup, HTML, link, mention or reference in it.

    Blanks and line ends become single blanks; control characters and changes of direction become U+FFFD.
    """
    flat = _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", " ".join(text.split()))
    marked = _shortened(flat).translate(_MARKS).replace("://", f":{_COMMENT}//")
    marked = re.sub(r"\bwww\.", lambda match: f"{match[0][:-1]}{_COMMENT}.", marked, flags=re.IGNORECASE)
    # At the beginning of a line these would make a list, a rule or a heading.
    return _LIST_OR_RULE.sub(r"\1\\\2", marked)


def _shortened(flat: str) -> str:
    """The sentences that fit; where the first one does not, as much of it as does."""
    if len(flat) <= LONGEST:
        return flat
    ends = [match.end() for match in _SENTENCE_END.finditer(flat, 0, LONGEST + 1)]
    return f"{flat[: ends[-1]]} {REST}" if ends else f"{flat[:LONGEST]} ... {REST}"


def code(text: str) -> str:
    """An identifier in a typewriter face; escaped where it holds anything but letters, digits, `._-:,/()[]+`."""
    return f"`{text}`" if len(text) <= LONGEST and _SAFE_CODE.fullmatch(text) else escaped(text)


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table; the cells are Markdown."""
    lines = [columns, ["---"] * len(columns), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def marked(verdict: Verdict) -> str:
    """A verdict in words, bold where it closes a gate."""
    words = verdict.replace("_", " ")
    return f"**{words}**" if verdict in CLOSES else words
