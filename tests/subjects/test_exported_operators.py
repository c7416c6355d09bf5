"""Exported programs: the operators of the list, in the graph and in the graphs inside it."""

from __future__ import annotations

import json
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from medgan_qa.errors import ModelError
from medgan_qa.subjects.exported import objection
from medgan_qa.subjects.formats import reader_of


class Everything(nn.Module):
    """Layers that exporters take apart in their own ways."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(8, 8, batch_first=True)
        self.norms = nn.Sequential(
            nn.BatchNorm2d(1), nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4), nn.GroupNorm(2, 4)
        )

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.interpolate(self.norms(x), scale_factor=2, mode="bilinear")
        y = nn.functional.avg_pool2d(nn.functional.pad(y, (1, 1, 1, 1), mode="reflect"), 2)
        y = nn.functional.scaled_dot_product_attention(y, y, y).mean(1, True)[..., :8, :8]
        return (
            y + self.lstm(x[:, 0])[0][:, None] + torch.randn_like(x) + nn.functional.gelu(torch.einsum("nchw->ncwh", x))
        )


class Branches(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cond(x.sum() > 0, lambda y: y.sin(), lambda y: y.cos(), (x,))


def exported(module: nn.Module, path: Path, *, apart: bool = False) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(module.eval(), (torch.rand(2, 1, 8, 8),))
        torch.export.save(program.run_decompositions() if apart else program, str(path))
    return path


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("apart", [False, True], ids=["whole", "decomposed"])
@pytest.mark.parametrize("module", [Everything(), Branches()], ids=lambda m: type(m).__name__)
def test_reads_usual_layers_and_branches(tmp_path: Path, module: nn.Module, apart: bool) -> None:
    path = exported(module, tmp_path / "model.pt2", apart=apart)
    assert objection(path.read_bytes()) is None
    name, reader = reader_of(path)
    network, _, _ = reader(path, "cpu")
    assert name == "exported program"
    assert network(torch.rand(2, 1, 8, 8).numpy(), 0).shape == (2, 1, 8, 8)


def with_target(path: Path, old: str, new: str) -> Path:
    """The program with one of its operators exchanged."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    [model] = [name for name in content if name.endswith("models/model.json")]
    assert old.encode() in content[model]
    content[model] = content[model].replace(old.encode(), new.encode())
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(
    "target",
    ["torch.ops.aten.save.default", "torch.ops.aten.from_file.default", "torch.ops.aten.set_.source_Storage",
     "torch.ops.image.read_file.default", "torch.ops.higher_order.run_const_graph",
     "torch.ops.higher_order.auto_functionalized",
     "torch.ops.profiler._record_function_enter.default", "torch.ops.aten.resize_.default", "torch.load"],
)  # fmt: skip
def test_refuses_an_operator_inside_a_branch(tmp_path: Path, target: str) -> None:
    path = with_target(exported(Branches(), tmp_path / "model.pt2"), "torch.ops.aten.sin.default", target)
    with zipfile.ZipFile(path) as archive:
        [model] = [name for name in archive.namelist() if name.endswith("models/model.json")]
        outer = json.loads(archive.read(model))["graph_module"]["graph"]["nodes"]
    # It stands in the graph of a branch, not among the nodes of the main graph.
    assert target not in {node["target"] for node in outer}
    _, reader = reader_of(path)
    with pytest.raises(ModelError, match="could run code") as caught:
        reader(path, "cpu")
    assert target in str(caught.value.found)


def test_names_in_capitals_are_looked_at_too(tmp_path: Path) -> None:
    """torch finds members whatever the case of their letters."""
    path = with_target(exported(Branches(), tmp_path / "model.pt2"), "torch.ops.aten.sin.default", "torch.load")
    with zipfile.ZipFile(path) as old:
        content = {name.replace("models/model.json", "MODELS/MODEL.JSON"): old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    assert "torch.load" in str(objection(path.read_bytes()))
