"""Pickles in every place where one could be read: none of them runs."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import re
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medgan_qa.errors import ModelError
from medgan_qa.subjects.file_facts import facts_of
from medgan_qa.subjects.formats import reader_of
from medgan_qa.subjects.state import load_strictly, read_state


class Evil:
    """Makes a folder as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.marker),)


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "code-ran"


def everywhere(path: Path) -> None:
    """Read a file in each way that there is; every way may refuse it."""
    for read in (lambda p: reader_of(p)[1](p, "cpu"), read_state, facts_of):
        with contextlib.suppress(ModelError):
            read(path)


def old_tar(evil: Evil) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("storages", "tensors", "pickle"):
            content = pickle.dumps(evil)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def object_array(evil: Evil) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([evil], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def in_zip(*names: str) -> Any:
    def make(evil: Evil) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            for name in names:
                archive.writestr(name, pickle.dumps(evil, 2))
        return buffer.getvalue()

    return make


def saved(wrap: Any, **options: Any) -> Any:
    def make(evil: Evil) -> bytes:
        buffer = io.BytesIO()
        torch.save(wrap(evil), buffer, **options)
        return buffer.getvalue()

    return make


PLACES = {
    "bare": lambda evil: pickle.dumps(evil),
    "bare, protocol 0": lambda evil: pickle.dumps(evil, 0),
    "old tar": old_tar,
    "object array": object_array,
    "torch.save": saved(lambda evil: evil),
    "torch.save, old": saved(lambda evil: evil, _use_new_zipfile_serialization=False),
    "as a tensor": saved(lambda evil: {"conv.weight": evil}),
    "as a key": saved(lambda evil: {"state_dict": {"a": torch.zeros(1)}, "optimizer": evil}),
    "TorchScript": in_zip("model/data.pkl", "model/constants.pkl", "model/code/__torch__.py"),
    "elsewhere in TorchScript": in_zip("model/code/data.pkl", "model/extra/data.pkl", "model/data.pkl"),
    "exported": in_zip("model/archive_format", "model/models/model.json", "model/data/sample_inputs/model.pt"),
    "bundle": in_zip("b/models/model.pt", "b/configs/inference.json"),
}


@pytest.mark.parametrize("suffix", ["pt", "pth", "pt2", "onnx", "safetensors", "npz", "npy", "bin"])
@pytest.mark.parametrize("place", PLACES)
def test_no_pickle_runs_in_any_file_of_any_name(tmp_path: Path, marker: Path, place: str, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(PLACES[place](Evil(marker)))
    everywhere(path)
    assert not marker.exists()


def test_the_payload_works(marker: Path) -> None:
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()


# State dicts.


def test_a_state_dict_comes_back(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    state = nn.Conv2d(1, 2, 3).state_dict()
    save_file(state, tmp_path / "w.safetensors")
    torch.save(state, tmp_path / "w.pt")
    torch.save({"epoch": 3, "state_dict": state}, tmp_path / "wrapped.pth")
    for name in ("w.safetensors", "w.pt", "wrapped.pth"):
        read = read_state(tmp_path / name)
        assert all(torch.equal(read[key], value) for key, value in state.items())


@pytest.mark.parametrize("content", [[1], {"epoch": 3}, {}, {"state_dict": {"a": 1}}, torch.zeros(2)])
def test_a_file_without_tensors_by_name(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="no tensors by name"):
        read_state(tmp_path / "w.pt")


def test_weights_are_loaded_key_by_key(tmp_path: Path) -> None:
    module, state, path = nn.Conv2d(1, 2, 3), nn.Conv2d(1, 2, 3).state_dict(), tmp_path / "w.pt"
    load_strictly(module, {f"module.{name}": tensor for name, tensor in state.items()}, path)
    assert torch.equal(module.weight, state["weight"])
    for changed, said in (
        ({"weight": state["weight"]}, "missing: bias"),
        ({**state, "more": torch.zeros(1)}, "unexpected: more"),
        ({**state, "bias": torch.zeros(3)}, r"another shape: bias of shape \(3,\) for \(2,\)"),
        ({f"x{k}": torch.zeros(1) for k in range(9)}, "and 4 more"),
    ):
        with pytest.raises(ModelError, match="do not fit the network") as caught:
            load_strictly(module, changed, path)
        assert re.search(said, str(caught.value.found))
