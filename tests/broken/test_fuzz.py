"""Valid files with bytes changed at random: every reader reads or refuses them."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.broken import containers, models, pictures, scans, texts
from tests.broken.corpus import RECORD, lock
from tests.broken.harness import Worker

SEEDS: dict[str, tuple[str, str, Callable[[Path], bytes]]] = {
    "png": ("image", "a.png", lambda _: pictures.png()),
    "tiff": ("image", "a.tif", lambda _: pictures.tiff(2)),
    "npy": ("image", "a.npy", lambda _: pictures.npy()),
    "npz": ("image", "a.npz", lambda _: pictures.npz()),
    "nifti": ("image", "a.nii", lambda _: scans.nifti(3)),
    "nifti-gz": ("image", "a.nii.gz", lambda _: gzip.compress(scans.nifti(), mtime=0)),
    "dicom": ("image", "a.dcm", lambda _: scans.dicom()),
    "hdf5": ("image", "a.h5#images[1]", lambda _: containers.hdf5(containers._packed)),
    "dataset": ("dataset", "data.toml", lambda _: texts.DATASET.encode()),
    "csv": ("dataset", "cases.csv", lambda _: texts.CASES.encode()),
    "parquet": ("dataset", "cases.parquet", lambda _: texts.parquet()),
    "card": ("card", "model.card.toml", lambda _: texts.CARD.encode()),
    "criteria": ("criteria", "criteria.toml", lambda _: texts.CRITERIA.encode()),
    "lock": ("lock", "criteria.lock.json", lambda folder: lock(folder / "locked")),
    "record": ("record", "record.json", lambda _: RECORD.read_bytes()),
    "torchscript": ("model", "model.pt", lambda _: models.torchscript()),
    "exported": ("model", "model.pt2", lambda _: models.exported()),
    "checkpoint": ("model", "model.pt", lambda _: models.checkpoint()),
    "safetensors": ("model", "model.safetensors", lambda _: models.safetensors()),
    "onnx": ("model", "model.onnx", lambda _: models.onnx().SerializeToString()),
}
"""Every reader: what it is asked for, what is changed, and from what."""
NUMBERS = [0, 1, 0x7F, 0x80, 0xFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
"""Numbers that counts and offsets go wrong with."""

PLACE = st.floats(0, 1, exclude_max=True)
EDIT = st.one_of(
    st.tuples(st.just("byte"), PLACE, st.integers(0, 255)),
    st.tuples(st.just("number"), PLACE, st.sampled_from(NUMBERS)),
    st.tuples(st.just("cut"), PLACE, st.integers(1, 64)),
    st.tuples(st.just("again"), PLACE, st.integers(1, 64)),
    st.tuples(st.just("junk"), PLACE, st.binary(min_size=1, max_size=16)),
    st.tuples(st.just("end"), PLACE, st.just(0)),
)


def edited(content: bytes, edits: list[tuple[str, float, int | bytes]]) -> bytes:
    """Content after one edit after the other, each at a place between its start (0) and its end (1)."""
    for kind, share, value in edits:
        at = int(share * len(content))
        if isinstance(value, bytes):
            content = content[:at] + value + content[at:]
        elif kind == "byte":
            content = content[:at] + bytes([value]) + content[at + 1 :]
        elif kind == "number":
            content = content[:at] + value.to_bytes(4, "little") + content[at + 4 :]
        elif kind == "cut":
            content = content[:at] + content[at + value :]
        elif kind == "again":
            content = content[: at + value] + content[at:]
        else:
            content = content[:at]
    return content


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Worker]]:
    """One for models, one for the rest."""
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "work").mkdir()
    both = {torch: Worker(folder / "work", torch=torch) for torch in (False, True)}
    yield both
    for worker in both.values():
        worker.close()
    assert list((folder / "work").iterdir()) == []


@pytest.mark.parametrize("name", SEEDS)
def test_prop_a_changed_file_is_read_or_refused(name: str, workers, tmp_path: Path) -> None:
    kind, cell, seed = SEEDS[name]
    content, worker = seed(tmp_path), workers[kind == "model"]
    file = tmp_path / cell.partition("#")[0]
    if kind == "dataset":
        texts.dataset(texts.DATASET.replace("cases.csv", "cases.parquet") if name == "parquet" else texts.DATASET)(
            tmp_path
        )
    asked = tmp_path / ("data.toml" if kind == "dataset" else cell)
    # A model is read in a process of its own, which it may end.
    allowed = {"read", "refused", *(["ended"] if kind == "model" else [])}

    @settings(max_examples=EXAMPLES.get(name, 40), suppress_health_check=list(HealthCheck))
    @given(st.lists(EDIT, min_size=1, max_size=4))
    def one(edits) -> None:
        file.write_bytes(edited(content, edits))
        end = worker.read(kind, asked)
        assert end.outcome in allowed, end.said
        assert not end.said.startswith("the process ended with -14"), "it hangs"

    one()
    assert not list(tmp_path.rglob("unpickled"))


EXAMPLES = {"torchscript": 25, "exported": 15, "onnx": 25, "dicom": 80, "nifti": 60, "tiff": 60, "hdf5": 60}
"""Changed files of each seed; 40 of any other."""
