"""Accepted baselines: what is refused, and what is found when somebody touches the registry."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medgan_qa.digests import canonical_json, digest, file_sha256
from medgan_qa.errors import ConfigurationError, IntegrityError, MedganQAError, OutputError, RecordError
from medgan_qa.evidence.baselines import accept, current, history
from medgan_qa.evidence.folder import write_manifest
from medgan_qa.evidence.seal import seal_manifest

Make = Callable[..., Any]


@pytest.fixture
def run(make_record: Make, tmp_path: Path) -> Callable[..., Path]:
    """Write a run's folder: a Record, its case table, and a sealed manifest of both."""

    def write(name: str = "run", verdict: str = "pass") -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "cases.csv").write_text("audit,case_id\n")
        subject = {"name": "brain", "version": name, "sha256": digest(name)}
        files = {"cases.csv": file_sha256(folder / "cases.csv")}
        record = make_record(verdict, "as it came out", subject=subject, files=files)
        (folder / "record.json").write_text(record.to_json() + "\n", encoding="utf-8")
        write_manifest(folder)
        seal_manifest(folder)
        return folder

    return write


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """Where baselines go."""
    return tmp_path / "registry"


def chain(registry: Path) -> Path:
    return registry / "brain" / "history.jsonl"


def test_the_newest_is_current_and_earlier_ones_stay(run: Callable[..., Path], registry: Path) -> None:
    for number, name in enumerate(("first", "second"), start=1):
        place, line = accept(run(name), registry, "brain", reason=f" release {number} ", by="A. Reviewer")
        assert place == registry / "brain" / f"{number:04d}"
        assert (line["number"], line["reason"], line["version"]) == (number, f"release {number}", name)
    folder, newest = current(registry, "brain")
    assert folder == registry / "brain" / "0002"
    assert newest["record_sha256"] == file_sha256(folder / "record.json")
    assert (registry / "brain" / "0001" / "cases.csv").is_file()
    lines = history(registry, "brain")
    assert [line["by"] for line in lines] == ["A. Reviewer"] * 2
    assert (lines[0]["previous"], lines[1]["previous"]) == ("0" * 64, lines[0]["hash"])
    assert chain(registry).read_bytes() == b"".join(canonical_json(line) + b"\n" for line in lines)


@pytest.mark.parametrize("verdict", ["fail", "inconclusive", "error", "not_applicable"])
def test_only_a_pass_is_accepted_unless_a_reason_is_given(
    run: Callable[..., Path], registry: Path, verdict: str
) -> None:
    folder = run(verdict=verdict)
    with pytest.raises(ConfigurationError, match="did not pass") as caught:
        accept(folder, registry, "brain", reason="release")
    assert str(caught.value.found).startswith(verdict)
    assert not registry.exists()
    _, line = accept(folder, registry, "brain", reason="release", allow_failed="deviation 12")
    assert (line["verdict"], line["allowed_failed"]) == (verdict, "deviation 12")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reason": "  "}, "for a reason"),
        ({"name": "../brain"}, "cannot have that name"),
        ({"name": "a/b"}, "cannot have that name"),
        ({"name": ".."}, "cannot have that name"),
        ({"name": ""}, "cannot have that name"),
        ({"allow_failed": "why not"}, "the run passed"),
    ],
)
def test_refused_arguments_leave_nothing(
    run: Callable[..., Path], registry: Path, changes: dict[str, str], message: str
) -> None:
    arguments = {"name": "brain", "reason": "release", **changes}
    with pytest.raises(ConfigurationError, match=message) as caught:
        accept(run(), registry, arguments.pop("name"), **arguments)
    assert caught.value.exit_code == 2
    assert not registry.exists()


@pytest.mark.parametrize("name", ["record.json", "cases.csv"])
def test_a_folder_that_does_not_verify_is_refused(run: Callable[..., Path], registry: Path, name: str) -> None:
    folder = run()
    (folder / name).write_text((folder / name).read_text() + " ")
    with pytest.raises(IntegrityError, match="does not verify") as caught:
        accept(folder, registry, "brain", reason="release")
    assert name in str(caught.value.found)
    assert not registry.exists()


def test_a_folder_without_a_record_is_refused(registry: Path, tmp_path: Path) -> None:
    with pytest.raises(RecordError):
        accept(tmp_path, registry, "brain", reason="release")


def test_an_unknown_name_says_which_there_are(run: Callable[..., Path], registry: Path) -> None:
    accept(run(), registry, "brain", reason="release")
    with pytest.raises(ConfigurationError, match="No baseline is called 'heart'") as caught:
        current(registry, "heart")
    assert caught.value.expected == "one of brain"
    with pytest.raises(ConfigurationError):
        current(registry / "nowhere", "brain")


def _edited(text: str) -> str:
    return text.replace('"reason":"release"', '"reason":"revised"')


def _rehashed(text: str) -> str:
    """An edit by somebody who knows how a line is hashed."""
    first, *others = text.splitlines()
    line = json.loads(_edited(first))
    line["hash"] = digest({key: value for key, value in line.items() if key != "hash"})
    return "\n".join([canonical_json(line).decode(), *others]) + "\n"


TAMPERED: dict[str, Callable[[str], str]] = {
    "edited": _edited,
    "edited and hashed again": _rehashed,
    "first line taken out": lambda text: "".join(text.splitlines(keepends=True)[1:]),
    "last line cut off": lambda text: "".join(text.splitlines(keepends=True)[:-1]),
    "lines swapped": lambda text: "".join(reversed(text.splitlines(keepends=True))),
    "a blank put in": lambda text: text.replace(":", ": ", 1),
    "half a line": lambda text: text[:-20],
    "no JSON": lambda text: "x" + text,
    "another key": lambda text: text.replace('"by"', '"bye"', 1),
    "emptied": lambda text: "",
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_history_that_was_touched_is_found(run: Callable[..., Path], registry: Path, how: str) -> None:
    for name in ("first", "second"):
        accept(run(name), registry, "brain", reason="release")
    third = run("third")
    path = chain(registry)
    path.write_text(TAMPERED[how](path.read_text()))
    for attempt in (lambda: current(registry, "brain"), lambda: accept(third, registry, "brain", reason="release")):
        with pytest.raises(IntegrityError) as caught:
            attempt()
        assert caught.value.exit_code == 4
        assert caught.value.todo


def test_a_record_that_is_not_the_accepted_one_is_found(run: Callable[..., Path], registry: Path) -> None:
    place, _ = accept(run("first"), registry, "brain", reason="release")
    shutil.copyfile(run("second") / "record.json", place / "record.json")
    with pytest.raises(IntegrityError, match="not the one that was accepted"):
        current(registry, "brain")
    (place / "record.json").unlink()
    with pytest.raises(IntegrityError, match="not the one that was accepted"):
        current(registry, "brain")


def test_a_folder_that_was_removed_is_found(run: Callable[..., Path], registry: Path) -> None:
    place, _ = accept(run("first"), registry, "brain", reason="release")
    accept(run("second"), registry, "brain", reason="release")
    shutil.rmtree(place)
    with pytest.raises(IntegrityError, match="do not match") as caught:
        current(registry, "brain")
    assert caught.value.found == "no 0001"


def test_a_registry_that_cannot_be_written(run: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError) as caught:
        accept(run(), tmp_path / "file", "brain", reason="release")
    assert isinstance(caught.value, MedganQAError)
    assert caught.value.exit_code == 2
