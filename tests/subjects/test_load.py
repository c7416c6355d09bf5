"""Loading by format, where the card comes from, and files that are damaged, something else, or out to run code."""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import pickle
import random
import re
import struct
import sys
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medgan_qa.errors import ConfigurationError, MissingDependencyError, ModelError
from medgan_qa.rng import child
from medgan_qa.subjects import formats, load
from medgan_qa.subjects.checkpoint import FORMAT, Checkpoint, write_checkpoint
from medgan_qa.subjects.load import choose_device, file_sha256, load_subject, resolve, shipped_models

MakeModel = Callable[..., Path]
MakeCard = Callable[..., str]
X = child(0, "test images").random((3, 1, 8, 8), np.float32)


class Affine(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.register_buffer("offset", torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.offset


def affine_in_unit_range(x: Any) -> Any:
    """What `Affine` does to images that the card maps to [-1, 1] and back."""
    return ((x * 2 - 1) * 2 + 0.25 + 1) / 2


def refused(path: Path | str, **how: Any) -> ModelError:
    """Load it, see it refused, and see that everything is said."""
    with pytest.raises(ModelError) as caught:
        load_subject(str(path), **how)
    error = caught.value
    assert error.exit_code == 2
    assert all((error.problem, error.expected, error.found, error.where, error.todo))
    assert str(path) in str(error.where)
    return error


# Formats


def test_loads_torchscript(torchscript: MakeModel) -> None:
    path = torchscript(Affine())
    subject = load_subject(str(path))
    assert (subject.format, subject.parameters, subject.device) == ("TorchScript", 1, "cpu")
    assert subject.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    np.testing.assert_allclose(subject.translate(X), affine_in_unit_range(X), atol=1e-6)


@pytest.mark.parametrize("batch", ["free", "fixed"])
def test_loads_an_exported_program(exported: MakeModel, batch: str) -> None:
    subject = load_subject(str(exported(batch)))
    assert (subject.format, subject.parameters, subject.card.name) == ("exported program", 1, "brain T2 to FLAIR")
    np.testing.assert_allclose(subject.translate(X), affine_in_unit_range(X), atol=1e-6)


def test_knows_an_exported_program_by_its_content(exported: MakeModel) -> None:
    assert load_subject(str(exported(name="model.pt"))).format == "exported program"


@pytest.mark.parametrize("batch", ["n", 1])
def test_loads_onnx(onnx_model: MakeModel, batch: int | str) -> None:
    subject = load_subject(str(onnx_model(batch=batch)))
    assert (subject.format, subject.parameters, subject.card.name) == ("ONNX", None, "brain T2 to FLAIR")
    np.testing.assert_allclose(subject.translate(X), affine_in_unit_range(X), atol=1e-6)


def test_the_suffix_may_be_in_capitals(onnx_model: MakeModel) -> None:
    assert load_subject(str(onnx_model(name="MODEL.ONNX"))).format == "ONNX"


class Narrow(nn.Sequential):
    def __init__(self, width: int = 2) -> None:
        super().__init__(nn.Conv2d(1, width, 3, padding=1), nn.Conv2d(width, 1, 1))


@pytest.fixture
def checkpoint(tmp_path: Path, make_card: MakeCard, monkeypatch: pytest.MonkeyPatch) -> MakeModel:
    """Write a checkpoint of a network that an installed package registers, as far as this process knows."""
    point = SimpleNamespace(name="made up", load=lambda: lambda: {"narrow": Narrow})
    monkeypatch.setattr(formats, "entry_points", lambda group: [point] if group == "medgan_qa.architectures" else [])

    def make(name: str = "model.safetensors", **changes: Any) -> Path:
        whole = Checkpoint("narrow", {"width": 3}, Narrow(3).state_dict(), make_card())
        write_checkpoint(tmp_path / name, whole._replace(**changes))
        return tmp_path / name

    return make


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_loads_a_checkpoint(checkpoint: MakeModel, name: str) -> None:
    network = Narrow(3)
    subject = load_subject(str(checkpoint(name, tensors=network.state_dict())), trust=True)
    container = name.partition(".")[2]
    assert subject.format == f"reference checkpoint ({container})"
    assert subject.parameters == (9 + 1) * 3 + 3 + 1
    with torch.no_grad():
        expected = (network(torch.from_numpy(X * 2 - 1)).numpy() + 1) / 2
    np.testing.assert_allclose(subject.translate(X), expected, atol=1e-6)


def test_the_reference_networks_are_registered() -> None:
    [point] = [p for p in formats.entry_points(group="medgan_qa.architectures") if p.name == "reference"]
    assert all(isinstance(build(), nn.Module) for build in point.load()().values())


def test_a_model_is_loaded_to_be_used_not_trained(torchscript: MakeModel) -> None:
    x = np.ones((2, 1, 8, 8), np.float32)
    subject = load_subject(str(torchscript(nn.Dropout(0.5))))
    np.testing.assert_array_equal(subject.translate(x), x)


def test_no_warning_of_torch_reaches_the_user(torchscript: MakeModel, exported: MakeModel) -> None:
    paths = [torchscript(Affine()), exported(), exported("fixed", name="other.pt2")]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for path in paths:
            load_subject(str(path)).translate(X)
    assert [str(w.message) for w in caught if "torch" in str(w.message)] == []


def test_onnx_without_its_runtime(onnx_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    path = onnx_model()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'medgan-qa[onnx]'")) as caught:
        load_subject(str(path), trust=True)
    assert caught.value.exit_code == 2


# The card


def test_a_card_beside_the_file_wins(torchscript: MakeModel, make_card: MakeCard, tmp_path: Path) -> None:
    path = torchscript(Affine(), card=make_card(name="inside"))
    assert load_subject(str(path)).card.name == "inside"
    (tmp_path / "model.card.toml").write_text(make_card(name="beside"), encoding="utf-8")
    assert load_subject(str(path)).card.name == "beside"


def test_a_card_beside_the_file_is_enough(onnx_model: MakeModel, make_card: MakeCard, tmp_path: Path) -> None:
    path = onnx_model(card="")
    (tmp_path / "model.card.toml").write_text(make_card(name="beside"), encoding="utf-8")
    assert load_subject(str(path)).card.name == "beside"


def test_a_model_without_a_card_is_refused(torchscript: MakeModel, tmp_path: Path) -> None:
    error = refused(torchscript(Affine(), card=""))
    assert "no card" in error.problem
    assert str(tmp_path / "model.card.toml") in str(error.todo)
    assert 'schema = "medgan-qa/card/1"' in str(error.expected)


def test_a_broken_card_is_refused_by_its_own_name(torchscript: MakeModel, tmp_path: Path) -> None:
    path = torchscript(Affine(), card="name = ")
    assert refused(path).where == f"{path} (medgan_qa_card.toml)"
    beside = tmp_path / "model.card.toml"
    beside.write_text("schema = 3", encoding="utf-8")
    with pytest.raises(ModelError, match="another schema") as caught:
        load_subject(str(path))
    assert caught.value.where == str(beside)


def test_a_card_that_is_no_text_is_refused(torchscript: MakeModel, tmp_path: Path) -> None:
    path = torchscript(Affine(), card=b"name = '\xff\xfe'")
    assert "cannot be read" in refused(path).problem
    (tmp_path / "model.card.toml").write_bytes(b"\xff")
    assert card_refused(path) == str(tmp_path / "model.card.toml")


def test_a_card_that_is_a_folder_is_refused(torchscript: MakeModel, tmp_path: Path) -> None:
    path = torchscript(Affine())
    (tmp_path / "model.card.toml").mkdir()
    assert card_refused(path) == str(tmp_path / "model.card.toml")


def card_refused(path: Path) -> str | None:
    with pytest.raises(ModelError, match="card cannot be read") as caught:
        load_subject(str(path))
    return caught.value.where


# Files that are no model


def test_a_missing_file(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "model.pt").problem
    assert "does not exist" in refused("x" * 5000).problem


def test_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path).found == "a folder"


def test_something_that_is_neither_file_nor_folder(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.pt")
    assert refused(tmp_path / "model.pt").found == "neither a file nor a folder"


@pytest.mark.parametrize("suffix", ["pt", "pt2", "onnx", "safetensors"])
def test_an_empty_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    path.touch()
    assert "empty" in refused(path).problem


@pytest.mark.parametrize("suffix", ["pt", "pt2", "onnx", "safetensors"])
@pytest.mark.parametrize("start", [b"", b"PK\x03\x04", b"\x80\x02", b"\x80\x04\x95", b"\x1f\x8b"])
def test_random_bytes(tmp_path: Path, suffix: str, start: bytes) -> None:
    path = tmp_path / f"model.{suffix}"
    for draw in range(20):
        path.write_bytes(start + child(0, "random bytes", draw).bytes(300))
        refused(path)


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_text("version https://git-lfs.github.com/spec/v1\n", encoding="utf-8")
    assert "b'vers'" in str(refused(path).found)


@pytest.mark.parametrize("keep", [0.02, 0.3, 0.6, 0.9, 0.99])
def test_a_truncated_file_of_any_format(
    torchscript: MakeModel, exported: MakeModel, onnx_model: MakeModel, checkpoint: MakeModel, keep: float
) -> None:
    paths = [
        torchscript(nn.Conv2d(1, 1, 3, padding=1), name="a.pt"),
        exported(name="b.pt2"),
        onnx_model(name="c.onnx"),
        checkpoint("d.safetensors"),
        checkpoint("e.pt"),
    ]
    for path in paths:
        whole = path.read_bytes()
        path.write_bytes(whole[: int(keep * len(whole))])
        refused(path)


def test_torchscript_whose_archive_is_whole_and_whose_tensors_are_not(torchscript: MakeModel) -> None:
    path = torchscript(nn.Conv2d(1, 1, 3, padding=1))
    rewrite(path, {"data.pkl": b"\x80\x02."})
    assert "damaged" in refused(path).problem


def test_a_zip_that_holds_no_model(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("letter.txt", "Dear reader")
    error = refused(path)
    assert "no known format" in error.problem
    assert "letter.txt" in str(error.found)
    refused(path.rename(tmp_path / "model.pt2"))


def test_a_zip_that_only_looks_like_torchscript(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/code/__torch__.py", "def forward(x: Tensor) -> Tensor:\n  return x\n")
    assert "damaged" in refused(path).problem


@pytest.mark.parametrize("new_container", [True, False])
def test_a_bare_state_dict(tmp_path: Path, new_container: bool) -> None:
    path = tmp_path / "model.pt"
    torch.save(Affine().state_dict(), path, _use_new_zipfile_serialization=new_container)
    error = refused(path)
    assert "does not say which network" in error.problem
    assert "scale" in str(error.found)
    assert FORMAT in str(error.expected)


@pytest.mark.parametrize("name", ["model.safetensors", "model.pt"])
def test_a_checkpoint_of_an_unknown_network(checkpoint: MakeModel, name: str) -> None:
    error = refused(checkpoint(name, architecture="diffusion-translator"), trust=True)
    assert error.found == "diffusion-translator"
    assert "narrow" in str(error.expected)
    assert "medgan_qa.architectures" in str(error.todo)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"tensors": {}}, "Missing key"),
        ({"tensors": {"x": torch.zeros(1)}}, "Unexpected key"),
        ({"config": {"width": 4}}, "size mismatch"),
        ({"config": {"colour": "red"}}, "colour"),
        ({"config": {"width": -1}}, ""),
        ({"config": {"width": "many"}}, ""),
        ({"config": {"width": None}}, ""),
    ],
)
def test_tensors_that_do_not_fit(checkpoint: MakeModel, changes: dict[str, Any], found: str) -> None:
    error = refused(checkpoint(**changes), trust=True)
    assert "do not fit the network" in error.problem
    assert found in str(error.found)


# Files that would run code. Each is first seen to do so when it is read without care.


class Evil:
    """Makes a folder as soon as it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.marker),))


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "code-ran"


def rewrite(path: Path, members: dict[str, bytes]) -> None:
    """Replace members of an archive, named by how they end."""
    with zipfile.ZipFile(path) as old:
        content = {name: old.read(name) for name in old.namelist()}
    for end, new in members.items():
        [name] = [n for n in content if n.endswith(end)]
        content[name] = new
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)


def test_the_marker_appears_when_such_a_file_is_read_without_care(marker: Path) -> None:
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("suffix", ["pt", "pth", "pkl", "pt2"])
def test_a_pickle_that_would_run_code(tmp_path: Path, marker: Path, protocol: int, suffix: str) -> None:
    path = tmp_path / f"model.{suffix}"
    path.write_bytes(pickle.dumps({"weights": Evil(marker)}, protocol))
    assert "could run code" in refused(path).problem
    assert not marker.exists()


@pytest.mark.parametrize("new_container", [True, False])
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"tensors": {"a": torch.zeros(1), "b": evil}}])
def test_a_saved_object_that_would_run_code(
    tmp_path: Path, marker: Path, new_container: bool, wrap: Callable[[Any], Any]
) -> None:
    path = tmp_path / "model.pt"
    torch.save(wrap(Evil(marker)), path, _use_new_zipfile_serialization=new_container)
    error = refused(path)
    assert "could run code" in error.problem
    assert "mkdir" in str(error.found)
    assert "torch.jit.trace" in str(error.todo)
    assert not marker.exists()


def test_a_whole_module_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Conv2d(1, 1, 1), path)
    error = refused(path)
    assert "torch.nn.modules.conv.Conv2d" in str(error.found)
    assert "torch.jit.trace" in str(error.todo)


def test_a_pickle_of_plain_values_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(pickle.dumps([1, 2, 3]))
    refused(path)


@pytest.mark.parametrize("end", ["data.pkl", "constants.pkl"])
def test_torchscript_with_a_pickle_that_would_run_code(torchscript: MakeModel, marker: Path, end: str) -> None:
    path = torchscript(nn.Conv2d(1, 1, 3, padding=1))
    for protocol in (2, 4):
        rewrite(path, {f"/{end}": pickle.dumps(Evil(marker), protocol)})
        refused(path)
        assert not marker.exists()


def saved(content: Any, tmp_path: Path) -> bytes:
    torch.save(content, tmp_path / "part")
    return (tmp_path / "part").read_bytes()


def test_example_inputs_that_would_run_code(
    exported: MakeModel,
    marker: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    evil = saved(((Evil(marker),), {}), tmp_path)
    path = exported(members={"data/sample_inputs/model.pt": evil})
    error = refused(path)
    assert "could run code" in error.problem
    assert "mkdir" in str(error.found)
    assert not marker.exists()
    assert caplog.records == []
    monkeypatch.setattr(logging.root.manager, "disable", logging.CRITICAL)
    with path.open("rb") as stream:
        torch.export.load(stream)
    assert marker.exists()


def program(path: Path) -> dict[str, Any]:
    with zipfile.ZipFile(path) as archive:
        [name] = [n for n in archive.namelist() if n.endswith("models/model.json")]
        content: dict[str, Any] = json.loads(archive.read(name))
    return content


def with_program(exported: MakeModel, change: Callable[[dict[str, Any]], Any], batch: str = "free") -> Path:
    content = program(exported(batch))
    change(content)
    return exported(batch, members={"models/model.json": json.dumps(content).encode()})


def test_a_guard_that_would_run_code(exported: MakeModel, marker: Path) -> None:
    code = f"open({str(marker)!r}, 'w').close() is None"
    path = with_program(exported, lambda content: content["guards_code"].append(code))
    assert "guards_code" in str(refused(path).found)
    assert not marker.exists()
    with path.open("rb") as stream:
        torch.export.load(stream).module()(torch.rand(2, 1, 8, 8))
    assert marker.exists()


def size(content: dict[str, Any]) -> dict[str, Any]:
    """The first symbolic size in a program."""
    values = content["graph_module"]["graph"]["tensor_values"].values()
    found: dict[str, Any] = next(s["as_expr"] for v in values for s in v["sizes"] if "as_expr" in s)
    return found


def test_a_size_that_would_run_code(exported: MakeModel, marker: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        size(content)["expr_str"] = f"__import__('pathlib').Path({str(marker)!r}).touch() or Symbol('s0')"

    path = with_program(exported, change)
    assert "expr_str" in str(refused(path).found)
    assert not marker.exists()


HARMFUL_SIZES = [
    "__import__('os')",
    "().__class__",
    "eval('1')",
    "exec(chr(49))",
    "Symbol('s0').__class__",
    "S('__import__(\"os\")')",
    "Max('open(1)', 2)",
    "(lambda: 1)()",
    "[x for x in (1,)]",
    "1 +",
    "(" * 3000,
    "Integer(1)" + " + 1" * 20000,
]


@pytest.mark.parametrize("text", HARMFUL_SIZES, ids=lambda t: t[:20])
def test_sizes_are_arithmetic_and_nothing_else(exported: MakeModel, text: str) -> None:
    path = with_program(exported, lambda content: size(content).update(expr_str=text))
    assert "could run code" in refused(path).problem


@pytest.mark.parametrize(
    "target",
    [
        "torch.os.system",
        "torch.hub.load",
        "torch.ops.load_library",
        "torch.ops.aten.__class__.mro",
        "torch.ops.aten.add.__init__.__globals__",
        "torch.ops.mylib.add.default",
        "_operator.attrgetter",
        "_operator.call",
        "math.__loader__",
        "#ext.op",
        "open",
        "",
    ],
)
def test_operators_are_those_of_torch(exported: MakeModel, target: str) -> None:
    def change(content: dict[str, Any]) -> None:
        content["graph_module"]["graph"]["nodes"][-1]["target"] = target

    assert "target" in str(refused(with_program(exported, change)).found)


@pytest.mark.parametrize("name", ["x): pass  #", "x, y=print('ran')", "x\n    import os", "x y"])
def test_names_in_a_program_are_names(exported: MakeModel, name: str) -> None:
    path = exported()
    text = json.dumps(program(path)).replace('"name": "x"', json.dumps({"name": name})[1:-1])
    path = exported(members={"models/model.json": text.encode()})
    assert "could run code" in refused(path).problem


def test_names_that_are_keys_are_names_too(exported: MakeModel) -> None:
    def change(content: dict[str, Any]) -> None:
        content["range_constraints"]["__import__('os')"] = {"min_val": 1, "max_val": 2}

    assert "could run code" in refused(with_program(exported, change)).problem


@pytest.mark.parametrize(
    "node",
    [
        {"type": "collections.defaultdict", "context": "[]", "children_spec": []},
        {"type": "builtins.dict", "context": '["a b"]', "children_spec": []},
        {"type": "builtins.dict", "context": '{"__enum__": true, "fqn": "os:system"}', "children_spec": []},
        {"type": None, "context": None, "children_spec": ["os"]},
    ],
)
def test_arguments_are_plain_tuples_lists_and_dicts(exported: MakeModel, node: dict[str, Any]) -> None:
    def change(content: dict[str, Any]) -> None:
        content["graph_module"]["module_call_graph"][0]["signature"]["in_spec"] = json.dumps([1, node])

    assert "in_spec" in str(refused(with_program(exported, change)).found)


@pytest.mark.parametrize(
    ("member", "found"),
    [
        ("data/constants/opaque_obj_0", "pickled object"),
        ("data/constants/custom_obj_0", "custom object"),
        ("data/aotinductor/model/model.so", "compiled code"),
        ("MODELS/model.json", "two members of one name"),
    ],
)
def test_an_exported_program_with_more_than_a_network(exported: MakeModel, member: str, found: str) -> None:
    assert found in str(refused(exported(members={member: b"{}"})).found)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000], ids=["empty", "cut", "no text", "deep"])
def test_an_exported_program_that_is_no_json(exported: MakeModel, content: bytes) -> None:
    assert "damaged" in refused(exported(members={"models/model.json": content})).problem


def test_an_exported_program_of_another_version(exported: MakeModel) -> None:
    assert "damaged" in refused(exported(members={"archive_version": b"99"})).problem


def test_an_exported_program_without_its_weights_prints_no_traceback(
    exported: MakeModel, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    weights = "data/weights/model_weights_config.json"
    with zipfile.ZipFile(exported()) as archive:
        [name] = [n for n in archive.namelist() if n.endswith(weights)]
        content = archive.read(name).replace(b'"weight_0"', b'"weight_9"')
    assert "damaged" in refused(exported(members={weights: content})).problem
    assert capfd.readouterr().err == ""
    assert caplog.records == []


def test_reading_leaves_the_environment_as_it_was(exported: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    monkeypatch.delenv("TORCH_FORCE_WEIGHTS_ONLY_LOAD", raising=False)
    before, disabled = dict(os.environ), logging.root.manager.disable
    load_subject(str(exported()))
    refused(exported(members={"archive_version": b"99"}))
    assert dict(os.environ) == before
    assert logging.root.manager.disable == disabled


def test_flipped_bytes_never_end_in_anything_but_an_answer(
    torchscript: MakeModel, checkpoint: MakeModel, onnx_model: MakeModel
) -> None:
    chance = random.Random(0)
    for path in (torchscript(Affine(), name="a.pt"), checkpoint("b.pt"), checkpoint("c.safetensors"), onnx_model()):
        whole = path.read_bytes()
        for _ in range(15):
            flipped = bytearray(whole)
            for at in chance.sample(range(len(whole)), 3):
                flipped[at] ^= 1 << chance.randrange(8)
            path.write_bytes(flipped)
            # Some flips change nothing that is read, or one weight; all others have to be refused, not crash.
            with contextlib.suppress(ModelError):
                load_subject(str(path), trust=path.stem in "bc")


def test_a_safetensors_header_that_promises_too_much(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", 2**62) + b"{}")
    refused(path)


# Names and devices


def test_a_shipped_model_by_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "detector.safetensors"
    monkeypatch.setattr(load, "shipped_models", lambda: {"detector": file})
    assert resolve("reference:detector") == file
    with pytest.raises(ConfigurationError, match="No shipped model has that name") as caught:
        resolve("reference:detectr")
    assert caught.value.expected == "one of detector"
    assert caught.value.found == "detectr"
    monkeypatch.setattr(load, "shipped_models", dict)
    with pytest.raises(ConfigurationError, match="none is installed"):
        resolve("reference:detector")


def test_every_shipped_model_loads() -> None:
    for name in shipped_models():
        subject = load_subject(f"reference:{name}")
        assert subject.sha256 == file_sha256(subject.path)
        if subject.card.task == "synthesis":
            assert np.isfinite(subject.sample(2, 0)).all()
        else:
            subject.network(np.zeros((1, subject.card.channels_in, 64, 64), np.float32), 0)


def test_the_digest_is_that_of_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "big"
    content = child(0, "digest").bytes(300_000)
    path.write_bytes(content)
    assert file_sha256(path) == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("there", "asked", "chosen"),
    [
        (0, "cpu", "cpu"),
        (0, "auto", "cpu"),
        (2, "auto", "cuda"),
        (2, "cpu", "cpu"),
        (2, "cuda", "cuda"),
        (2, "cuda:1", "cuda:1"),
    ],
)
def test_chooses_a_device(monkeypatch: pytest.MonkeyPatch, there: int, asked: str, chosen: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    assert choose_device(asked) == chosen


@pytest.mark.parametrize(
    ("there", "asked", "problem"),
    [
        (0, "cuda", "no such CUDA device"),
        (2, "cuda:2", "no such CUDA device"),
        (2, "gpu", "unknown"),
        (2, "cuda:x", "unknown"),
        (2, "cudaX", "unknown"),
        (2, "", "unknown"),
    ],
)
def test_refuses_a_device(monkeypatch: pytest.MonkeyPatch, there: int, asked: str, problem: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(ConfigurationError, match=problem) as caught:
        choose_device(asked)
    assert (caught.value.where, caught.value.exit_code) == ("--device", 2)
    assert caught.value.expected
    assert caught.value.todo
