"""`medgan-qa report`: render PDF and HTML again from a Record."""

from __future__ import annotations

from pathlib import Path

import click

from medgan_qa.cli.options import debug_option


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
@debug_option
def command(folder: Path) -> int:
    """Render report.pdf and report.html of a run's FOLDER again, and bring its manifest up to date."""
    from medgan_qa.evidence.folder import read_record, write_manifest
    from medgan_qa.report import require_renderer, write_reports

    require_renderer()
    read_record(folder)
    written = write_reports(folder)
    write_manifest(folder)
    for path in written:
        click.echo(str(path))
    return 0
