"""The outcome of a check as one HTML page that needs nothing beside it."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from html import escape

from medgan_qa.cohorts.checking.findings import Checked, Finding, PartitionFacts
from medgan_qa.cohorts.checking.summary import HEADINGS, cells, verdict

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #202020; background: #fafaf8; margin: 2rem auto; max-width: 78rem;
  padding: 0 1.5rem; }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .35rem .8rem .35rem 0;
  vertical-align: top; border-bottom: 1px solid #ddd; } th { font-weight: 600; }
.error td:first-child { color: #b22222; font-weight: 600; }
.warning td:first-child { color: #9a5b00; font-weight: 600; }
.faint { color: #6e6e6e; } img { max-width: 100%; } .todo { color: #6e6e6e; }
"""


def page(checked: Checked, sheet: bytes | None) -> str:
    """The page.

    Args:
        checked: what was found.
        sheet: the contact sheet as PNG; None where no image could be read.
    """
    parts = [
        '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">',
        f"<title>{escape(checked.name)}: check of the data</title>\n<style>{_STYLE}</style>",
        f"<h1>{escape(checked.name)}</h1>\n<p>{escape(checked.file)}: {escape(verdict(checked))}</p>",
        _findings(checked.findings),
        _facts(checked.partitions),
        _picture(sheet),
        "</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _findings(findings: Sequence[Finding]) -> str:
    if not findings:
        return "<h2>Findings</h2>\n<p>None.</p>"
    rows = "\n".join(_finding(one) for one in sorted(findings, key=lambda one: one.severity))
    return f"<h2>Findings</h2>\n<table>\n{_row('th', ('', 'what', 'number', 'first ones'))}\n{rows}\n</table>"


def _finding(one: Finding) -> str:
    listed = "<br>".join(map(escape, one.offenders))
    more = f'<br><span class="faint">and {one.left} more</span>' if one.left else ""
    what = f'{escape(one.problem)}<br><span class="todo">{escape(one.todo)}</span>'
    body = f"<td>{one.severity}</td><td>{what}</td><td>{one.count}</td><td>{listed}{more}</td>"
    return f'<tr class="{one.severity}">{body}</tr>'


def _facts(partitions: Sequence[PartitionFacts]) -> str:
    if not partitions:
        return ""
    columns = [cells(facts) for facts in partitions]
    rows = [(heading, *(column[index] for column in columns)) for index, heading in enumerate(HEADINGS)]
    shown = [row for row in rows if any(cell not in ("", "0") for cell in row[1:])]
    head = _row("th", ("", *(facts.partition for facts in partitions)))
    return (
        "<h2>What was understood</h2>\n<table>\n"
        + "\n".join([head, *(_row("td", row) for row in shown)])
        + "\n</table>"
    )


def _row(tag: str, values: Iterable[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values) + "</tr>"


def _picture(sheet: bytes | None) -> str:
    if sheet is None:
        return ""
    data = base64.b64encode(sheet).decode()
    return f'<h2>Cases</h2>\n<img alt="Contact sheet of the cases" src="data:image/png;base64,{data}">'
