"""Broken inputs on the command line: an exit code that opens no gate, no traceback, and nothing left behind."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from medgan_qa.cli import _run
from medgan_qa.errors import ModelCrashError, ModelError
from medgan_qa.subjects.load import load_subject
from tests.broken import models, texts
from tests.broken.conftest import Read

REFUSED = {2, 3, 4}
"""Exit codes of a broken input: 0 would be a pass, 1 a verdict, and 5 an error of the tool's own."""

IMAGES = (
    "png/huge-header",
    "png/truncated-half",
    "tiff/offset-beyond",
    "npy/objects",
    "npy/deep-description",
    "npz/bomb",
    "npz/pickle",
    "nifti/seven-huge-axes",
    "nifti-gz/bomb",
    "dicom/huge-size",
    "dicom/sequences-without-end",
    "hdf5/link-to-another-file",
    "hdf5/links-in-a-circle",
    "zarr/deep-json",
)
DATASETS = (
    "dataset/deep-arrays",
    "dataset/cases-is-a-device",
    "dataset/range-nan",
    "csv/no-text",
    "csv/cell-device",
    "csv/cell-linked-to-itself",
    "parquet/truncated-half",
    "parquet/footer-of-4-gigabytes",
)
FIXED = ("criteria/no-text", "criteria/limit-nan", "lock/truncated-half", "lock/list")
RECORDS = ("record/truncated-half", "record/deep", "record/nan")
SUBJECTS = ("torchscript/code-imports", "torchscript/data-deep", "checkpoint/code", "onnx/data-leaves")


@pytest.fixture
def valid(tmp_path: Path) -> Path:
    """A folder with a dataset of two images and criteria."""
    texts.dataset()(tmp_path)
    (tmp_path / "criteria.toml").write_text(texts.CRITERIA, encoding="utf-8")
    return tmp_path


def ended(arguments: list[str], folder: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Exit code and messages of a command that must leave no files."""
    before = {path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    code = _run(arguments, debug=False)
    printed = capsys.readouterr()
    left = {path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*")) if "ledger" not in path.name}
    assert left == {path: time for path, time in before.items() if "ledger" not in path.name}
    assert "Traceback" not in printed.out + printed.err
    assert "PASS" not in printed.out
    return code, printed.err


def audit(folder: Path, model: str, **options: Path) -> list[str]:
    more = [word for name, path in options.items() for word in (f"--{name}", str(path))]
    named = ["audit", model, "--suite", "translation", "--device", "cpu", "--out", str(folder / "run")]
    return [*named, "--ledger", str(folder / "ledger.jsonl"), *more]


@pytest.mark.parametrize("name", IMAGES)
def test_a_dataset_with_a_broken_image_is_refused(everything, valid: Path, capsys, name: str) -> None:
    found, paths, _ = everything
    one = next(one for one in found if one.name == name)
    container, hash_, inner = one.cell.partition("#")
    shutil.copytree(paths[name].parent, valid / "broken", symlinks=True)
    table = texts.CASES.replace("a.npy", f"broken/{container}{hash_}{inner}")
    (valid / "cases.csv").write_text(table, encoding="utf-8")
    code, said = ended(audit(valid, "control:faithful", data=valid / "data.toml"), valid, capsys)
    assert code == 2, said
    assert "The image of case a cannot be" in said
    assert "cases.csv, row 2, column image" in said
    assert str(valid) not in said


@pytest.mark.parametrize("name", DATASETS)
def test_a_broken_dataset_is_refused(read: Read, valid: Path, capsys, name: str) -> None:
    code, said = ended(audit(valid, "control:faithful", data=read.paths[name]), valid, capsys)
    assert code == 2, said
    assert "data.toml" in said or "cases." in said


@pytest.mark.parametrize("name", FIXED)
def test_broken_criteria_and_locks_are_refused(read: Read, valid: Path, capsys, name: str) -> None:
    option = "lock" if name.startswith("lock") else "criteria"
    options = {"data": valid / "data.toml", "criteria": valid / "criteria.toml", option: read.paths[name]}
    code, said = ended(audit(valid, "control:faithful", **options), valid, capsys)
    assert code in REFUSED, said
    assert str(read.paths[name]) in said


@pytest.mark.parametrize("name", RECORDS)
def test_a_run_with_a_broken_record_is_neither_reported_nor_verified(read: Read, tmp_path, capsys, name: str) -> None:
    for command in ("report", "verify"):
        code, said = ended([command, str(read.paths[name].parent)], tmp_path, capsys)
        assert code in REFUSED, said


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_broken_model_is_refused_by_name_before_anything_is_measured(read: Read, valid: Path, capsys, name) -> None:
    broken = read.paths[name]
    shutil.copy(broken, valid / broken.name)
    (valid / "model.card.toml").write_text(texts.CARD, encoding="utf-8")
    code, said = ended(audit(valid, str(valid / broken.name), data=valid / "data.toml"), valid, capsys)
    assert code in REFUSED, said
    assert broken.name in said


def test_a_model_with_a_broken_card_is_refused(valid: Path, capsys) -> None:
    (valid / "model.pt").write_bytes(models.torchscript())
    (valid / "model.card.toml").write_text(texts.CARD.replace("[0.0, 1.0]", "[nan, 1.0]"), encoding="utf-8")
    code, said = ended(audit(valid, str(valid / "model.pt"), data=valid / "data.toml"), valid, capsys)
    assert code in REFUSED, said
    assert "card" in said


def test_a_model_that_ends_the_process_that_reads_it_ends_no_audit(read: Read) -> None:
    for name, end in read.outcomes.items():
        if end.outcome == "ended" and name.partition("/")[0] in {"torchscript", "exported", "checkpoint", "onnx"}:
            with pytest.raises((ModelCrashError, ModelError)):
                load_subject(str(read.paths[name]))
