"""The Record as one HTML page that needs no network: style, fonts and figures are inside it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import FunctionLoader, StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from markupsafe import Markup

from medgan_qa.errors import ConfigurationError
from medgan_qa.record import Record
from medgan_qa.report import numbers, typography
from medgan_qa.report.annex import require_unchanged
from medgan_qa.report.clauses import require_clauses, required
from medgan_qa.report.company import company
from medgan_qa.report.marks import mark_css
from medgan_qa.report.paper import on_paper
from medgan_qa.report.resources import Templates
from medgan_qa.report.view import build_view


def render_html(record: Record, folder: Path, templates: Path | None = None) -> str:
    """Render a Record as a page.

    Args:
        record: the run.
        folder: the run's folder; case table, criteria, signatures and the exhibits' arrays are read from it.
        templates: a company's template folder, laid over the package's own; None takes the one that the environment
            variable `MEDGAN_QA_TEMPLATES` names, if any.

    Returns:
        The page, with all that is shown on screen; the same Record, folder and templates always give the same text.

    Raises:
        RecordError: a file that the Record names cannot be read.
        IntegrityError: a file differs from what the Record says of it.
        ConfigurationError: the company's templates cannot be used, or the page lacks a required clause.
    """
    found = Templates(templates)
    require_unchanged(record, folder)
    clauses = required(found)
    view = build_view(record, folder, company(found), clauses, found)
    page = render_template("report.html.j2", found, view=view)
    # What is for the screen alone answers no clause: the report that is signed is the one on paper.
    require_clauses(on_paper(page), clauses, found)
    return page


def render_template(name: str, templates: Templates, **context: Any) -> str:
    """Render one of the report's templates.

    Raises:
        ConfigurationError: the template is malformed, uses a name that the context lacks, or does what no template may.
    """
    fixed = {
        "style": Markup(templates.text("report.css") or ""),
        "marks": Markup(mark_css()),
        "fonts": Markup(typography.font_css()),
    }
    try:
        return environment(templates).get_template(name).render(**fixed, **context)
    except TemplateError as error:
        raise ConfigurationError(
            "A template of the report cannot be rendered",
            expected="a Jinja template that uses what the report hands it",
            found=f"{type(error).__name__}: {error.message}",
            where=_place(error, templates),
            todo="compare it with the template of the same name in report_templates",
        ) from error


def environment(templates: Templates) -> ImmutableSandboxedEnvironment:
    """The template environment: every value is escaped, an unknown name is an error, and Python is out of reach."""

    def load(name: str) -> tuple[str, str | None, None] | None:
        source = templates.template(name)
        return None if source is None else (source, templates.where(name), None)

    made = ImmutableSandboxedEnvironment(
        loader=FunctionLoader(load),
        undefined=StrictUndefined,
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    made.filters["groups"] = numbers.groups
    return made


def _place(error: TemplateError, templates: Templates) -> str:
    """The template and its line, as far as the error says them."""
    if isinstance(error, TemplateSyntaxError):
        return f"{error.filename or templates.folder}, line {error.lineno}"
    place, trace = str(templates.folder or "report_templates"), error.__traceback__
    while trace is not None:
        # Jinja puts such frames in for its templates, with their names and lines; the last is where it went wrong.
        if "__jinja_exception__" in trace.tb_frame.f_globals:
            place = f"{trace.tb_frame.f_code.co_filename}, line {trace.tb_lineno}"
        trace = trace.tb_next
    return place
