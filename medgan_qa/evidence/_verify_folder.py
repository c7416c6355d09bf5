"""Verification of what only a folder has: its manifest, its signatures and dispositions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medgan_qa.digests import file_sha256
from medgan_qa.evidence._run_files import file_problem, files_below, inside
from medgan_qa.evidence._signature_files import DISPOSITION, FOLDER, NAME, Entry, entries
from medgan_qa.evidence._verify_parts import Check, failed, guarded, ok
from medgan_qa.evidence.dsse import open_envelope
from medgan_qa.evidence.seal import MANIFEST, MANIFEST_SEAL, MANIFEST_TYPE

SCHEMA = "medgan-qa/manifest/1"
UNKNOWN_KEY = "not checked against a list of trusted keys"


def manifest_checks(folder: Path, trusted: dict[str, str] | None) -> list[Check]:
    """Manifest, its seal, and every file against it."""
    found = guarded("manifest", MANIFEST, lambda: _manifest_form(folder))
    found += guarded("manifest seal", MANIFEST_SEAL, lambda: _manifest_seal(folder, trusted))
    return found + guarded("files", MANIFEST, lambda: _files(folder))


def _manifest_form(folder: Path) -> Iterator[Check]:
    content = inside(folder, MANIFEST).read_bytes()
    value = json.loads(content.decode())
    # Written again in the one way in which `write_manifest` does, so that a changed blank is found as well.
    if (json.dumps(value, indent=2) + "\n").encode() != content:
        yield failed("manifest", "not in canonical form: it was edited", MANIFEST)
    elif value.get("schema") != SCHEMA or set(value) != {"schema", "files"}:
        yield failed("manifest", f"no manifest of schema {SCHEMA}", MANIFEST)
    else:
        yield ok("manifest", f"in canonical form, {len(value['files'])} files", MANIFEST)


def _manifest_seal(folder: Path, trusted: dict[str, str] | None) -> Iterator[Check]:
    seal = open_envelope(inside(folder, MANIFEST_SEAL).read_bytes())
    if seal.predicate_type != MANIFEST_TYPE or set(seal.subjects) != {MANIFEST}:
        yield failed("manifest seal", "a signed statement about something else", MANIFEST_SEAL)
        return
    if seal.subjects[MANIFEST] != file_sha256(inside(folder, MANIFEST)):
        yield failed("manifest seal", "changed after it was sealed", MANIFEST)
        return
    key = f"key {seal.keyid}, {_trust(seal.public_key, trusted)}"
    yield ok("manifest seal", f"holds ({key}; a seal shows integrity, signatures show who)", MANIFEST_SEAL)


def _trust(public: str, trusted: dict[str, str] | None) -> str:
    if trusted is None:
        return UNKNOWN_KEY
    return f"trusted as {trusted[public]}" if public in trusted else "not in the list of trusted keys"


def _files(folder: Path) -> Iterator[Check]:
    listed = json.loads(inside(folder, MANIFEST).read_bytes())["files"]
    problems = {name: _listed_problem(folder, name, entry) for name, entry in listed.items()}
    for name, problem in problems.items():
        if problem:
            yield failed("file", problem, name)
    extra = [name for name in files_below(folder) if name not in listed and name not in (MANIFEST, MANIFEST_SEAL)]
    for name in extra:
        yield failed("file", "extra: not in the manifest", name)
    sound = sum(not problem for problem in problems.values())
    if sound == len(listed) and not extra:
        yield ok("files", f"all {sound} files are there and unchanged, and no other")


def _listed_problem(folder: Path, name: str, entry: Any) -> str:
    match entry:
        case {"sha256": str(digest), "bytes": int(size)} if len(entry) == 2:
            problem = file_problem(folder, name, digest)
            if not problem and inside(folder, name).stat().st_size != size:
                return f"the manifest says {size} bytes"
            return problem
        case _:
            return "the manifest gives no digest and size"


def signature_checks(folder: Path, trusted: dict[str, str] | None) -> list[Check]:
    """Every signature and disposition, and what else lies in their folder."""
    found = guarded("signatures", FOLDER, lambda: [_entry(entry, trusted) for entry in entries(folder)])
    found += guarded("signatures", FOLDER, lambda: _foreign(folder))
    return found or [ok("signatures", "none: the run is not signed")]


def _foreign(folder: Path) -> Iterator[Check]:
    place = folder / FOLDER
    if place.is_symlink():
        yield failed("signatures", "a link", FOLDER)
    elif place.exists():
        for name in files_below(place):
            if NAME.fullmatch(f"{FOLDER}/{name}") is None:
                yield failed("signatures", "neither a signature nor a disposition by its name", f"{FOLDER}/{name}")


def _entry(entry: Entry, trusted: dict[str, str] | None) -> Check:
    kind = "disposition" if entry.kind == DISPOSITION else "signature"
    name = f"{kind} {entry.number}"
    if entry.problem:
        return failed(name, entry.problem, entry.file)
    said = entry.said
    what = f"{said('criterion')}: {said('disposition')}" if kind == "disposition" else said("meaning")
    who = f"{what} by {said('name')} ({said('role')}) at {said('time_utc')}, key {entry.keyid}"
    if trusted is not None and entry.public_key not in trusted:
        return failed(name, f"{who}: the key is not in the list of trusted keys", entry.file)
    detail = f"{who}, {_trust(entry.public_key, trusted)}"
    return ok(name, f"{detail}; {entry.note}" if entry.note else detail, entry.file)
