"""Signatures and dispositions: who says what about a Record, one signed file each, chained in order.

A signature is a DSSE envelope in `signatures/NNNN-MEANING.dsse.json` over the SHA-256 of `record.json` and of every
evidence file that the Record names. It carries printed name, role, time and meaning (21 CFR 11.50) and the digest of
the file before it, so that none can be taken out from between or put in. A disposition says how a criterion was dealt
with and changes no verdict. What proves the identity behind a key, and who may use it, lies with the user.
"""

from __future__ import annotations

import fcntl
import os
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from medgan_qa import __version__
from medgan_qa.digests import sha256
from medgan_qa.errors import ConfigurationError, IntegrityError, OutputError
from medgan_qa.evidence._run_files import RECORD, file_problem, inside, read_record_bytes
from medgan_qa.evidence._signature_files import DISPOSITION, FOLDER, SIGNATURE, numbered
from medgan_qa.evidence._signature_rows import Disposition, Signature, dispositions, signatures
from medgan_qa.evidence.dsse import sign_statement, statement
from medgan_qa.evidence.keys import signing_key
from medgan_qa.evidence.records import load_record
from medgan_qa.new_file import write_new
from medgan_qa.record import Criterion, Record, Verdict

__all__ = [
    "Decision",
    "Disposition",
    "Meaning",
    "Signature",
    "dispose",
    "dispositions",
    "one_at_a_time",
    "sign",
    "signatures",
]

Meaning = Literal["author", "review", "approval"]
Decision = Literal["pass-with-exception", "accepted-failure"]
DECIDES_ON: dict[Decision, tuple[Verdict, ...]] = {
    "pass-with-exception": (Verdict.PASS,),
    "accepted-failure": (Verdict.FAIL, Verdict.INCONCLUSIVE),
}
"""The verdicts that each disposition can be given on."""


def sign(
    folder: Path,
    name: str,
    role: str,
    meaning: Meaning,
    comment: str = "",
    key_file: Path | None = None,
    now: datetime | None = None,
) -> Path:
    """Sign a run.

    Args:
        folder: the run's folder.
        name: printed name of the signer.
        role: in which the signer signs.
        meaning: author, review or approval.
        comment: free text, one line.
        key_file: the signer's own Ed25519 key (PEM); None: the signer's key in the key folder.
        now: time of signing [the present].

    Returns:
        The signature's file.

    Raises:
        ConfigurationError: an empty name or role, a control character, an unknown meaning, a key that stays locked.
        IntegrityError: a file differs from what the Record says of it.
        RecordError: the folder holds no Record.
        InputError: the key cannot be used.
        OutputError: the folder or the key folder cannot be written.
    """
    _one_of(meaning, get_args(Meaning), "meaning")
    said = {"name": _line(name, "name"), "role": _line(role, "role"), "comment": _text(comment, "comment")}
    return _write(folder, SIGNATURE, meaning, {**said, "meaning": meaning}, key_file, now)


def dispose(
    folder: Path,
    criterion: str,
    disposition: Decision,
    reason: str,
    name: str,
    role: str,
    key_file: Path | None = None,
    now: datetime | None = None,
) -> Path:
    """Record how a criterion's outcome was dealt with; its verdict stays what it is.

    Args:
        folder: the run's folder.
        criterion: its identifier in the Record.
        disposition: `pass-with-exception` for one that passed, `accepted-failure` for one that failed or is
            inconclusive.
        reason: why, one line.
        name: printed name of who decides.
        role: in which.
        key_file: as in `sign`.
        now: as in `sign`.

    Returns:
        The disposition's file.

    Raises:
        ConfigurationError: the criterion is unknown or came to something else; otherwise as in `sign`.
        IntegrityError: as in `sign`.
        RecordError: as in `sign`.
        InputError: as in `sign`.
        OutputError: as in `sign`.
    """
    _one_of(disposition, get_args(Decision), "disposition")
    said = {"name": _line(name, "name"), "role": _line(role, "role"), "reason": _line(reason, "reason")}
    found = _criterion(load_record(read_record_bytes(folder), folder / RECORD), criterion, disposition)
    said |= {"criterion": criterion, "verdict": found.verdict.value, "disposition": disposition}
    return _write(folder, DISPOSITION, "disposition", said, key_file, now)


