"""MONAI bundles: the network out of the configuration without evaluating any of it."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medgan_qa.errors import MissingDependencyError, ModelError
from medgan_qa.subjects.bundle import is_bundle, is_packed_bundle, metadata_of, read_bundle
from medgan_qa.subjects.bundle_config import definition_in, parse_config
from medgan_qa.subjects.formats import reader_of

UNET = {
    "_target_": "UNet",
    "_desc_": "the generator",
    "spatial_dims": "@dims",
    "in_channels": 1,
    "out_channels": 1,
    "channels": [4, 8],
    "strides": [2],
    "norm": ["instance", {"affine": True}],
}
CONFIG: dict[str, Any] = {
    "imports": ["$import os", "$os.mkdir('code-ran')"],
    "dims": 2,
    "device": "$torch.device('cuda:0' if torch.cuda.is_available() else 'cpu')",
    "network_def": UNET,
    "network": "$@network_def.to(@device)",
    "inferer": {"_target_": "SimpleInferer"},
}
Make = Callable[..., Path]


def network() -> nn.Module:
    nets = pytest.importorskip("monai.networks.nets")
    made: nn.Module = nets.UNet(2, 1, 1, (4, 8), (2,), norm=("instance", {"affine": True}))
    return made


@pytest.fixture
def bundle(tmp_path: Path) -> Make:
    def make(
        config: dict[str, Any] | bytes | None = None, *, weights: Any = None, suffix: str = "json", script: bool = False
    ) -> Path:
        folder = tmp_path / "bundle"
        (folder / "configs").mkdir(parents=True)
        (folder / "models").mkdir()
        content = config if isinstance(config, bytes) else json.dumps(config or CONFIG).encode()
        (folder / "configs" / f"inference.{suffix}").write_bytes(content)
        (folder / "configs" / "metadata.json").write_text(json.dumps({"name": "made up", "version": "0.1.0"}))
        if script:
            torch.jit.script(nn.Sequential(nn.ReLU()).eval()).save(str(folder / "models" / "model.ts"))
        else:
            torch.save(weights if weights is not None else {"a": torch.zeros(1)}, folder / "models" / "model.pt")
        return folder

    return make


def packed(folder: Path, top: str = "") -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, top + file.relative_to(folder).as_posix())
    return path


def refused(path: Path) -> ModelError:
    with pytest.raises(ModelError) as caught:
        read_bundle(path, "cpu")
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


X = np.linspace(0, 1, 256, dtype=np.float32).reshape(1, 1, 16, 16)


@pytest.mark.parametrize("form", ["folder", "zip", "zip with a folder"])
@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_reads_a_bundle(bundle: Make, form: str, suffix: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    module = network().eval()
    path = bundle(weights=module.state_dict(), suffix=suffix)
    assert is_bundle(path)
    if form != "folder":
        path = packed(path, "" if form == "zip" else "made_up/")
        assert is_packed_bundle(path)
        assert not is_bundle(path)
    name, reader = reader_of(path)
    read, card, parameters = reader(path, "cpu")
    with torch.no_grad():
        np.testing.assert_allclose(read(X, 0), module(torch.from_numpy(X)).numpy(), atol=1e-6)
    assert (name, card, parameters) == ("MONAI bundle", b"", sum(p.numel() for p in module.parameters()))
    # The configuration's own imports are Python, and stay text.
    assert not (tmp_path / "code-ran").exists()


def test_takes_weights_out_of_a_training_checkpoint(bundle: Make) -> None:
    module = network()
    path = bundle(weights={"model": module.state_dict(), "epoch": 3})
    assert read_bundle(path, "cpu")[2] == sum(p.numel() for p in module.parameters())


def test_a_card_may_stand_in_the_bundle(bundle: Make) -> None:
    path = bundle(weights=network().state_dict())
    (path / "configs" / "medgan_qa_card.toml").write_text("name = 1")
    assert read_bundle(path, "cpu")[1] == b"name = 1"


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_reads_torchscript_where_there_is_nothing_else(bundle: Make, form: str) -> None:
    path = bundle(script=True)
    path = path if form == "folder" else packed(path)
    np.testing.assert_allclose(read_bundle(path, "cpu")[0](X - 0.5, 0), np.maximum(X - 0.5, 0))


class Writer(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        torch.save(x, "code-ran")
        return x


@pytest.mark.parametrize("form", ["folder", "zip"])
def test_torchscript_in_a_bundle_is_looked_through(bundle: Make, form: str) -> None:
    path = bundle(script=True)
    torch.jit.script(Writer()).save(str(path / "models" / "model.ts"))
    error = refused(path if form == "folder" else packed(path))
    assert "aten::save" in str(error.found)
    assert "model.ts" in str(error.where)


def changed(**changes: Any) -> dict[str, Any]:
    return {**CONFIG, "network_def": {**UNET, **changes}}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        (changed(_target_="os.mkdir"), "_target_ 'os.mkdir'"),
        (changed(_target_="$os.mkdir"), "_target_ '$os.mkdir'"),
        (changed(_target_="monai.bundle.run"), "_target_"),
        (changed(_target_="monai.networks.nets.unet.os.system"), "_target_"),
        (changed(_target_="torch.load"), "_target_"),
        (changed(_target_=3), "_target_ '3'"),
        (changed(_target_="Nowhere"), "no network of monai.networks.nets"),
        (changed(_target_="Sequence"), "no network of monai.networks.nets"),
        (changed(_target_="monai.networks.nets.HashimotoNet"), "no network"),
        (changed(in_channels="$__import__('os').mkdir('code-ran')"), "in network_def.in_channels"),
        (changed(in_channels="@nowhere"), "@nowhere in network_def.in_channels"),
        (changed(in_channels="@device"), "torch.device"),
        (changed(in_channels="@a", ), "@a in"),
        (changed(norm=["instance", {"eps": "$1/0"}]), "in network_def.norm[1].eps"),
        (changed(act={"_target_": "os.mkdir", "path": "code-ran"}), "_target_ in network_def.act"),
        (changed(norm="%other.json::norm"), "%other.json"),
        (changed(_requires_="$os.mkdir('code-ran')"), "network_def._requires_"),
        (changed(_disabled_=True), "_disabled_"),
        (changed(pretrained=True), "pretrained = True"),
        (changed(act="/etc/passwd"), "/etc/passwd"),
        (changed(in_channels="@network_def::in_channels"), "circle"),
        (changed(colour="red"), "arguments that UNet refuses"),
        (changed(channels=[4]), "arguments that UNet refuses"),
        ({"network": "$monai.networks.nets.UNet(2, 1, 1, (4, 8), (2,))"}, "$monai.networks.nets.UNet"),
        ({"transforms": []}, "no table with _target_"),
    ],
)  # fmt: skip
def test_refuses_what_would_have_to_be_run(
    bundle: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], found: str
) -> None:
    pytest.importorskip("monai")
    monkeypatch.chdir(tmp_path)
    error = refused(bundle(config))
    assert "more than a class of MONAI" in error.problem
    assert found in str(error.found)
    assert not (tmp_path / "code-ran").exists()


def test_the_hostile_bundle_is_one(bundle: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MONAI itself runs such a configuration."""
    parser = pytest.importorskip("monai.bundle").ConfigParser
    monkeypatch.chdir(tmp_path)
    config = changed(in_channels="$__import__('os').mkdir('code-ran') or 1")
    refused(bundle(config))
    assert not (tmp_path / "code-ran").exists()
    parser({"net": {"_target_": "UNet", **config["network_def"], "spatial_dims": 2}}).get_parsed_content("net")
    assert (tmp_path / "code-ran").exists()


