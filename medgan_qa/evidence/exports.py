"""What is made from a run's Record for other tools, in its folder.

One table says which file is made by what. Where the criteria withhold numbers, everything that is text shows verdicts
only; the Parquet table is whole, as the CSV table that it is made from.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from medgan_qa.digests import sha256
from medgan_qa.errors import OutputError, RecordError
from medgan_qa.evidence.junit import junit_xml
from medgan_qa.evidence.markdown import summary_md
from medgan_qa.evidence.model_card import model_card_md
from medgan_qa.evidence.rdm import rdm_yaml
from medgan_qa.evidence.records import load_record
from medgan_qa.evidence.sarif import sarif_json
from medgan_qa.evidence.sbom import sbom_json
from medgan_qa.evidence.signing import signatures
from medgan_qa.evidence.tables import cases_parquet
from medgan_qa.evidence.withheld import is_withheld, withheld
from medgan_qa.record import Record


class Source(NamedTuple):
    """What the exports of a run are made from."""

    folder: Path
    record: Record
    """Without numbers where the criteria withhold them."""
    sha256: str
    """Digest of `record.json`."""


def _test_record(source: Source) -> str:
    authors = [s.name for s in signatures(source.folder) if s.meaning == "author" and s.valid]
    return rdm_yaml(source.record, authors)


def _sbom(source: Source) -> str:
    return sbom_json(source.record, source.sha256)


def _parquet(source: Source) -> bytes | None:
    path = source.folder / "cases.csv"
    return cases_parquet(path) if path.is_file() else None


EXPORTS: dict[str, Callable[[Source], str | bytes | None]] = {
    "junit.xml": lambda source: junit_xml(source.record),
    "results.sarif": lambda source: sarif_json(source.record),
    "test-record.yaml": _test_record,
    "model-card.md": lambda source: model_card_md(source.record, source.sha256),
    "summary.md": lambda source: summary_md(source.record, source.sha256),
    "sbom.cdx.json": _sbom,
    "cases.parquet": _parquet,
}
"""Each file and what makes it; None where there is nothing to make it from."""


def write_exports(folder: Path) -> list[Path]:
    """Write the exports of a run into its folder, in place of earlier ones.

    Args:
        folder: a folder that holds `record.json`, and `cases.csv` if there are cases.

    Returns:
        The files that were written.

    Raises:
        RecordError: the Record, or the table of cases, cannot be read.
        OutputError: a file cannot be written.
    """
    source = _source(folder)
    # All of them are made before the first is written, so that a failure leaves the folder as it was.
    made = {folder / name: make(source) for name, make in EXPORTS.items()}
    contents = {path: content for path, content in made.items() if content is not None}
    for path, content in contents.items():
        _replace(path, content.encode() if isinstance(content, str) else content)
    return list(contents)


def _source(folder: Path) -> Source:
    path = folder / "record.json"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(
            "The folder holds no Record that can be read.",
            expected="record.json",
            found=str(error),
            where=path,
            todo="Name the folder that `medgan-qa audit --out` wrote.",
        ) from error
    record = load_record(content, path)
    return Source(folder, withheld(record) if is_withheld(record) else record, sha256(content))


def _replace(path: Path, content: bytes) -> None:
    try:
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), 0o644)
                file.write(content)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path.name} cannot be written.",
            expected="a folder that can be written",
            found=str(error),
            where=path,
            todo="Check that the folder is writable and has room.",
        ) from error