def _write(
    folder: Path, kind: str, label: str, said: dict[str, str], key_file: Path | None, now: datetime | None
) -> Path:
    content = read_record_bytes(folder)
    subjects = {RECORD: sha256(content), **_checked_files(folder, load_record(content, folder / RECORD))}
    key = signing_key(key_file, said["name"])
    time = (now or datetime.now(UTC)).astimezone(UTC)
    predicate: dict[str, Any] = {
        **said,
        "time_utc": f"{time:%Y-%m-%dT%H:%M:%SZ}",
        "tool_version": __version__,
        "record_sha256": subjects[RECORD],
    }

    def signed(number: int, previous: str | None) -> bytes:
        return sign_statement(statement(subjects, kind, {**predicate, "number": number, "previous": previous}), key)

    return _append(folder, label, signed)


def _checked_files(folder: Path, record: Record) -> dict[str, str]:
    for name, digest in record.files.items():
        problem = file_problem(folder, name, digest)
        if problem:
            raise IntegrityError(
                f"{name} is not the file that the Record was made with.",
                expected=f"SHA-256 {digest}",
                found=problem,
                where=folder / name,
                todo="Nothing was signed. Take the folder from where it was kept unchanged, or run the audit again.",
            )
    return dict(record.files)


def _append(folder: Path, label: str, signed: Callable[[int, str | None], bytes]) -> Path:
    try:
        with one_at_a_time(folder):
            (folder / FOLDER).mkdir(exist_ok=True)
            before = numbered(folder)
            number = before[-1].number + 1 if before else 1
            previous = sha256(inside(folder, before[-1].file).read_bytes()) if before else None
            path = folder / FOLDER / f"{number:04d}-{label}.dsse.json"
            if not write_new(path, signed(number, previous)):
                raise FileExistsError(f"{path.name} is there already")
            return path
    except OSError as error:
        raise OutputError(
            "The signature cannot be written.",
            expected="a run's folder that can be written",
            found=str(error),
            where=folder / FOLDER,
            todo="Correct the permissions of the folder and sign again; nothing was changed.",
        ) from error


@contextmanager
def one_at_a_time(place: Path) -> Iterator[None]:
    """Hold a folder while it is changed; a second one who wants it waits.

    Raises:
        OSError: there is no such folder.
    """
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _criterion(record: Record, name: str, disposition: Decision) -> Criterion:
    known = [criterion for audit in record.audits for criterion in audit.criteria]
    found = [criterion for criterion in known if criterion.id == name]
    if not found:
        raise ConfigurationError(
            "The Record holds no criterion of that name.",
            expected=", ".join(dict.fromkeys(c.id for c in known)) or "a criterion; this Record has none",
            found=name,
            where="CRITERION",
            todo="Name one of these.",
        )
    fitting = [criterion for criterion in found if criterion.verdict in DECIDES_ON[disposition]]
    if not fitting or (disposition == "pass-with-exception" and len(fitting) < len(found)):
        raise ConfigurationError(
            f"{disposition} does not go with the verdict of {name}.",
            expected=f"a verdict of {' or '.join(DECIDES_ON[disposition])}",
            found=", ".join(dict.fromkeys(c.verdict.value for c in found)),
            where=name,
            todo="A disposition never changes a verdict: a failure can be accepted, a pass can carry an exception.",
        )
    return fitting[0]


def _one_of(value: str, allowed: tuple[str, ...], what: str) -> None:
    if value not in allowed:
        raise _refused(what, " or ".join(allowed), value, "Choose one of these.")


def _line(value: str, what: str) -> str:
    text = _text(value, what).strip()
    if not text:
        raise _refused(what, "a text that is not empty", repr(value), f"Give the {what}.")
    return text


def _text(value: str, what: str) -> str:
    # Cc are control characters, Cs halves of characters that a damaged command line leaves; no file can hold those.
    bad = [char for char in value if unicodedata.category(char) in ("Cc", "Cs")]
    if bad:
        raise _refused(what, "one line of text", f"the control character {bad[0]!r}", "Leave it out.")
    return value


def _refused(what: str, expected: str, found: str, todo: str) -> ConfigurationError:
    return ConfigurationError(
        f"The {what} cannot be signed.", expected=expected, found=found, where=f"--{what}", todo=todo
    )
