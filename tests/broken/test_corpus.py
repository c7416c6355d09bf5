"""No broken input ends in a traceback, hangs, takes the memory, or passes for a whole one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.broken import containers, models, pictures, scans, texts
from tests.broken.conftest import Read
from tests.broken.corpus import RECORD, lock
from tests.broken.harness import Worker
from tests.broken.worker import GIGABYTES, SECONDS

FORMATS = {
    "png": 30,
    "png-colour": 20,
    "tiff": 30,
    "npy": 35,
    "npz": 35,
    "nifti": 45,
    "nifti-volume": 15,
    "nifti-gz": 25,
    "dicom": 75,
    "hdf5": 35,
    "hdf5-packed": 20,
    "zarr": 30,
    "dataset": 60,
    "csv": 35,
    "parquet": 30,
    "card": 40,
    "criteria": 45,
    "record": 45,
    "lock": 35,
    "torchscript": 40,
    "exported": 25,
    "checkpoint": 30,
    "safetensors": 35,
    "onnx": 35,
}
"""Mutants of each format at least."""


def format_of(name: str) -> str:
    return name.partition("/")[0]


def test_there_are_enough_of_every_format(everything) -> None:
    found, paths, _ = everything
    counts = Counter(format_of(one.name) for one in found)
    assert len(paths) == len(found) >= 900
    assert set(counts) == set(FORMATS)
    assert {name: counts[name] for name, least in FORMATS.items() if counts[name] < least} == {}


@pytest.mark.parametrize("format_", FORMATS)
def test_every_mutant_is_refused_or_read(read: Read, format_: str) -> None:
    # A model is read in a process of its own, which it may end: that is an answer. See the test of the command line.
    allowed = {"refused", "read", *(["ended"] if format_ in MODELS else [])}
    ends = {
        one.name: read.outcomes[one.name].said
        for one in read.mutants
        if format_of(one.name) == format_ and read.outcomes[one.name].outcome not in allowed
    }
    assert ends == {}


@pytest.mark.parametrize("format_", FORMATS)
def test_no_mutant_of_which_nothing_is_left_passes(read: Read, format_: str) -> None:
    passed = [
        one.name
        for one in read.mutants
        if format_of(one.name) == format_ and one.refused and read.outcomes[one.name].outcome == "read"
    ]
    assert passed == []


def test_no_mutant_takes_the_time_or_the_memory(read: Read) -> None:
    hung = {name: end.said for name, end in read.outcomes.items() if end.said.startswith("the process ended with -14")}
    slow = {name: end.seconds for name, end in read.outcomes.items() if end.seconds >= SECONDS}
    large = {name: end.megabytes for name, end in read.outcomes.items() if end.megabytes >= 1024 * GIGABYTES}
    assert (hung, slow, large) == ({}, {}, {})


def test_what_is_refused_says_what_was_found_and_what_to_do(read: Read) -> None:
    said = {name: end.said for name, end in read.outcomes.items() if end.outcome == "refused"}
    mute = [name for name, text in said.items() if "found: " not in text or "what to do: " not in text]
    assert mute == []
    long = {name: len(text) for name, text in said.items() if len(text) > 20_000}
    assert long == {}


def test_nothing_was_unpickled_or_written_elsewhere(read: Read) -> None:
    folders = {read.folder, read.folder / "work", Path.cwd()}
    assert not any((folder / name).exists() for folder in folders for name in ("unpickled", "outside"))
    assert not list(read.folder.rglob("unpickled"))
    assert list((read.folder / "work").iterdir()) == []
    assert not Path("/tmp/outside").exists()


MODELS = {"torchscript", "exported", "checkpoint", "safetensors", "onnx"}


def test_the_files_that_were_broken_can_be_read(tmp_path) -> None:
    """Otherwise a refusal would say nothing."""
    images = {
        "a.png": pictures.png(),
        "a.tif": pictures.tiff(),
        "a.npy": pictures.npy(),
        "a.npz": pictures.npz(),
        "a.nii": scans.nifti(),
        "volume.nii": scans.nifti(3),
        "a.dcm": scans.dicom(),
        "assembled.dcm": scans.assembled(),
        "set.h5#images": containers.hdf5(containers._packed),
    }
    plain, torch = Worker(tmp_path), Worker(tmp_path, torch=True)
    for name, content in images.items():
        (tmp_path / name.partition("#")[0]).write_bytes(content)
    containers._stored(tmp_path)
    texts.dataset()(tmp_path)
    written = {
        "model.card.toml": texts.CARD.encode(),
        "criteria.toml": texts.CRITERIA.encode(),
        "record.json": RECORD.read_bytes(),
        "criteria.lock.json": lock(tmp_path / "lock"),
        "script.pt": models.torchscript(),
        "program.pt2": models.exported(),
        "model.onnx": models.onnx().SerializeToString(),
    }
    for name, content in written.items():
        (tmp_path / name).write_bytes(content)
    kinds = {
        **dict.fromkeys((*images, "set.zarr#images", "set.h5#images[2]"), "image"),
        "data.toml": "dataset",
        "model.card.toml": "card",
        "criteria.toml": "criteria",
        "record.json": "record",
        "criteria.lock.json": "lock",
        **dict.fromkeys(("script.pt", "program.pt2", "model.onnx"), "model"),
    }
    ends = {name: (torch if kind == "model" else plain).read(kind, tmp_path / name) for name, kind in kinds.items()}
    plain.close()
    torch.close()
    assert {name: end for name, end in ends.items() if end.outcome != "read"} == {}
