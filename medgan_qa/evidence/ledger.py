"""The attempt ledger: every run on a test set, in an append-only file whose lines are chained by their hashes.

Each line is canonical JSON and names the hash of the line before. Beside the ledger stands its head
(`<ledger>.head.json`): how many lines there are, and the hash of the last, so that a cut tail is seen as well.
"""

from __future__ import annotations

import errno
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from medgan_qa.errors import IntegrityError, OutputError
from medgan_qa.evidence._ledger_lines import NOTHING_BEFORE, SCHEMA, Head, Line, broken, sound_line
from medgan_qa.evidence._ledger_words import counted, statement
from medgan_qa.evidence.whereabouts import remember
from medgan_qa.record import Attempt, Attempts, Record
from medgan_qa.stats import repeated_testing

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
ROOM = 4096
"""Bytes that have to fit beside the ledger before a run is begun."""
TIME = "%Y-%m-%dT%H:%M:%SZ"

__all__ = ["Entry", "Ledger", "Line", "attempts_so_far", "clock_notes", "require_attempt_left"]


class Ledger:
    """A ledger file and its head; neither has to exist yet.

    Args:
        path: the ledger; its head and what was set aside are named after it.
        wait_s: how long to wait for another run that is entering itself, in seconds.

    Attributes:
        notes: what the last reading found and is no error: an unfinished line of a killed run.
    """

    def __init__(self, path: Path, wait_s: float = 60.0) -> None:
        self.path = path
        self.wait_s = wait_s
        self.notes: list[str] = []
        # Through a link there would be two heads for one ledger.
        self.file = path.resolve()
        self.head = self.file.with_name(f"{self.file.name}.head.json")
        self.torn = self.file.with_name(f"{self.file.name}.torn")

    def check(self) -> list[Line]:
        """Every line, once the whole chain is found sound. Nothing is written.

        Raises:
            IntegrityError: a line was edited, moved, cut or added by hand, or the ledger or its head is missing.
            OutputError: it cannot be opened, or another run holds it for longer than `wait_s`.
        """
        if not self.file.exists():
            return self._follow(b"")[0]
        with self._open(os.O_RDONLY, fcntl.LOCK_SH):
            lines, tail = self._follow(self._content())
        self.notes = [f"{self._unfinished(tail)}; the next run sets it aside."] if tail else []
        return lines

    def require_writable(self) -> None:
        """Refuse a ledger that cannot be written, before anything is computed. Nothing is left behind.

        Raises:
            OutputError: the file or its folder cannot be written, or there is no room.
        """
        with self._told():
            if self.file.exists():
                os.close(os.open(self.file, os.O_RDWR | os.O_APPEND))
            folder = next(place for place in self.file.parents if place.exists())
            with tempfile.TemporaryFile(dir=folder) as probe:
                probe.write(b"\0" * ROOM)
                probe.flush()
                os.fsync(probe.fileno())

    @contextmanager
    def entry(self) -> Iterator[Entry]:
        """Hold the ledger for one run, which enters itself exactly once within the block.

        A block that raises before it entered its run leaves the ledger as it was. No reading of the ledger (`check`)
        within the block: it would wait for the block itself.

        Raises:
            IntegrityError: the ledger is not sound.
            OutputError: it cannot be written, or another run holds it for longer than `wait_s`.
            RuntimeError: the block ended without an entry.
        """
        if not self.file.exists():
            self._follow(b"")
            with self._told():
                self.file.parent.mkdir(parents=True, exist_ok=True)
        with self._open(os.O_RDWR | os.O_CREAT | os.O_APPEND, fcntl.LOCK_EX) as descriptor:
            entry = Entry(self, descriptor, self._recover(descriptor))
            try:
                yield entry
            finally:
                entry.close()
        if entry.written is None:
            raise RuntimeError("the run was not entered in the ledger")

    def _follow(self, content: bytes) -> tuple[list[Line], bytes]:
        """The sound lines of a ledger's bytes, and what follows the last line end."""
        *texts, tail = content.split(b"\n")
        lines: list[Line] = []
        for number, text in enumerate(texts, 1):
            previous = lines[-1].hash if lines else NOTHING_BEFORE
            lines.append(sound_line(text + b"\n", number, previous, f"{self.path}, line {number}"))
        self._hold_against_head(lines, tail)
        return lines, tail

    def _hold_against_head(self, lines: list[Line], tail: bytes) -> None:
        head = self._read_head()
        if head is None:
            if lines or tail:
                raise broken("The head of the ledger is missing.", self.head.name, "no such file", self.head)
            return
        # A run that was killed between its line and the head leaves one line more; two cannot come about that way.
        found = f"{counted(len(lines), 'whole line')}{' and an unfinished one' if tail else ''}"
        if not head.lines <= len(lines) <= head.lines + 1:
            more = "fewer" if len(lines) < head.lines else "more"
            raise broken(f"The ledger holds {more} lines than its head says.", str(head.lines), found, self.path)
        last = lines[head.lines - 1].hash if head.lines else NOTHING_BEFORE
        if head.hash != last:
            where = f"{self.path}, line {head.lines}"
            raise broken("The ledger is another than the one its head belongs to.", f"hash {head.hash}", last, where)

    def _content(self) -> bytes:
        with self._told():
            return self.file.read_bytes()

    def _read_head(self) -> Head | None:
        try:
            content = self.head.read_bytes()
            head = Head.model_validate_json(content)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise broken("The head of the ledger cannot be read.", "lines and hash", str(error), self.head) from error
        if head.stored() != content:
            raise broken("The head of the ledger was edited.", "canonical JSON", "other bytes", self.head)
        return head

    def _recover(self, descriptor: int) -> list[Line]:
        """Put right what a killed run left: an unfinished line is set aside, a head that lags is written."""
        content = self._content()
        lines, tail = self._follow(content)
        self.notes = []
        with self._told():
            if tail:
                with self.torn.open("ab") as torn:
                    torn.write(tail + b"\n")
                    torn.flush()
                    os.fsync(torn.fileno())
                os.ftruncate(descriptor, len(content) - len(tail))
                self.notes = [f"{self._unfinished(tail)}; it was set aside in {self.torn.name}."]
            head = self._read_head()
            if head is None or head.lines != len(lines):
                self.write_head(len(lines), lines[-1].hash if lines else NOTHING_BEFORE).replace(self.head)
        return lines

    def write_head(self, lines: int, last: str) -> Path:
        """Write a head under a temporary name, and say which; moved to `head` it counts."""
        temporary = self.head.with_name(f".{self.head.name}.tmp")
        with temporary.open("wb") as file:
            file.write(Head(lines=lines, hash=last).stored())
            file.flush()
            os.fsync(file.fileno())
        return temporary

    def _unfinished(self, tail: bytes) -> str:
        return f"The ledger {self.path} ends in {counted(len(tail), 'byte')} of a line that a killed run did not finish"

    @contextmanager
    def _open(self, flags: int, operation: int) -> Iterator[int]:
        with self._told():
            descriptor = os.open(self.file, flags, 0o644)
        try:
            with self._told():
                self._wait_for_lock(descriptor, operation)
            yield descriptor
        finally:
            os.close(descriptor)

    def _wait_for_lock(self, descriptor: int, operation: int) -> None:
        until = time.monotonic() + self.wait_s
        while True:
            try:
                return fcntl.flock(descriptor, operation | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise
            time.sleep(0.02)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Tell what the system refuses as an error of the ledger."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            found, todo = reason, "Name another ledger, or correct the permissions of the file and its folder."
            if error.errno in NO_ROOM:
                found, todo = f"no room left ({reason})", "Make room on that disk; the ledger was not changed."
            if isinstance(error, BlockingIOError):
                found, todo = f"another run has held it for {self.wait_s:g} s", "Wait until that run has ended."
            raise OutputError(
                "The attempt ledger cannot be used.",
                expected="a file that can be locked and written, in a folder that can be written",
                found=found,
                where=self.path,
                todo=todo,
            ) from error


class Entry:
    """The ledger, held by one run that is about to enter itself; made by `Ledger.entry`."""

    def __init__(self, ledger: Ledger, descriptor: int, lines: list[Line]) -> None:
        self.ledger = ledger
        self.lines = lines
        self.written: Line | None = None
        self._descriptor: int | None = descriptor
        self._size = sum(len(line.stored()) for line in lines)

    def close(self) -> None:
        """Take no entry any more."""
        self._descriptor = None

    def attempts(
        self,
        *,
        suite: str,
        data_digest: str,
        model_sha256: str,
        criteria_digest: str,
        seed: int,
        alpha: float,
        maximum: int | None = None,
    ) -> Attempts:
        """Which attempt this run is, for its Record. `append` writes the line that it names.

        Every earlier run on the same data with the same suite counts, whatever its criteria: to change the criteria is
        another try on the same data.
        """
        before = [line for line in self.lines if (line.suite, line.data_digest) == (suite, data_digest)]
        tests = {(line.model_sha256, line.criteria_digest, line.seed) for line in before}
        chances = len(tests | {(model_sha256, criteria_digest, seed)})
        return Attempts(
            number=len(before) + 1,
            chances=chances,
            ledger=os.fsencode(self.ledger.path.name).decode("utf-8", "backslashreplace"),
            line=len(self.lines) + 1,
            previous_hash=self._previous(),
            earlier=[_attempt(number, line) for number, line in enumerate(before, 1)],
            statement=statement([line.verdict for line in before], chances, alpha, maximum),
            alpha=alpha,
            error_rate_bound=repeated_testing(alpha, chances).bound,
            maximum=maximum,
        )

    def append(self, record_sha256: str, **facts: Any) -> Line:
        """Enter the run, exactly once.

        Args:
            record_sha256: SHA-256 of the run's record.json, as it stands.
            facts: the other facts of a `Line` that the ledger does not know by itself.

        Raises:
            IntegrityError: something else wrote to the ledger meanwhile.
            OutputError: the line cannot be written; the ledger is as it was.
            RuntimeError: the run was entered already, or the block of `Ledger.entry` is over.
        """
        if self._descriptor is None or self.written is not None:
            raise RuntimeError("one entry a run, within the block that holds the ledger")
        own = {"schema": SCHEMA, "line": len(self.lines) + 1, "previous": self._previous(), "time_utc": _now()}
        line = Line.chained({**own, **facts, "record_sha256": record_sha256})
        self._require_untouched(self._descriptor)
        with self.ledger._told():
            # The head is on the disk before the line, so that a full disk is met while nothing was entered.
            head = self.ledger.write_head(line.line, line.hash)
            self._write(self._descriptor, line.stored(), head)
        self.written = line
        return line

    def append_run(self, record: Record, record_sha256: str) -> Line:
        """Enter the run of a Record (see `append`); what the Record does not say becomes empty text."""
        line = self.append(record_sha256, **_facts(record))
        remember(line.run, {"ledger": self.ledger.path})
        return line

    def _previous(self) -> str:
        return self.lines[-1].hash if self.lines else NOTHING_BEFORE

    def _require_untouched(self, descriptor: int) -> None:
        now = os.fstat(descriptor)
        if now.st_size != self._size or not (
            self.ledger.file.exists() and os.path.samestat(now, self.ledger.file.stat())
        ):
            where = self.ledger.path
            raise broken("The ledger changed while a run was being entered.", "no other writer", "another file", where)

    def _write(self, descriptor: int, content: bytes, head: Path) -> None:
        try:
            left = content
            while left:
                left = left[os.write(descriptor, left) :]
            os.fsync(descriptor)
            head.replace(self.ledger.head)
        except OSError:
            # Where this fails too, the next run finds an unfinished line or a head that lags, and puts it right.
            with suppress(OSError):
                os.ftruncate(descriptor, self._size)
            raise
        _sync_folder(self.ledger.file.parent)


def attempts_so_far(path: Path, suite: str, data_digest: str) -> int:
    """How many runs on this test set with this suite the ledger holds; 0 where there is no ledger yet.

    Raises:
        IntegrityError: the ledger is not sound.
    """
    return sum((line.suite, line.data_digest) == (suite, data_digest) for line in Ledger(path).check())


def require_attempt_left(path: Path, suite: str, data_digest: str, maximum: int | None) -> None:
    """Refuse a run, before it is made, on a test set that was used as often as the criteria allow (None: no maximum).

    Raises:
        IntegrityError: no attempt is left, or the ledger is not sound.
    """
    made = attempts_so_far(path, suite, data_digest)
    if maximum is not None and made >= maximum:
        raise IntegrityError(
            "No attempt on this test set is left.",
            expected=f"at most {counted(maximum, 'attempt')}, as the criteria allow",
            found=f"{counted(made, 'run')} of the suite {suite} on the data {data_digest[:12]} in the ledger",
            where=path,
            todo="Test on new, sequestered data; more attempts on these need a revised protocol that says why.",
        )


def clock_notes(lines: Sequence[Line]) -> list[str]:
    """Where the clock went back: a line that is dated before the line above it. The order is that of the chain."""
    return [
        f"Line {after.line} of the ledger is dated {after.time_utc}, before line {before.line} ({before.time_utc}): "
        "the clock of a machine was wrong or was set back. The order of the lines is that of the chain."
        for before, after in pairwise(lines)
        if after.time_utc < before.time_utc
    ]


def _facts(record: Record) -> dict[str, Any]:
    lock = record.criteria_lock
    texts = {
        "run": record.run.get("id"),
        "model": record.subject.get("name"),
        "model_sha256": record.subject.get("sha256"),
        "criteria_digest": lock.get("digest"),
        "data_digest": record.data.get("digest"),
        "data": record.data.get("name"),
        "tool_version": record.tool.get("version"),
    }
    facts = {name: "" if value is None else str(value) for name, value in texts.items()}
    seed = int(record.run.get("seed") or 0)
    return {
        **facts,
        "suite": record.suite,
        "lock_sha256": lock.get("lock_sha256"),
        "seed": seed,
        "verdict": record.verdict,
    }


def _attempt(number: int, line: Line) -> Attempt:
    same = line.model_dump(include=set(Attempt.model_fields) - {"number"})
    return Attempt(number=number, **same)


def _now() -> str:
    return datetime.now(UTC).strftime(TIME)


def _sync_folder(folder: Path) -> None:
    # Some file systems cannot; the names are then as durable as that system makes them.
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
