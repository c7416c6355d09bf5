"""Small models in every format, made as a user would make them."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

MakeCard = Callable[..., str]
MakeModel = Callable[..., Path]


def card_text(**changes: Any) -> str:
    facts: dict[str, Any] = {
        "schema": "medgan-qa/card/1",
        "name": "brain T2 to FLAIR",
        "version": "1.0.0",
        "task": "translation",
        "channels_in": 1,
        "channels_out": 1,
        "range_in": [-1.0, 1.0],
        "range_out": [-1.0, 1.0],
        **changes,
    }
    return "\n".join(f"{key} = {json.dumps(value)}" for key, value in facts.items() if value is not None)


@pytest.fixture
def make_card() -> MakeCard:
    """A card as TOML; keyword arguments replace keys, None leaves one out."""
    return card_text


@pytest.fixture
def torchscript(tmp_path: Path) -> MakeModel:
    """Trace a module and save it, with its card in the archive unless that is empty."""

    def make(module: nn.Module, *, name: str = "model.pt", card: str | bytes | None = None, channels: int = 1) -> Path:
        path = tmp_path / name
        traced = torch.jit.trace(module.eval(), torch.rand(2, channels, 8, 8), check_trace=False)
        card = card_text() if card is None else card
        torch.jit.save(traced, str(path), _extra_files={"medgan_qa_card.toml": card} if card else {})
        return path

    return make


class Affine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("offset", torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.offset


@pytest.fixture(scope="session")
def exported_archives() -> dict[str, bytes]:
    """The bytes of two exported programs: `fixed` to one image a batch, `free` in batch and size."""
    free = {0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    archives = {}
    for name, shapes, images in (("fixed", None, 1), ("free", (free,), 2)):
        program = torch.export.export(Affine().eval(), (torch.rand(images, 1, 8, 8),), dynamic_shapes=shapes)
        buffer = io.BytesIO()
        torch.export.save(program, buffer, extra_files={"medgan_qa_card.toml": card_text()})
        archives[name] = buffer.getvalue()
    return archives


@pytest.fixture
def exported(tmp_path: Path, exported_archives: dict[str, bytes]) -> MakeModel:
    """Write an exported program, with members of its archive replaced or added (paths below its top folder)."""

    def make(batch: str = "free", *, name: str = "model.pt2", members: dict[str, bytes] | None = None) -> Path:
        path = tmp_path / name
        left = dict(members or {})
        with zipfile.ZipFile(io.BytesIO(exported_archives[batch])) as old, zipfile.ZipFile(path, "w") as new:
            for member in old.namelist():
                content = left.pop(member.partition("/")[2], None)
                new.writestr(member, old.read(member) if content is None else content)
            for below, content in left.items():
                new.writestr(f"{old.namelist()[0].partition('/')[0]}/{below}", content)
        return path

    return make


@pytest.fixture
def onnx_model(tmp_path: Path) -> MakeModel:
    """Write an ONNX graph that multiplies by two and adds a quarter."""

    def make(
        *,
        name: str = "model.onnx",
        card: str | None = None,
        batch: int | str = "n",
        inputs: int = 1,
        outputs: int = 1,
    ) -> Path:
        shape = [batch, 1, "h", "w"]
        values = {"two": 2.0, "quarter": 0.25}
        names = [f"x{k}" for k in range(inputs)]
        nodes = [helper.make_node("Mul", [names[0] if names else "two", "two"], ["doubled"])]
        nodes += [helper.make_node("Add", ["doubled", "quarter"], [f"y{k}"]) for k in range(outputs)]
        graph = helper.make_graph(
            nodes,
            "affine",
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names],
            [helper.make_tensor_value_info(f"y{k}", TensorProto.FLOAT, shape if names else []) for k in range(outputs)],
            [helper.make_tensor(n, TensorProto.FLOAT, [], [v]) for n, v in values.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        card = card_text() if card is None else card
        if card:
            helper.set_model_props(model, {"medgan_qa_card.toml": card})
        path = tmp_path / name
        onnx.save(model, str(path))
        return path

    return make
