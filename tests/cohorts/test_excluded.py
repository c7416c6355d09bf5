"""Unreadable cases: left out by a declared rule only, named, and accounted for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medgan_qa.audits.catalogue import Findings
from medgan_qa.cohorts.cohort import ExcludedCase, subset
from medgan_qa.cohorts.dataset import FileCohort, read_dataset
from medgan_qa.errors import DatasetError
from medgan_qa.runner.data import UNREADABLE, accounting
from medgan_qa.runner.verdicts import Ran

OnDisk = Any  # tests.cohorts.conftest.DatasetOnDisk
Nifti1Image: Any = nib.Nifti1Image  # nibabel's constructors are not annotated


@pytest.fixture
def twenty(tmp_path: Path, on_disk: OnDisk) -> OnDisk:
    """Twenty test cases and twenty training cases, with images of their own."""
    generator = np.random.default_rng(1)
    on_disk.rows = [
        {
            "case_id": f"{n:03d}",
            "patient_id": f"P{n}",
            "partition": "test" if n < 20 else "train",
            "image": f"images/{n}.npy",
            "lesion_mask": "masks/0.npy" if n % 2 else "",
        }
        for n in range(40)
    ]
    on_disk.images = {f"images/{n}.npy": generator.integers(0, 200, (12, 10)).astype(np.uint8) for n in range(40)}
    on_disk.images["masks/0.npy"] = np.eye(12, 10, dtype=np.uint8)
    return on_disk


def broken(dataset: OnDisk, *numbers: int) -> FileCohort:
    """The dataset with the images of these cases damaged, each in another way."""
    path = dataset.save()
    ways: list[Any] = [
        lambda file: file.write_bytes(b"\x93NUMPY"),
        lambda file: np.save(file, np.full((12, 10), np.nan)),
        lambda file: np.save(file, np.full((12, 10), 900.0)),
        lambda file: np.save(file, np.zeros((5, 5, 5))),
    ]
    for way, number in enumerate(numbers):
        ways[way % len(ways)](dataset.path(f"images/{number}.npy"))
    return read_dataset(path)


def refusal(cohort: FileCohort, partition: Any = "test") -> DatasetError:
    with pytest.raises(DatasetError) as caught:
        cohort.require_readable(partition)
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


def test_without_the_rule_an_unreadable_case_ends_the_run(twenty: OnDisk) -> None:
    cohort = broken(twenty, 3)
    assert refusal(cohort).problem.startswith("1 case(s)")
    assert (len(cohort.cases), cohort.excluded) == (40, ())


def test_up_to_the_declared_share_they_are_left_out_and_named(twenty: OnDisk) -> None:
    twenty.content["exclude_unreadable"] = 0.2
    cohort = broken(twenty, 3, 5, 7, 11)
    before = cohort.digest()
    cohort.require_readable()
    assert [case.case_id for case in cohort.excluded] == ["003", "005", "007", "011"]
    assert cohort.excluded[1] == ExcludedCase(
        "005",
        "P5",
        "test",
        "cases.csv, row 7, column image (5.npy): expected finite numbers (as float32); "
        "found 120 of 120 elements are NaN or infinite",
    )
    assert len(subset(cohort.cases, "test")) == 16
    assert len(subset(cohort.cases, "train")) == 20
    assert cohort.digest() == before
    cohort.require_readable()
    assert len(cohort.excluded) == 4
    summary = cohort.describe()
    assert summary["partitions"]["test"]["cases"] == 16
    assert summary["excluded"]["cases"] == 4
    assert summary["excluded"]["partitions"] == {"test": 4}
    assert summary["excluded"]["first"][0]["case_id"] == "003"


def test_one_more_than_the_share_is_an_error_that_lists_them(twenty: OnDisk) -> None:
    twenty.content["exclude_unreadable"] = 0.19
    cohort = broken(twenty, 3, 5, 7, 11)
    error = refusal(cohort)
    assert "20.0% of the rows of partition test" in error.problem
    assert "at most 19.0%" in str(error.expected)
    assert all(f"{n:03d}: cases.csv, row {n + 2}" in str(error.found) for n in (3, 5, 7, 11))
    assert (len(cohort.cases), cohort.excluded) == (40, ())


def test_the_share_holds_for_each_partition_by_itself(twenty: OnDisk) -> None:
    twenty.content["exclude_unreadable"] = 0.1
    cohort = broken(twenty, 3, 25, 26, 27)
    cohort.require_readable("test")
    assert "partition train" in refusal(cohort, "train").problem
    assert [case.case_id for case in cohort.excluded] == ["003"]


def test_what_the_summary_alone_reads_is_left_out_by_the_same_rule(twenty: OnDisk) -> None:
    twenty.rows[25]["lesion_mask"] = "masks/bad.npy"
    twenty.images["masks/bad.npy"] = np.full((12, 10), np.nan)
    cohort = broken(twenty)
    cohort.require_readable("test")
    with pytest.raises(DatasetError, match="1 case"):
        cohort.describe()
    twenty.content["exclude_unreadable"] = 0.05
    cohort = broken(twenty)
    assert cohort.describe()["excluded"]["partitions"] == {"train": 1}
    assert len(cohort.cases) == 39


def test_a_volume_that_cannot_be_opened_weighs_as_much_as_one_that_can(tmp_path: Path, on_disk: OnDisk) -> None:
    on_disk.content["volumes"] = {}
    names = [f"{n}.nii.gz" for n in range(10)]
    on_disk.images = {}
    on_disk.rows = [
        {"case_id": f"V{n}", "patient_id": f"P{n}", "partition": "test", "image": name} for n, name in enumerate(names)
    ]
    for name in names:
        nib.save(Nifti1Image(np.full((12, 10, 30), 7, np.int16), np.eye(4)), tmp_path / name)
    (tmp_path / "4.nii.gz").write_bytes(b"\x1f\x8b")
    path = on_disk.save()
    head = path.read_text(encoding="utf-8").replace("volumes = {}\n", "")
    for share, allowed in ((0.09, False), (0.1, True)):
        path.write_text(f"{head}exclude_unreadable = {share}\n[volumes]\n", encoding="utf-8")
        cohort = read_dataset(path)
        assert len(cohort.cases) == 9 * 30 + 1
        if not allowed:
            assert "10.0% of the rows" in refusal(cohort).problem
            continue
        cohort.require_readable()
        assert [case.case_id for case in cohort.excluded] == ["V4"]
        assert len(cohort.cases) == 270


def test_every_audit_accounts_for_them(twenty: OnDisk) -> None:
    twenty.content["exclude_unreadable"] = 0.2
    cohort = broken(twenty, 3, 5)
    cohort.require_readable()
    audit: Any = type("Audit", (), {"code": "PAT-001"})
    ran = [
        Ran(audit, {}, Findings(excluded={"000": "no lesion"}), 0.0, None),
        Ran(audit, {}, Findings(missing="No detector was given."), 0.0, None),
    ]
    some, none = accounting(cohort, ran)
    assert (some.enrolled, some.analysed) == (20, 17)
    assert {e.reason: e.cases for e in some.excluded} == {UNREADABLE: 2, "no lesion": 1}
    assert (none.enrolled, none.analysed) == (20, 0)
    assert {e.reason: e.cases for e in none.excluded} == {UNREADABLE: 2, "No detector was given.": 18}


def test_files_are_read_no_more_often_than_needed(twenty: OnDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    from medgan_qa.cohorts import _case_files

    cohort = broken(twenty)
    read: list[Path] = []
    for name in ("read_image", "read_mask", "read_spacing"):
        real = getattr(_case_files, name)
        monkeypatch.setattr(_case_files, name, lambda path, real=real: (read.append(path), real(path))[1])
    cohort.require_readable(None)
    assert len(read) == 40 + 20
    cohort.describe()
    cohort.describe()
    assert len(read) == 60
