"""A cohort's digest in parts: each part changes with what it stands for, and with nothing else."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest

from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.digests import file_sha256


def differing(before, after):
    """Which parts differ, with the names of rows and files that do."""
    found = set()
    for part, old in asdict(before).items():
        new = getattr(after, part)
        if isinstance(old, dict):
            found |= {(part, name) for name in old.keys() | new.keys() if old.get(name) != new.get(name)}
        elif old != new:
            found.add((part, None))
    return found


def inventory(on_disk):
    return read_dataset(on_disk.save()).inventory()


def test_every_case_and_every_file_is_in_it(on_disk):
    found = inventory(on_disk)
    assert list(found.rows) == ["000", "001", "002", "003"]
    listed = {
        f"{row['case_id']}, {column} ({Path(row[column]).name})": row[column]
        for row in on_disk.rows
        for column in ("image", "target", "lesion_mask")
        if row[column]
    }
    assert set(listed.values()) == set(on_disk.images)
    assert found.files == {place: file_sha256(on_disk.path(name)) for place, name in listed.items()}


def test_a_changed_byte_of_a_file_is_that_file(on_disk):
    before = inventory(on_disk)
    name = "images/flair_2.npy"
    path = on_disk.path(name)
    path.write_bytes(path.read_bytes()[:-1] + b"\xff")
    assert differing(before, read_dataset(on_disk.path("dataset.toml")).inventory()) == {
        ("files", "002, target (flair_2.npy)")
    }


def test_a_changed_cell_is_that_row(on_disk):
    before = inventory(on_disk)
    on_disk.rows[1]["site"] = "Süd"
    assert differing(before, inventory(on_disk)) == {("rows", "001")}


def test_a_changed_description_is_the_description(on_disk):
    before = inventory(on_disk)
    on_disk.content["target_domain"] = "T2"
    assert differing(before, inventory(on_disk)) == {("description", None)}


def test_the_order_of_the_rows_is_nothing(on_disk):
    before = inventory(on_disk)
    on_disk.rows.reverse()
    assert inventory(on_disk) == before
    assert list(inventory(on_disk).rows) == list(before.rows)


def test_a_row_that_left_takes_its_files_along(on_disk):
    before = inventory(on_disk)
    del on_disk.rows[3]
    gone = {("rows", "003"), ("files", "003, image (t1_3.npy)"), ("files", "003, target (flair_3.npy)")}
    assert differing(before, inventory(on_disk)) == gone


@pytest.mark.parametrize("cohort", [BrainPhantoms, BrainSlices])
def test_phantoms_have_a_row_a_case_and_no_file(cohort):
    found = cohort(people=3).inventory()
    assert set(found.rows) == {case.case_id for case in cohort(people=3).cases}
    assert len(set(found.rows.values())) == len(found.rows)
    assert found.files == {}
    assert found == cohort(people=3).inventory()


@pytest.mark.parametrize("cohort", [BrainPhantoms, BrainSlices])
def test_another_seed_of_phantoms_is_other_rows_and_another_size_another_description(cohort):
    before = cohort(people=2)
    seed, size = cohort(people=2, seed=1), cohort(people=2, size=32)
    assert {part for part, _ in differing(before.inventory(), seed.inventory())} == {"rows"}
    assert differing(before.inventory(), size.inventory()) == {("description", None)}
    assert len({before.digest(), seed.digest(), size.digest()}) == 3


def test_another_contrast_is_told():
    before = BrainSlices(people=2).inventory()
    assert {part for part, _ in differing(before, BrainSlices("T1", people=2).inventory())} == {"rows"}
    paired = BrainPhantoms(people=2).inventory()
    assert differing(paired, BrainPhantoms("T1", people=2).inventory()) == {("description", None)}
