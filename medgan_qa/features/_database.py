"""The SQLite file behind the feature store: rows that prove themselves, the least recently used go first.

The file is in WAL mode: readers and one writer at a time share it, and a process that is killed leaves the rows of the
transactions that were completed. SQLite does not check what it reads back, so each row carries a digest over extractor,
image and values. Nothing read from the file is executed or unpickled.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

BUSY_SECONDS = 30.0
"""How long to wait for another process that writes."""
FORMAT = 1
"""Of the tables; part of the file's name and of its header."""
FREED = 0.1
"""Share of the bound that eviction frees, so that it does not run at every write."""
AT_ONCE = 500
"""Keys in one query."""
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR, sqlite3.SQLITE_SCHEMA}
_TABLES = f"""
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA user_version = {FORMAT};
CREATE TABLE extractors (id INTEGER PRIMARY KEY, identity TEXT UNIQUE, name TEXT, version TEXT, digest TEXT);
CREATE TABLE features (
  extractor INTEGER, image BLOB, row BLOB, digest BLOB, used INTEGER, PRIMARY KEY (extractor, image)
);
CREATE INDEX by_use ON features (used);
"""


class Damaged(Exception):
    """The file is no feature database, or a row is not what was written."""


class Owner(NamedTuple):
    """The extractor that rows belong to."""

    identity: str
    name: str
    version: str
    digest: str


