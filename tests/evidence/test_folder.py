"""The folder of a run: whole or not at all, never over something else, reproducible bytes."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from medgan_qa.errors import OutputError, RecordError
from medgan_qa.evidence.folder import (
    RUN_FILES,
    read_record,
    require_writable,
    staged,
    write_evidence,
    write_manifest,
    write_npz,
    write_record,
)
from medgan_qa.record import Record
from medgan_qa.runner import RunResult

MakeRecord = Callable[..., Record]
ROOT = Path(__file__).resolve().parent.parent.parent


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def a_run(out: Path, text: str = "{}", error: BaseException | None = None, meanwhile: Any = None) -> None:
    with staged(out) as stage:
        (stage / "record.json").write_text(text, encoding="utf-8")
        (stage / "exhibits").mkdir()
        (stage / "exhibits" / "a.npz").write_bytes(b"a")
        if meanwhile is not None:
            meanwhile()
        if error is not None:
            raise error


# Whole or not at all


def test_appears_when_it_is_complete(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with staged(out) as stage:
        (stage / "record.json").write_text("{}", encoding="utf-8")
        assert not out.exists()
        assert stage.parent == tmp_path
    assert content(out) == {"record.json": b"{}"}
    assert list(tmp_path.iterdir()) == [out]
    assert out.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), KeyboardInterrupt(), SystemExit(143), OSError(errno.EIO, "x")]
)
@pytest.mark.parametrize("earlier", [True, False])
def test_an_error_leaves_nothing_behind(tmp_path: Path, error: BaseException, earlier: bool) -> None:
    out = tmp_path / "run"
    if earlier:
        a_run(out, "the earlier run")
    before = content(tmp_path)
    with pytest.raises(type(error)):
        a_run(out, "half", error)
    assert content(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == (["run"] if earlier else [])


def test_takes_the_place_of_an_earlier_run(tmp_path: Path) -> None:
    out = tmp_path / "run"
    a_run(out, "first")
    with staged(out) as stage:
        (stage / "record.json").write_text("second", encoding="utf-8")
        assert (out / "record.json").read_text(encoding="utf-8") == "first"
    assert content(out) == {"record.json": b"second"}
    assert list(tmp_path.iterdir()) == [out]


def test_takes_the_place_of_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    a_run(tmp_path / "run")
    assert set(content(tmp_path / "run")) == {"record.json", "exhibits/a.npz"}


def test_the_working_folder_can_be_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run").mkdir()
    monkeypatch.chdir(tmp_path / "run")
    require_writable(Path())
    a_run(Path())
    assert "record.json" in content(tmp_path / "run")
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_a_link_goes_on_pointing_to_the_run(tmp_path: Path) -> None:
    a_run(tmp_path / "run", "first")
    (tmp_path / "latest").symlink_to("run")
    a_run(tmp_path / "latest", "second")
    assert (tmp_path / "latest").is_symlink()
    assert (tmp_path / "run" / "record.json").read_text(encoding="utf-8") == "second"


def test_an_earlier_run_comes_back_if_its_successor_cannot_be_moved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    a_run(out, "first")
    before, rename = content(tmp_path), Path.rename

    def refuse_the_second(self: Path, target: Path) -> Path:
        if Path(target) == out and self.parent == tmp_path:
            raise OSError(errno.EIO, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse_the_second)
    with pytest.raises(OutputError, match="cannot be written") as caught:
        a_run(out, "second")
    assert "Input/output error" in str(caught.value.found)
    monkeypatch.undo()
    assert content(tmp_path) == before
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS])
def test_a_full_disk_is_told_as_such(tmp_path: Path, number: int) -> None:
    with pytest.raises(OutputError, match="cannot be written") as caught, staged(tmp_path / "run"):
        raise OSError(number, os.strerror(number))
    assert os.strerror(number) in str(caught.value.found)
    assert caught.value.exit_code == 2
    assert list(tmp_path.iterdir()) == []


KILLED = """
    import sys, time
    from pathlib import Path
    from medgan_qa.evidence.folder import staged
    with staged(Path(sys.argv[1])) as stage:
        (stage / "record.json").write_text("half of it")
        print(stage, flush=True)
        time.sleep(60)
