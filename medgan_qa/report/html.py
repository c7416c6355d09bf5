"""The Record as one HTML page that needs no network: style, fonts and figures are inside it."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from medgan_qa.record import Record
from medgan_qa.report import numbers, typography
from medgan_qa.report.view import build_view


def render_html(record: Record, folder: Path) -> str:
    """Render a Record as a page.

    Args:
        record: the run.
        folder: the run's folder; `cases.csv` and the exhibits' arrays are read from it.

    Returns:
        The page; the same Record and folder always give the same text.

    Raises:
        RecordError: a file that the Record names cannot be read.
    """
    return render_template("report.html.j2", view=build_view(record, folder))


def render_template(name: str, **context: Any) -> str:
    """Render one of the report's templates.

    Raises:
        jinja2.UndefinedError: the template uses a name that the context lacks.
    """
    style = _resource("report.css")
    return environment().get_template(name).render(style=Markup(style), fonts=Markup(typography.font_css()), **context)


def environment() -> Environment:
    """The template environment: every value is escaped, and an unknown name is an error."""
    made = Environment(
        loader=FunctionLoader(_resource),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["groups"] = numbers.groups
    return made


def _resource(name: str) -> str:
    return files("report_templates").joinpath(*name.split("/")).read_text(encoding="utf-8")
