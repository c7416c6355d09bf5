"""A stored set hands out the images of a dataset as they are, and says what it cannot."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medgan_qa.errors import DatasetError, ModelError
from medgan_qa.subjects.stored import StoredSet, is_dataset, read_stored_set

Row = dict[str, Any]


def images(n: int) -> np.ndarray:
    return np.arange(n, dtype=np.float32)[:, None, None] / 16 + np.zeros((n, 8, 8), np.float32)


def made(folder: Path, edit: Callable[[int, Row], Row] = lambda k, row: row, n: int = 5) -> Path:
    """A dataset of `n` images of levels 0, 1/16, ..., each row edited."""
    rows = []
    for k, image in enumerate(images(n)):
        np.save(folder / f"{k}.npy", image)
        row = {"case_id": f"c{k}", "patient_id": f"u{k // 2}", "partition": "train", "image": f"{k}.npy"}
        rows.append(edit(k, {**row, "synthetic": "true", "label": "ab"[k % 2]}))
    with (folder / "cases.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, sorted({key for row in rows for key in row}))
        writer.writeheader()
        writer.writerows(rows)
    path = folder / "set.toml"
    path.write_text(
        'schema = "medgan-qa/dataset/1"\nname = "made"\ncases = "cases.csv"\nvalue_range = [0.0, 1.0]\n',
        encoding="utf-8",
    )
    return path


def test_images_come_in_the_order_of_the_table_whatever_the_seed(tmp_path):
    stored = read_stored_set(made(tmp_path))

    assert isinstance(stored, StoredSet)
    assert len(stored) == 5
    np.testing.assert_array_equal(stored.sample(5, 0)[:, 0], images(5))
    np.testing.assert_array_equal(stored.sample(2, 7, first=3), stored.sample(5, 0)[3:])
    np.testing.assert_array_equal(stored.sample(2, 0, label="b")[:, 0], images(5)[[1, 3]])
    assert stored.sample(0, 0).shape[0] == 0
    assert stored.names == ("c0", "c1", "c2", "c3", "c4")
    assert stored.units == ("u0", "u0", "u1", "u1", "u2")
    assert stored.labels == ("a", "b", "a", "b", "a")


def test_the_record_names_file_and_digest(tmp_path):
    path = made(tmp_path)
    stored = read_stored_set(path)
    facts = stored.as_dict()

    assert facts["format"] == "stored set"
    assert facts["file"] == "set.toml"
    assert facts["name"] == "made"
    assert facts["card"]["classes"] == ["a", "b"]
    assert facts["card"]["images"] == 5
    assert facts["sha256"] == stored.cohort.digest()
    np.save(tmp_path / "0.npy", images(2)[1])
    assert read_stored_set(path).sha256 != facts["sha256"]


def test_more_than_there_are_is_refused_with_what_to_do(tmp_path):
    stored = read_stored_set(made(tmp_path))

    with pytest.raises(ModelError, match="More images") as caught:
        stored.sample(6, 0)
    assert caught.value.found == "5"
    assert "--samples" in str(caught.value.todo)
    with pytest.raises(ModelError, match="More images"):
        stored.sample(3, 0, label="b")
    with pytest.raises(ModelError, match="no model"):
        stored.translate(np.zeros((1, 1, 8, 8), np.float32))


def test_only_rows_marked_as_synthetic_are_the_set(tmp_path):
    path = made(tmp_path, lambda k, row: {**row, "synthetic": "true" if k < 2 else "false"})

    assert read_stored_set(path).names == ("c0", "c1")
    with pytest.raises(ModelError, match="no set of synthetic images"):
        read_stored_set(made(tmp_path, lambda k, row: {**row, "synthetic": ""}))


def test_masks_tell_the_label_where_the_table_does_not(tmp_path):
    np.save(tmp_path / "mask.npy", np.eye(8, dtype=np.uint8))
    given = [{"lesion_mask": "mask.npy"}, {"annotated": "true"}, {"annotated": "false"}, {"label": "own"}, {}]
    path = made(tmp_path, lambda k, row: {**row, "label": "", **given[k]})
    stored = read_stored_set(path)

    assert stored.labels == ("lesion", "lesion-free", None, "own", None)
    assert stored.card.classes == ()
    np.testing.assert_array_equal(stored.sample(1, 0, label="lesion-free")[:, 0], images(5)[[1]])


def test_images_of_several_sizes_are_refused(tmp_path):
    path = made(tmp_path)
    np.save(tmp_path / "3.npy", np.zeros((9, 8), np.float32))

    with pytest.raises(ModelError, match="differ in size"):
        read_stored_set(path).sample(5, 0)


def test_what_means_a_dataset(tmp_path):
    path = made(tmp_path)

    assert is_dataset(str(path))
    assert is_dataset(str(tmp_path))
    assert is_dataset("nothing.toml")
    assert not is_dataset("model.pt")
    assert not is_dataset("reference:name")
    assert not is_dataset("x" * 5000)
    with pytest.raises(DatasetError):
        read_stored_set(tmp_path / "nothing.toml")
    assert len(read_stored_set(tmp_path)) == 5
