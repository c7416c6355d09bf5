"""What a model's file tells without being run."""

from __future__ import annotations

import json
import os
import pickle
import warnings
import zipfile
from pathlib import Path

import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from safetensors.torch import save_file
from torch import Tensor, nn

from medgan_qa.subjects.file_facts import FileFacts, facts_of

NET = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.ConvTranspose2d(4, 3, 2, 2)).eval()
SHAPES = {"0.weight": (4, 2, 3, 3), "0.bias": (4,), "2.weight": (4, 3, 2, 2), "2.bias": (3,)}


class Sampler(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.up = nn.Linear(12, 16), nn.ConvTranspose2d(1, 1, 2, 2)

    def forward(self, z: Tensor) -> Tensor:
        return self.up(self.first(z).view(-1, 1, 4, 4))


def saved(path: Path) -> Path:
    """The network, in the format that the file's name says."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if path.name == "script.pt":
            torch.jit.script(NET).save(str(path))
        elif path.name == "state.pt":
            torch.save(NET.state_dict(), path)
        elif path.suffix == ".safetensors":
            save_file(NET.state_dict(), path)
        else:
            free = {0: torch.export.Dim("n"), 2: torch.export.Dim("h")}
            program = torch.export.export(NET, (torch.rand(2, 2, 8, 6),), dynamic_shapes=(free,))
            torch.export.save(program, str(path))
    return path


@pytest.mark.parametrize("name", ["script.pt", "state.pt", "weights.safetensors", "model.pt2"])
def test_shapes_of_weights(tmp_path: Path, name: str) -> None:
    facts = facts_of(saved(tmp_path / name))
    assert facts.weights.keys() == SHAPES.keys()
    assert dict(facts.weights) == SHAPES


def test_torchscript_tells_which_convolutions_are_transposed(tmp_path: Path) -> None:
    assert facts_of(saved(tmp_path / "script.pt")).convolutions() == [(2, 4), (4, 3)]


def test_an_exported_program_tells_what_it_takes_and_returns(tmp_path: Path) -> None:
    facts = facts_of(saved(tmp_path / "model.pt2"))
    assert facts.inputs == ((None, 2, None, 6),)
    assert facts.outputs[0][1] == 3


def test_an_onnx_graph_tells_what_it_takes_and_returns(tmp_path: Path) -> None:
    shape = ["n", 3, "h", 16]
    node = helper.make_node("Relu", ["x"], ["y"])
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in "xy"]
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    facts = facts_of(tmp_path / "m.onnx")
    assert facts.inputs == facts.outputs == ((None, 3, None, 16),)


def test_a_bundle_tells_its_channels(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "models").mkdir()
    formats = {"inputs": {"image": {"num_channels": 2}}, "outputs": {"pred": {"num_channels": 1}}}
    about = {"name": "made up", "version": "0.1", "network_data_format": formats}
    (tmp_path / "configs" / "metadata.json").write_text(json.dumps(about))
    torch.save(NET.state_dict(), tmp_path / "models" / "model.pt")
    facts = facts_of(tmp_path)
    assert (facts.name, facts.version, facts.inputs, facts.outputs) == (
        "made up", "0.1", ((None, 2, None, None),), ((None, 1, None, None),),
    )  # fmt: skip
    assert facts.weights == SHAPES


def test_the_first_layer_of_a_sampler_tells_its_latent_vector(tmp_path: Path) -> None:
    torch.jit.script(Sampler()).save(str(tmp_path / "script.pt"))
    assert facts_of(tmp_path / "script.pt").first_width() == 12
    assert facts_of(saved(tmp_path / "state.pt")).first_width() is None


def test_a_pickle_is_gone_through_and_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "code-ran"),)

    torch.save({"a": Evil(), "b": torch.zeros(3)}, tmp_path / "m.pt")
    assert facts_of(tmp_path / "m.pt").weights == {"b": (3,)}
    assert not (tmp_path / "code-ran").exists()


def in_archive(path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data.pkl", content)
    return path


def test_a_pickle_in_which_everything_holds_everything(tmp_path: Path) -> None:
    nested: dict[str, object] = {}
    for _ in range(60):
        nested = {"a": nested, "b": nested}
    nested["self"] = nested
    assert facts_of(in_archive(tmp_path / "m.pt", pickle.dumps(nested, 2))) == FileFacts()


@given(st.binary(max_size=60))
def test_no_pickle_ends_in_anything_but_facts(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.mktemp("pickle") / "m.pt"
    assert isinstance(facts_of(in_archive(path, content)), FileFacts)


@pytest.mark.parametrize("content", [b"", b"PK", b"PK\3\4" + bytes(60), b"\x80\x02.", b"version https"])
@pytest.mark.parametrize("suffix", ["pt", "pt2", "onnx", "safetensors"])
def test_a_file_that_is_no_model_tells_nothing(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"m.{suffix}"
    path.write_bytes(content)
    assert facts_of(path) == FileFacts()
    assert facts_of(tmp_path / "nowhere.pt") == FileFacts()
