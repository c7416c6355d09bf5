"""The folder of a run. It is made under a temporary name beside its place and moved there whole."""

from __future__ import annotations

import errno
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.digests import file_sha256, sha256
from medgan_qa.errors import OutputError, RecordError
from medgan_qa.evidence.observations import write_observations
from medgan_qa.evidence.records import load_record
from medgan_qa.evidence.tables import cases_csv, table_csv
from medgan_qa.record import Record
from medgan_qa.runner import RunResult

MANIFEST = "manifest.json"
MANIFEST_SEAL = "manifest.dsse.json"
RECORD = "record.json"
REPORTS = frozenset({"report.pdf", "report.html"})
EXPORTS = frozenset(
    {
        "junit.xml",
        "results.sarif",
        "test-record.yaml",
        "model-card.md",
        "summary.md",
        "sbom.cdx.json",
        "cases.parquet",
    }
)
"""What is made from the Record for other tools."""
EVIDENCE = frozenset(
    {
        "cases.csv",
        "observations.csv",
        "exhibits",
        "criteria.json",
        "criteria.toml",
        "criteria.lock.json",
        "candidate-record.json",
    }
)
"""What a run leaves beside its Record, which holds the digests."""
SIGNATURES = "signatures"
RUN_FILES = frozenset({RECORD, MANIFEST, MANIFEST_SEAL, SIGNATURES, *REPORTS, *EXPORTS, *EVIDENCE})
"""What may stand at the top of a run's folder."""
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})


def require_writable(out: Path) -> None:
    """Refuse a place that cannot be written, before anything is computed.

    A folder that holds anything but an earlier run is refused too, because the run takes the place of all of it.

    Raises:
        OutputError: the place cannot be used.
    """
    place = out.resolve()
    try:
        _require_replaceable(out)
        # Missing parents are made when there is something to put into them, and not for a run that may yet be refused.
        nearest = next(folder for folder in place.parents if folder.exists())
        with tempfile.TemporaryDirectory(dir=nearest, prefix=f".{place.name}."):
            pass
    except OSError as error:
        raise _unusable(out, str(error)) from error


def _require_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise _unusable(out, "a file of that name")
    entries = {path.name for path in out.iterdir()} if out.is_dir() else set()
    foreign = sorted(entries - RUN_FILES)
    if foreign or (entries and RECORD not in entries):
        shown = ", ".join(foreign[:3] or sorted(entries)[:3]) + (", ..." if len(foreign) > 3 else "")
        raise OutputError(
            "The output folder holds something else.",
            expected="a folder that does not exist, is empty, or holds an earlier run and nothing more",
            found=f"{len(entries)} entries, among them {shown}" + ("" if RECORD in entries else f", and no {RECORD}"),
            where=out,
            todo="Choose another --out, or move what is yours; nothing in the folder was touched.",
        )


def _unusable(out: Path, found: str) -> OutputError:
    return OutputError(
        "The output folder cannot be written.",
        expected="a place where a folder can be made",
        found=found,
        where=out,
        todo="Choose another --out, or correct the permissions.",
    )


@contextmanager
def staged(out: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `out` when the block ends without an error, and is removed otherwise.

    Raises:
        OutputError: the folder cannot be made or moved.
    """
    # A place given as "." or through a link is a name that cannot be moved; what it stands for can.
    place = out.resolve()
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        stage = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}."))
    except OSError as error:
        raise _unusable(out, str(error)) from error
    try:
        stage.chmod(0o755)
        yield stage
        _require_replaceable(place)
        _move(stage, place)
    except OSError as error:
        if error.errno in NO_ROOM:
            raise _unusable(out, str(error)) from error
        raise
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _move(stage: Path, place: Path) -> None:
    try:
        if not place.exists():
            stage.rename(place)
            return
        # Renaming needs an empty place; the earlier run leaves only when its successor is complete.
        aside = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}.old."))
        place.rename(aside / "run")
        try:
            stage.rename(place)
        except OSError:
            (aside / "run").rename(place)
            aside.rmdir()
            raise
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise _unusable(place, str(error)) from error


def write_evidence(stage: Path, result: RunResult, fixed: Mapping[str, bytes]) -> dict[str, str]:
    """Write what stands beside a Record: tables, observations, arrays, and what was fixed before the run.

    Args:
        stage: a staged folder.
        result: the run.
        fixed: contents by file name, such as `criteria.json`.

    Returns:
        SHA-256 of every file, by path relative to the folder, for the Record.
    """
    texts = {"cases.csv": cases_csv(result.rows), **{path: table_csv(rows) for path, rows in result.tables.items()}}
    contents = {path: text.encode() for path, text in texts.items()} | dict(fixed)
    for path, content in contents.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_bytes(content)
    write_observations(stage, result.observations)
    for path, arrays in result.arrays.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        write_npz(stage / path, arrays)
    return evidence_digests(stage)


def evidence_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of the evidence files in a folder, by path relative to it."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    named = ((p.relative_to(folder), p) for p in files)
    return {name.as_posix(): file_sha256(path) for name, path in named if name.parts[0] in EVIDENCE}


def write_record(folder: Path, record: Record) -> str:
    """Write `record.json` and return its SHA-256, which names the run everywhere."""
    content = (record.to_json() + "\n").encode()
    (folder / RECORD).write_bytes(content)
    return sha256(content)


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a compressed `.npz` whose bytes depend on the arrays alone; NumPy's own writer stamps the time of day."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def manifest_bytes(folder: Path) -> bytes:
    """The manifest of a folder: SHA-256 and size of every file but the manifest and its seal, by relative path."""
    apart = {folder / MANIFEST, folder / MANIFEST_SEAL}
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p not in apart)
    entries = {p.relative_to(folder).as_posix(): {"sha256": file_sha256(p), "bytes": p.stat().st_size} for p in files}
    return (json.dumps({"schema": "medgan-qa/manifest/1", "files": entries}, indent=2) + "\n").encode()


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`."""
    (folder / MANIFEST).write_bytes(manifest_bytes(folder))


def read_record(folder: Path) -> Record:
    """The Record of a run's folder.

    Raises:
        RecordError: there is none, it is damaged, or it is of a schema that this version does not read.
    """
    path = folder / RECORD
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(
            "The folder holds no Record that can be read.",
            expected="record.json of schema medgan-qa/record/1",
            found=str(error),
            where=path,
            todo="Name the folder that `medgan-qa audit --out` wrote.",
        ) from error
    return load_record(text, path)
