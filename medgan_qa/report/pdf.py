"""The page as PDF (A4), byte for byte the same for the same page."""

from __future__ import annotations

import hashlib
from pathlib import Path

from medgan_qa.errors import MissingDependencyError
from medgan_qa.report.files import replace_file


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


def render_pdf(html: str, out: Path) -> None:
    """Render the report's page as PDF and move it into place.

    Dates come from the page's own metadata and the identifier from its digest, so that the file carries nothing of the
    time or the machine it was made on. Nothing but data URIs is fetched.

    Args:
        html: a page made by `render_html`.
        out: where the PDF is to lie; its folder must exist.

    Raises:
        MissingDependencyError: WeasyPrint or a library of the system that it needs is not there.
        OutputError: the file cannot be written.
    """
    require_renderer()
    from weasyprint import HTML
    from weasyprint.urls import URLFetcher

    page = HTML(string=html, url_fetcher=URLFetcher(allowed_protocols={"data"}))
    identifier = hashlib.sha256(html.encode()).hexdigest()[:32].encode()
    replace_file(out, page.write_pdf(pdf_identifier=identifier))
