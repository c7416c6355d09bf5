"""The folder of a run. It is made under a temporary name beside its place and moved there whole."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from medgan_qa.errors import OutputError, RecordError
from medgan_qa.evidence.junit import junit_xml
from medgan_qa.record import Record
from medgan_qa.runner import RunResult

MANIFEST = "manifest.json"
RECORD = "record.json"
RUN_FILES = frozenset({RECORD, "report.pdf", "report.html", "junit.xml", "cases.csv", "exhibits", MANIFEST})
"""What a run writes at the top of its folder."""
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


def write_result(stage: Path, result: RunResult) -> None:
    """Write `record.json`, `cases.csv`, `junit.xml` and the exhibits into a staged folder."""
    (stage / RECORD).write_text(result.record.to_json() + "\n", encoding="utf-8")
    (stage / "junit.xml").write_text(junit_xml(result.record), encoding="utf-8")
    (stage / "cases.csv").write_text(cases_csv(result.rows), encoding="utf-8")
    for path, rows in result.tables.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_text(table_csv(rows), encoding="utf-8")
    for path, arrays in result.arrays.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        write_npz(stage / path, arrays)


def write_npz(path: Path, arrays: dict[str, NDArray[Any]]) -> None:
    """Write a compressed `.npz` whose bytes depend on the arrays alone; NumPy's own writer stamps the time of day."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array, order="C"), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), buffer.getvalue(), zipfile.ZIP_DEFLATED)


def cases_csv(rows: list[dict[str, Any]]) -> str:
    """The case table as CSV: columns in order of first appearance, empty where an audit has no such column."""
    return table_csv(rows, ("audit", "case_id", "patient_id"))


def table_csv(rows: list[dict[str, Any]], first: tuple[str, ...] = ()) -> str:
    """Rows as CSV: the columns `first`, then all others in order of first appearance; None is an empty cell."""
    columns = list(dict.fromkeys([*first, *(key for row in rows for key in row)]))
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return out.getvalue()


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: SHA-256 and size of every other file, by path relative to the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p != folder / MANIFEST)
    entries = {
        p.relative_to(folder).as_posix(): {
            "sha256": hashlib.sha256(p.read_bytes()).hexdigest(),
            "bytes": p.stat().st_size,
        }
        for p in files
    }
    text = json.dumps({"schema": "medgan-qa/manifest/1", "files": entries}, indent=2)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def read_record(folder: Path) -> Record:
    """The Record of a run's folder.

    Raises:
        RecordError: there is none, or it is damaged.
    """
    path = folder / RECORD
    try:
        return Record.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise RecordError(
            "The folder holds no Record that can be read.",
            expected="record.json of schema medgan-qa/record/1",
            found=_first_problem(error),
            where=path,
            todo="Name the folder that `medgan-qa audit --out` wrote.",
        ) from error


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problems = error.errors(include_url=False, include_input=False)
    place = ".".join(str(part) for part in problems[0]["loc"])
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place + ': ' if place else ''}{problems[0]['msg']}{more}"