"""


@pytest.mark.parametrize("earlier", [True, False])
def test_a_killed_run_leaves_no_record(tmp_path: Path, earlier: bool) -> None:
    out = tmp_path / "run"
    if earlier:
        a_run(out, "the earlier run")
    command = [sys.executable, "-c", textwrap.dedent(KILLED), str(out)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        stage = Path(process.stdout.readline().strip())
        assert (stage / "record.json").exists()
        process.send_signal(signal.SIGKILL)
        process.wait(timeout=30)
    assert process.returncode == -signal.SIGKILL
    if earlier:
        assert (out / "record.json").read_text(encoding="utf-8") == "the earlier run"
    else:
        assert not out.exists()
    # The next run is not hindered by what the killed one left.
    require_writable(out)
    a_run(out, "the next run")
    assert (out / "record.json").read_text(encoding="utf-8") == "the next run"


# Where a run may go


@pytest.mark.parametrize("names", [["notes.txt"], ["record.json", "notes.txt"], ["report.pdf"], [".git"], ["exhibits"]])
def test_refuses_a_folder_of_something_else(tmp_path: Path, names: list[str]) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in names:
        (out / name).write_text("mine", encoding="utf-8")
    with pytest.raises(OutputError, match="holds something else") as caught:
        require_writable(out)
    assert names[-1] in str(caught.value.found)
    assert all((caught.value.expected, caught.value.where == str(out), caught.value.todo))
    with pytest.raises(OutputError, match="holds something else"):
        a_run(out)
    assert content(out) == dict.fromkeys(names, b"mine")
    assert list(tmp_path.iterdir()) == [out]


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    for k in range(9):
        (tmp_path / f"file-{k}").touch()
    with pytest.raises(OutputError) as caught:
        require_writable(tmp_path)
    assert caught.value.found == "9 entries, among them file-0, file-1, file-2, ..., and no record.json"


def test_a_file_that_came_while_the_run_was_on_is_not_lost(tmp_path: Path) -> None:
    out = tmp_path / "run"
    a_run(out, "first")
    with pytest.raises(OutputError, match="holds something else"):
        a_run(out, "second", meanwhile=lambda: (out / "signature.txt").write_text("signed", encoding="utf-8"))
    assert content(out) == {"record.json": b"first", "exhibits/a.npz": b"a", "signature.txt": b"signed"}


def test_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("mine", encoding="utf-8")
    for call in (require_writable, a_run):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            call(tmp_path / "run")
        assert "a file of that name" in str(caught.value.found)
    assert content(tmp_path) == {"run": b"mine"}


def test_refuses_a_place_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    out = tmp_path / "file" / "runs" / "run"
    for call in (require_writable, a_run):
        with pytest.raises(OutputError, match="cannot be written") as caught:
            call(out)
        assert caught.value.where == str(out)
    assert content(tmp_path) == {"file": b"mine"}


def test_makes_the_folders_above_and_not_before_there_is_a_run(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "run"
    require_writable(out)
    assert list(tmp_path.iterdir()) == []
    a_run(tmp_path / "earlier")
    with staged(out) as stage:
        (stage / "record.json").write_text("{}")
    assert (out / "record.json").exists()


# What stands in it


def test_what_is_written_is_read_back(tmp_path: Path, result: RunResult) -> None:
    out = tmp_path / "run"
    with staged(out) as stage:
        digests = write_evidence(stage, result, {"criteria.json": b"{}"})
        sha256 = write_record(stage, result.record)
        write_manifest(stage)
    assert read_record(out) == result.record
    assert sha256 == hashlib.sha256((out / "record.json").read_bytes()).hexdigest()
    assert set(digests) == set(content(out)) - {"record.json", "manifest.json"}
    assert digests == {name: hashlib.sha256((out / name).read_bytes()).hexdigest() for name in digests}
    assert {p.name for p in out.iterdir()} <= RUN_FILES
    for path, arrays in result.arrays.items():
        with np.load(out / path, allow_pickle=False) as stored:
            assert list(stored) == list(arrays)
            for name, array in arrays.items():
                np.testing.assert_array_equal(stored[name], array)
                assert stored[name].shape == array.shape
                assert stored[name].dtype == array.dtype


def test_two_runs_write_the_same_bytes(tmp_path: Path, result: RunResult, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, now in (("a", 1.0e9), ("b", 1.5e9)):
        monkeypatch.setattr(time, "time", lambda now=now: now)
        with staged(tmp_path / name) as stage:
            write_evidence(stage, result, {})
            write_record(stage, result.record)
            write_manifest(stage)
    assert content(tmp_path / "a") == content(tmp_path / "b")


def test_the_manifest_names_every_other_file(tmp_path: Path, result: RunResult) -> None:
    write_evidence(tmp_path, result, {})
    (tmp_path / "exhibits" / "manifest.json").write_text("another", encoding="utf-8")
    write_manifest(tmp_path)
    write_manifest(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text(encoding="utf-8"))
    files = content(tmp_path)
    del files["manifest.json"]
    assert manifest["schema"] == "medgan-qa/manifest/1"
    assert manifest["files"] == {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data)} for name, data in sorted(files.items())
    }
    assert "exhibits/manifest.json" in manifest["files"]


@given(
    hnp.arrays(
        st.sampled_from([np.float32, np.float64, np.uint8, np.bool_, np.int64]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
@settings(max_examples=40)
def test_prop_arrays_come_back_bit_for_bit(tmp_path_factory: pytest.TempPathFactory, array: Any) -> None:
    path = tmp_path_factory.mktemp("npz") / "a.npz"
    write_npz(path, {"a": array})
    with np.load(path, allow_pickle=False) as stored:
        assert stored["a"].tobytes() == array.tobytes()
        assert (stored["a"].shape, stored["a"].dtype) == (array.shape, array.dtype)


def test_bytes_depend_on_the_numbers_and_not_on_their_layout(tmp_path: Path) -> None:
    array = np.arange(12.0).reshape(3, 4)
    write_npz(tmp_path / "a.npz", {"a": array})
    write_npz(tmp_path / "b.npz", {"a": np.asfortranarray(array)})
    write_npz(tmp_path / "c.npz", {"a": array + 1})
    a, b, c = ((tmp_path / f"{name}.npz").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert [(i.filename, i.date_time) for i in archive.infolist()] == [("a.npy", (1980, 1, 1, 0, 0, 0))]


def test_objects_are_not_stored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays"):
        write_npz(tmp_path / "a.npz", {"a": np.array([object()])})


# Reading a Record back


def test_a_folder_without_a_record(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RecordError, match="no Record that can be read") as caught:
            read_record(folder)
        assert "No such file" in str(caught.value.found)
        assert caught.value.where == str(folder / "record.json")
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", "Invalid JSON"),
        (b'{"schema": "medgan-qa/record/1", "verdict"', "Invalid JSON"),
        (b"\xff\xfe", "utf-8"),
        (b"[]", "Input should be an object"),
        (b'{"schema": "medgan-qa/record/2"}', "medgan-qa/record/2"),
    ],
)
def test_a_damaged_record(tmp_path: Path, text: bytes, found: str) -> None:
    (tmp_path / "record.json").write_bytes(text)
    with pytest.raises(RecordError) as caught:
        read_record(tmp_path)
    assert found in str(caught.value.found)
    assert caught.value.todo


def test_a_record_with_one_wrong_number_is_refused_by_its_place(tmp_path: Path, make_record: MakeRecord) -> None:
    text = make_record().to_json().replace('"value": 0.03', '"value": "low"')
    (tmp_path / "record.json").write_text(text, encoding="utf-8")
    with pytest.raises(RecordError) as caught:
        read_record(tmp_path)
    assert str(caught.value.found).startswith("audits.0.measurements.0.value: ")