class Entry(NamedTuple):
    """What the file holds of one extractor."""

    name: str
    version: str
    digest: str
    images: int


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection to the database, which is made if it is not there.

    Raises:
        Damaged: the file is something else, or SQLite finds it damaged.
        sqlite3.Error, OSError: it cannot be used: no permission, no space, another process holds it.
    """
    if not path.exists():
        _create(path)
    try:
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None)) as db:
            db.execute("PRAGMA synchronous = NORMAL")
            found = db.execute("PRAGMA user_version").fetchone()[0]
            if found != FORMAT:
                raise Damaged(f"format {found} instead of {FORMAT}")
            yield db
    except ValueError as error:  # text in the file that is none, met by SQLite or by Python
        raise Damaged(str(error)) from error
    except sqlite3.Error as error:
        if _primary(error) in _DAMAGE:
            raise Damaged(str(error)) from error
        raise


def set_aside(path: Path, inode: int) -> Path:
    """Rename a damaged database, over one set aside earlier, unless another process has replaced it meanwhile.

    Args:
        path: of the database.
        inode: of the file in which the damage was found.

    Raises:
        OSError: it cannot be renamed.
    """
    aside = aside_path(path)
    with suppress(FileNotFoundError):
        if path.stat().st_ino == inode:
            # the log first: beside a new database it would be taken for that one's
            for suffix in ("-wal", "-shm"):
                with suppress(FileNotFoundError):
                    Path(f"{path}{suffix}").replace(f"{aside}{suffix}")
            path.replace(aside)
    return aside


def aside_path(path: Path) -> Path:
    """Where a damaged database goes."""
    return path.with_name(f"{path.stem}.damaged{path.suffix}")


def remove_aside(path: Path) -> None:
    """Remove the damaged database that was set aside, if any.

    Raises:
        OSError: it cannot be removed.
    """
    for suffix in ("", "-wal", "-shm"):
        Path(f"{aside_path(path)}{suffix}").unlink(missing_ok=True)


def read(db: sqlite3.Connection, owner: Owner, images: Sequence[bytes]) -> dict[bytes, Float]:
    """Features by image key, of those that are there.

    Raises:
        Damaged: a row differs from what was written.
    """
    found = {}
    for k in range(0, len(images), AT_ONCE):
        asked = images[k : k + AT_ONCE]
        marks = ",".join("?" * len(asked))
        query = (
            "SELECT image, row, f.digest FROM features f JOIN extractors e ON f.extractor = e.id "
            f"WHERE e.identity = ? AND image IN ({marks})"
        )
        for image, row, digest in db.execute(query, (owner.identity, *asked)):
            if not isinstance(row, bytes) or digest != _digest(owner, image, row):
                raise Damaged("a row differs from what was written")
            found[image] = np.frombuffer(row, dtype="<f4").astype(np.float32)
    return found


def write(db: sqlite3.Connection, owner: Owner, rows: Mapping[bytes, Float]) -> None:
    """Store features by image key, all or none."""
    with _transaction(db):
        db.execute(
            "INSERT OR IGNORE INTO extractors (identity, name, version, digest) VALUES (?, ?, ?, ?)", tuple(owner)
        )
        number, now = _number(db, owner), _now(db)
        stored = ((image, np.asarray(row, dtype="<f4").tobytes()) for image, row in rows.items())
        db.executemany(
            "INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)",
            [(number, image, row, _digest(owner, image, row), now) for image, row in stored],
        )


def touch(db: sqlite3.Connection, owner: Owner, images: Sequence[bytes]) -> None:
    """Note that these were used now."""
    if not images:
        return
    with _transaction(db):
        number, now = _number(db, owner), _now(db)
        db.executemany(
            "UPDATE features SET used = ? WHERE extractor = ? AND image = ?", [(now, number, i) for i in images]
        )


def evict(db: sqlite3.Connection, max_bytes: int) -> None:
    """Remove what was used longest ago until the file is within `max_bytes`."""
    if used_bytes(db) <= max_bytes:
        return
    while (size := used_bytes(db)) > max_bytes:
        with _transaction(db):
            count = db.execute("SELECT count(*) FROM features").fetchone()[0]
            if count == 0:
                break
            share = 1 - (1 - FREED) * max_bytes / size
            db.execute(
                "DELETE FROM features WHERE rowid IN (SELECT rowid FROM features ORDER BY used LIMIT ?)",
                (max(1, round(share * count)),),
            )
    _shrink(db)


def clear(db: sqlite3.Connection, name: str | None) -> int:
    """Remove the features of the extractors called `name`, or all; gives how many rows went."""
    with _transaction(db):
        where, values = ("", ()) if name is None else ("WHERE name = ?", (name,))
        removed = db.execute(
            f"DELETE FROM features WHERE extractor IN (SELECT id FROM extractors {where})", values
        ).rowcount
        db.execute(f"DELETE FROM extractors {where}", values)
    _shrink(db)
    return removed


def entries(db: sqlite3.Connection) -> list[Entry]:
    """What is there, by extractor."""
    query = (
        "SELECT name, version, e.digest, count(*) FROM features f JOIN extractors e ON f.extractor = e.id "
        "GROUP BY e.id ORDER BY name, version, e.digest"
    )
    return [Entry(*row) for row in db.execute(query)]


def used_bytes(db: sqlite3.Connection) -> int:
    """Size of the pages in use."""
    pages, free, size = (
        db.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count", "page_size")
    )
    return int((pages - free) * size)


def _create(path: Path) -> None:
    """A whole, empty database under a name of its own, then put in place unless another process was first."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        fresh = Path(folder) / path.name
        with closing(sqlite3.connect(fresh, isolation_level=None)) as db:
            # an empty file that a power cut damages is found damaged and costs nothing; waiting for the disk does
            db.execute("PRAGMA synchronous = OFF")
            db.executescript(_TABLES)
        try:
            os.link(fresh, path)
        except FileExistsError:
            return
        except OSError:  # a file system without hard links
            fresh.replace(path)


def _shrink(db: sqlite3.Connection) -> None:
    """Give the pages that hold nothing back to the file system."""
    # as a script: `execute` stops after the first page
    db.executescript("PRAGMA incremental_vacuum")


@contextmanager
def _transaction(db: sqlite3.Connection) -> Iterator[None]:
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def _number(db: sqlite3.Connection, owner: Owner) -> int | None:
    found = db.execute("SELECT id FROM extractors WHERE identity = ?", (owner.identity,)).fetchone()
    return None if found is None else int(found[0])


def _now(db: sqlite3.Connection) -> int:
    """The next tick of the file's own clock; clocks of machines that share a folder may differ."""
    return int(db.execute("SELECT coalesce(max(used), 0) + 1 FROM features").fetchone()[0])


def _digest(owner: Owner, image: bytes, row: bytes) -> bytes:
    return hashlib.blake2b(owner.identity.encode() + image + row, digest_size=16).digest()


def _primary(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; Python's own errors have none."""
    code = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
