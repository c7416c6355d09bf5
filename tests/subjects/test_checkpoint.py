"""Reference checkpoints in both containers: written, read back, and refused where they are something else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from medgan_qa.errors import ModelError
from medgan_qa.subjects.checkpoint import FORMAT, Checkpoint, from_plain, read_safetensors, write_checkpoint

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor(3, dtype=torch.int64)}
CHECKPOINT = Checkpoint("unet-translator", {"width": 8, "levels": 2}, TENSORS, 'name = "Grüße"')
TEXTS = {"format": FORMAT, "architecture": "unet-translator", "config": "{}", "card": ""}


def read(path: Path) -> Checkpoint:
    if path.suffix == ".safetensors":
        return read_safetensors(path)
    return from_plain(torch.load(path, weights_only=True), path)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_comes_back_as_it_was_written(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_checkpoint(path, CHECKPOINT)
    back = read(path)
    assert back._replace(tensors={}) == CHECKPOINT._replace(tensors={})
    assert set(back.tensors) == set(TENSORS)
    assert all(torch.equal(back.tensors[k], v) and back.tensors[k].dtype == v.dtype for k, v in TENSORS.items())
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_takes_the_place_of_an_earlier_one(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_checkpoint(path, CHECKPOINT)
    write_checkpoint(path, CHECKPOINT._replace(architecture="other"))
    assert read(path).architecture == "other"


def test_a_write_that_fails_leaves_the_earlier_one_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, CHECKPOINT)
    before = path.read_bytes()
    shared = torch.zeros(4)
    with pytest.raises(RuntimeError, match="share memory"):
        write_checkpoint(path, CHECKPOINT._replace(tensors={"a": shared, "b": shared}))
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.safetensors"]


def test_gradients_are_not_stored(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    write_checkpoint(path, CHECKPOINT._replace(tensors={"w": torch.nn.Parameter(torch.ones(2))}))
    assert not read(path).tensors["w"].requires_grad


@pytest.mark.parametrize("keep", [0, 4, 20, 0.5, 0.99])
def test_refuses_a_truncated_safetensors_file(tmp_path: Path, keep: float) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, CHECKPOINT)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if 0 < keep < 1 else int(keep)])
    with pytest.raises(ModelError, match="cannot be read as safetensors") as caught:
        read_safetensors(path)
    assert caught.value.where == str(path)
    assert caught.value.found


@pytest.mark.parametrize("content", [b"\xff" * 200, b"{}", b'\x08\x00\x00\x00\x00\x00\x00\x00{"a": 1'])
def test_refuses_bytes_that_are_no_safetensors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="cannot be read as safetensors"):
        read_safetensors(path)


@pytest.mark.parametrize(
    "texts",
    [None, {}, {"format": "pt"}, {**TEXTS, "format": "medgan-qa/checkpoint/2"}, {"format": FORMAT}],
    ids=["none", "empty", "another", "newer", "no architecture"],
)
def test_refuses_tensors_of_an_unnamed_network(tmp_path: Path, texts: dict[str, str] | None) -> None:
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(2)}, path, metadata=texts)
    with pytest.raises(ModelError, match="no checkpoint that medgan-qa knows") as caught:
        read_safetensors(path)
    assert FORMAT in str(caught.value.expected)


@pytest.mark.parametrize(
    "content",
    [{"a.weight": torch.zeros(2)}, torch.zeros(2), [1, 2], 5, None, {"tensors": [1]}, {}],
    ids=["state dict", "tensor", "list", "number", "nothing", "no table", "empty"],
)
def test_refuses_plain_content_that_names_no_network(content: Any) -> None:
    with pytest.raises(ModelError, match="does not say which network they belong to") as caught:
        from_plain(content, Path("model.pt"))
    assert type(content).__name__ in str(caught.value.found)


@pytest.mark.parametrize("tensors", [{"a": 5}, {"a": [1.0]}, {3: torch.zeros(1)}])
def test_refuses_tensors_that_are_none(tensors: Any) -> None:
    with pytest.raises(ModelError, match="something other than tensors"):
        from_plain({**TEXTS, "tensors": tensors}, Path("model.pt"))


@pytest.mark.parametrize("config", ["", "{", "[1, 2]", "3", "null", "[" * 100_000])
def test_refuses_a_configuration_that_is_no_table(config: str) -> None:
    with pytest.raises(ModelError, match="configuration cannot be read") as caught:
        from_plain({**TEXTS, "config": config, "tensors": {}}, Path("model.pt"))
    assert caught.value.found


def test_a_configuration_may_be_left_out() -> None:
    texts = {k: v for k, v in TEXTS.items() if k not in ("config", "card")}
    assert from_plain({**texts, "tensors": {}}, Path("model.pt")) == Checkpoint("unet-translator", {}, {}, "")


def test_the_texts_can_be_read_without_this_package(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_checkpoint(path, CHECKPOINT)
    size = int.from_bytes(path.read_bytes()[:8], "little")
    header = json.loads(path.read_bytes()[8 : 8 + size])
    assert header["__metadata__"]["architecture"] == "unet-translator"
    assert json.loads(header["__metadata__"]["config"]) == {"width": 8, "levels": 2}
