"""Record to figures to HTML to PDF.

The report lays out what stands in a Record and computes no statistic. `write_reports` reads a run's folder and puts
`report.html` and `report.pdf` into it; the same folder always gives the same bytes.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from medgan_qa.errors import RecordError
from medgan_qa.record import Record
from medgan_qa.report.attachments import Attached, attachments
from medgan_qa.report.files import replace_file
from medgan_qa.report.html import render_html
from medgan_qa.report.pdf import render_pdf, require_renderer

__all__ = ["Attached", "attachments", "render_html", "render_pdf", "require_renderer", "write_reports"]


def write_reports(folder: Path, templates: Path | None = None) -> list[Path]:
    """Render the Record of a run's folder as `report.html` and `report.pdf` in that folder.

    Args:
        folder: holds `record.json`, and the evidence files that the run made.
        templates: a company's template folder; None takes the one that `MEDGAN_QA_TEMPLATES` names, if any.

    Returns:
        The two files.

    Raises:
        RecordError: the Record, or a file that it names, cannot be read.
        IntegrityError: a file differs from what the Record says of it.
        ConfigurationError: the company's templates cannot be used, or drop a required clause.
        MissingDependencyError: the PDF renderer is not there; the HTML is written all the same.
        OutputError: the folder cannot be written.
    """
    html = render_html(_read(folder / "record.json"), folder, templates)
    page, document = folder / "report.html", folder / "report.pdf"
    replace_file(page, html.encode())
    render_pdf(html, document, attachments(folder))
    return [page, document]


def _read(path: Path) -> Record:
    try:
        return Record.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValidationError, UnicodeDecodeError) as error:
        raise RecordError(
            "The Record cannot be read",
            expected="a Record of schema medgan-qa/record/1",
            found=f"{type(error).__name__}: {str(error).splitlines()[0]}",
            where=path,
            todo="name the folder of a finished run, or run the audit again",
        ) from error
