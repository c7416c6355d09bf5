"""The page as PDF/A-3a (A4), tagged, with the run's Record inside; byte for byte the same for the same page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medgan_qa.errors import MissingDependencyError
from medgan_qa.report.attachments import Attached
from medgan_qa.report.files import replace_file
from medgan_qa.report.paper import on_paper

_VARIANT = "pdf/a-3a"
_CREATED = re.compile(r'<meta name="dcterms\.created" content="(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)Z">')
_UNDATED = datetime(2000, 1, 1, tzinfo=UTC)


def require_renderer() -> None:
    """Make sure that the PDF can be rendered, before anything is computed.

    Raises:
        MissingDependencyError: WeasyPrint or a library of the system that it needs is not there.
    """
    try:
        import weasyprint  # noqa: F401  # loading it is the check
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            "The PDF cannot be made",
            expected="WeasyPrint and the Pango library",
            found=str(error).splitlines()[0],
            todo="install WeasyPrint's libraries: apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0",
        ) from error


def render_pdf(html: str, out: Path, attachments: Sequence[Attached] = ()) -> None:
    """Render the report's page as PDF/A-3a and move it into place.

    Dates come from the page's own metadata and the identifier from its digest, so that the file carries nothing of the
    time or the machine it was made on. Nothing but data URIs is fetched.

    Args:
        html: a page made by `render_html`.
        out: where the PDF is to lie; its folder must exist.
        attachments: files that the PDF carries.

    Raises:
        MissingDependencyError: WeasyPrint or a library of the system that it needs is not there.
        OutputError: the file cannot be written.
    """
    require_renderer()
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    html = on_paper(html)
    page = HTML(string=html, url_fetcher=URLFetcher(allowed_protocols={"data"}))
    identifier = hashlib.sha256(html.encode()).hexdigest()[:32].encode()
    # The names of a PDF's attachments have to be sorted.
    embedded = [_embedded(one, _created(html)) for one in sorted(attachments, key=lambda one: one.name)]
    written = page.write_pdf(
        pdf_identifier=identifier, pdf_variant=_VARIANT, attachments=embedded, finisher=_list_attachments_once
    )
    replace_file(out, written)


def _list_attachments_once(_document: Any, pdf: Any) -> None:
    # The renderer lists each attachment twice among the associated files.
    if "AF" in pdf.catalog:
        pdf.catalog["AF"][:] = dict.fromkeys(pdf.catalog["AF"])


def _created(html: str) -> datetime:
    found = _CREATED.search(html)
    return _UNDATED if found is None else datetime.strptime(found[1], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)


def _embedded(one: Attached, created: datetime) -> Any:
    from weasyprint import Attachment
    from weasyprint.urls import URLFetcher

    # As a data address it brings its own type: a guess from the name depends on the machine.
    address = f"data:{one.type};base64,{base64.b64encode(one.content).decode('ascii')}"
    return Attachment(
        url=address,
        url_fetcher=URLFetcher(allowed_protocols={"data"}),
        name=one.name,
        description=one.description,
        relationship=one.relationship,
        created=created,
        modified=created,
    )