def test_references_are_put_in_place() -> None:
    config = {
        "a": {"b": [1, "@c"]},
        "c": 7,
        "network_def": {"_target_": "UNet", "x": "@a::b::1", "y": "@a#b", "z": "@a"},
    }
    definition = definition_in(config, "configs/inference.json", Path("b"))
    assert definition.arguments == {"x": 7, "y": [1, 7], "z": {"b": [1, 7]}}
    assert (definition.name, definition.target) == ("UNet", "UNet")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", b"{"),
        ("c.json", b"[" * 100_000),
        ("c.json", b"[1]"),
        ("c.json", b"\xff"),
        ("c.yaml", b"a: [1"),
        ("c.yaml", b"- 1"),
        ("c.yaml", b"a: !!python/object/apply:os.mkdir ['code-ran']"),
        ("c.yaml", b"a: &a [1]\nb: *a"),
    ],
)
def test_a_configuration_that_cannot_be_read(name: str, content: bytes) -> None:
    with pytest.raises(ModelError, match="damaged"):
        parse_config(content, name, Path("bundle"))
    assert not Path("code-ran").exists()


def test_weights_that_do_not_fit(bundle: Make) -> None:
    network()
    assert "unexpected: a" in str(refused(bundle()).found)


def test_weights_that_would_run_code(bundle: Make, tmp_path: Path) -> None:
    network()

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "code-ran"),)

    assert "could run code" in refused(bundle(weights={"a": Evil()})).problem
    assert not (tmp_path / "code-ran").exists()


def test_what_is_no_bundle(bundle: Make, tmp_path: Path) -> None:
    assert not is_bundle(tmp_path / "nowhere")
    assert not is_bundle(Path("x" * 5000))
    assert not is_bundle(tmp_path)
    assert "no configuration" in str(refused(tmp_path).found)
    path = bundle()
    (path / "models" / "model.pt").unlink()
    assert not is_bundle(path)
    assert "models/model.pt" in str(refused(path).found)


def test_a_packed_bundle_that_leads_elsewhere(bundle: Make) -> None:
    path = packed(bundle())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../models/model.pt", b"")
    with pytest.raises(ModelError, match="archive"):
        reader_of(path)


def test_a_configuration_beyond_all_measure(bundle: Make) -> None:
    assert "bytes" in str(refused(bundle(b" " * (5 * 2**20))).found)


def test_without_monai(bundle: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "monai", None)
    monkeypatch.setitem(__import__("sys").modules, "monai.networks.nets", None)
    with pytest.raises(MissingDependencyError, match="monai extra"):
        read_bundle(bundle(), "cpu")


def test_the_metadata(bundle: Make, tmp_path: Path) -> None:
    assert metadata_of(bundle()) == {"name": "made up", "version": "0.1.0"}
    assert metadata_of(tmp_path) == {}
