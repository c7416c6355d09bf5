"""From a Record to everything that is made from it: exports, report, seal, manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

from medgan_qa.evidence.exports import write_exports
from medgan_qa.evidence.folder import staged, write_manifest
from medgan_qa.evidence.seal import seal_identity, seal_manifest, seal_pdf
from medgan_qa.report import write_reports


def publish(folder: Path, templates: Path | None = None) -> list[Path]:
    """Make exports, report, seal and manifest of a run's folder again; the folder changes as a whole or not at all.

    Args:
        folder: a run's folder.
        templates: a company's own templates.

    Returns:
        The report's files.

    Raises:
        RecordError: the Record, or a file that it names, cannot be read.
        OutputError: the folder cannot be written.
    """
    with staged(folder) as stage:
        shutil.copytree(folder, stage, dirs_exist_ok=True)
        written = finish(stage, templates)
    return [folder / path.name for path in written]


def finish(stage: Path, templates: Path | None = None) -> list[Path]:
    """As `publish`, in a folder that is not in its place yet."""
    write_exports(stage)
    page, document = write_reports(stage, templates)
    seal_pdf(document, identity=seal_identity())
    write_manifest(stage)
    seal_manifest(stage)
    return [page, document]
