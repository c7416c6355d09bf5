"""`medgan-qa report`: render PDF and HTML again from a Record."""

from __future__ import annotations

from pathlib import Path

import click

from medgan_qa.cli.options import debug_option, templates_option


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path))
@templates_option
@debug_option
def command(folder: Path, templates: Path | None) -> int:
    """Make report and exports of a run's FOLDER again from its Record, and bring seal and manifest up to date."""
    from medgan_qa.cli._sealing import announce_keys
    from medgan_qa.evidence.folder import read_record
    from medgan_qa.evidence.signing import one_at_a_time
    from medgan_qa.report import require_renderer
    from medgan_qa.report.publish import publish

    require_renderer()
    read_record(folder)
    announce_keys()
    with one_at_a_time(folder.resolve().parent):
        written = publish(folder, templates)
    for path in written:
        click.echo(str(path))
    return 0
