"""Whether anything changed since a run: of a run's folder, or of its PDF alone.

Verification reads, recomputes and compares; it trusts no file for what another can prove, and damage ends in a failed
check that names the file, never in an error. What it cannot know is who holds a key: name the public keys that you
trust, or read the checks as integrity and not identity.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from medgan_qa.errors import InputError
from medgan_qa.evidence._run_files import RECORD, inside
from medgan_qa.evidence._verify_folder import manifest_checks, signature_checks
from medgan_qa.evidence._verify_parts import (
    Check,
    attached_source,
    failed,
    folder_source,
    guarded,
    not_checked,
    ok,
)
from medgan_qa.evidence._verify_record import Given, record_checks
from medgan_qa.evidence.keys import trusted_keys
from medgan_qa.evidence.seal import MANIFEST, SealState, check_seal

__all__ = ["Check", "Verification", "verify"]

REPORT = "report.pdf"


class Verification(NamedTuple):
    """Everything that was checked."""

    path: str
    checks: list[Check]

    @property
    def failed(self) -> list[Check]:
        """What differs, is missing or is extra."""
        return [check for check in self.checks if check.state == "failed"]

    @property
    def ok(self) -> bool:
        """Nothing failed. What was not checked is no failure; `checks` says what that is."""
        return not self.failed


def verify(
    path: Path, *, data: Path | str | None = None, ledger: Path | None = None, trusted: Path | None = None
) -> Verification:
    """Check that nothing changed.

    Args:
        path: a run's folder, or its PDF.
        data: the dataset of the run (file, folder or `phantom:NAME`), to recompute its digest.
        ledger: the attempt ledger; None: the one that the Record names, if it is there.
        trusted: a folder of public keys; signatures by other keys are failed.

    Raises:
        InputError: there is neither a run's folder nor a PDF at `path`, `trusted` holds no keys, or `data` or `ledger`
            is not there.
        ConfigurationError: there are no phantoms of that name.
    """
    _require_there(data, ledger)
    keys = None if trusted is None else trusted_keys(trusted)
    given = Given(None if data is None else str(data), ledger)
    if path.is_dir() and ((path / RECORD).exists() or (path / MANIFEST).exists()):
        return Verification(str(path), _folder(path, given, keys))
    if path.is_file() and (path.suffix.lower() == ".pdf" or _begins_as_pdf(path)):
        return Verification(str(path), _document(path, given))
    raise InputError(
        "There is nothing to verify.",
        expected="the folder of a run, or a report's PDF",
        found="a folder without record.json" if path.is_dir() else "another file" if path.exists() else "nothing",
        where=path,
        todo="Name the folder that `medgan-qa audit --out` wrote, or the report.pdf in it.",
    )


def _require_there(data: Path | str | None, ledger: Path | None) -> None:
    if str(data).startswith("phantom:"):
        from medgan_qa.cohorts.phantom import phantom_cohort

        phantom_cohort(str(data))
        data = None
    for flag, given in (("--data", data), ("--ledger", ledger)):
        if given is not None and not Path(given).exists():
            raise InputError(
                f"What {flag} names is not there.",
                expected="a file or folder",
                found="nothing",
                where=given,
                todo="Correct the path, or leave the option out; the check is then listed as not done.",
            )


def _begins_as_pdf(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(5) == b"%PDF-"
    except OSError:
        return False


def _folder(folder: Path, given: Given, trusted: dict[str, str] | None) -> list[Check]:
    checks = manifest_checks(folder, trusted)
    checks += record_checks(folder_source(folder), given)
    checks += signature_checks(folder, trusted)
    return checks + guarded("report seal", REPORT, lambda: _report(folder))


def _report(folder: Path) -> Iterator[Check]:
    try:
        pdf = inside(folder, REPORT).read_bytes()
    except FileNotFoundError:
        yield not_checked("report seal", "there is no report.pdf", REPORT)
        return
    state = check_seal(pdf)
    yield _seal("report seal", state, REPORT)
    if not state.valid:
        yield not_checked("report's Record", "read from a sealed report only", REPORT)
        return
    attached = _attached(pdf)
    if RECORD not in attached:
        yield failed("report's Record", "the report has no record.json attached", REPORT)
    elif attached[RECORD] != inside(folder, RECORD).read_bytes():
        yield failed("report's Record", "the report was made from another record.json", REPORT)
    else:
        yield ok("report's Record", "the report was made from the record.json beside it", REPORT)


def _document(path: Path, given: Given) -> list[Check]:
    try:
        pdf = path.read_bytes()
    except OSError as error:
        return [failed("seal", f"cannot be read: {error.strerror}", path.name)]
    state = check_seal(pdf)
    if not state.valid:
        unread = not_checked("attached files", "read from a sealed report only", path.name)
        return [_seal("seal", state, path.name), unread]
    attached: dict[str, bytes] = {}

    def look() -> Iterator[Check]:
        attached.update(_attached(pdf))
        yield ok("attached files", ", ".join(attached) or "none", path.name)

    checks = [_seal("seal", state, path.name), *guarded("attached files", path.name, look)]
    return checks + record_checks(attached_source(attached), given)


def _attached(pdf: bytes) -> dict[str, bytes]:
    from medgan_qa.evidence._pdf import attached_files

    return attached_files(pdf)


def _seal(name: str, state: SealState, file: str) -> Check:
    if not state.valid:
        return failed(name, state.problem, file)
    who = f'certificate of "{state.signer}", SHA-256 {state.fingerprint}'
    trust = "its issuer was not checked" if state.own else "integrity only, no identity"
    return ok(name, f"covers every byte of the file ({who}; {trust})", file)
