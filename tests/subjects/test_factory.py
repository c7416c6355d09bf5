"""A team's own code as a model: found, called, given its weights, and named in what a Record says of it."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from medgan_qa.errors import ModelError
from medgan_qa.subjects.factory import build, is_factory, origin

X = np.linspace(0, 1, 2 * 64, dtype=np.float32).reshape(2, 1, 8, 8)
NUMBER = itertools.count()

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.conv(x)

def build():
    return Net()
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Write a module into the working directory and give its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)

    def write(source: str, name: str | None = None) -> str:
        name = name or f"team{next(NUMBER)}"
        path = tmp_path / (name.replace(".", "/") + ".py")
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(source, encoding="utf-8")
        return name

    yield write
    for name in set(sys.modules) - before:
        del sys.modules[name]


def refused(spec: str, weights: Path | None = None) -> ModelError:
    with pytest.raises(ModelError) as caught:
        build(spec, weights, "cpu")
    assert all((caught.value.problem, caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))
    return caught.value


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("team.models:build", True),
        ("team:Generator.make", True),
        ("a:b", True),
        ("reference:detector", False),
        ("control:copies", False),
        ("models/model.pt", False),
        ("model.pt", False),
        ("C:\\model.pt", False),
        ("C:/model.pt", False),
        ("team.models:", False),
        (":build", False),
        ("team-a:build", False),
        ("team:build()", False),
        ("team:__import__('os')", False),
        ("", False),
    ],
)
def test_knows_a_factory_by_its_form(text: str, is_one: bool) -> None:
    assert is_factory(text) == is_one


def test_builds_a_network_with_its_weights(code: Callable[..., str], tmp_path: Path) -> None:
    weights = nn.Conv2d(1, 1, 3, padding=1)
    save_file({f"conv.{name}": tensor for name, tensor in weights.state_dict().items()}, tmp_path / "w.safetensors")
    name = code(NET)
    network, card, parameters = build(f"{name}:build", tmp_path / "w.safetensors", "cpu")
    with torch.no_grad():
        np.testing.assert_allclose(network(X, 0), weights(torch.from_numpy(X)).numpy(), atol=1e-6)
    assert (card, parameters) == ("", 10)


def test_builds_out_of_a_package_and_a_class(code: Callable[..., str]) -> None:
    name = f"package{next(NUMBER)}"
    code("", f"{name}.__init__")
    code(NET, f"{name}.nets")
    network, _, parameters = build(f"{name}.nets:Net", None, "cpu")
    assert (network(X, 0).shape, parameters) == (X.shape, 10)


def test_a_network_is_built_to_be_used_not_trained(code: Callable[..., str]) -> None:
    name = code("from torch import nn\ndef build():\n    return nn.Dropout(0.5)\n")
    np.testing.assert_array_equal(build(f"{name}:build", None, "cpu")[0](X, 0), X)


@pytest.mark.parametrize("returns", ["x * 2", "(x * 2).numpy()"])
def test_any_callable_is_a_network(code: Callable[..., str], returns: str) -> None:
    name = code(f"def build():\n    return lambda x: {returns}\n")
    network, _, parameters = build(f"{name}:build", None, "cpu")
    np.testing.assert_allclose(network(X, 0), 2 * X)
    assert parameters is None


def test_the_card_may_stand_in_the_code(code: Callable[..., str]) -> None:
    name = code(NET + "build.card = 'name = 1'\n")
    assert build(f"{name}:build", None, "cpu")[1] == "name = 1"
    wrong = code(NET + "build.card = 3\n")
    assert "build.card" in str(refused(f"{wrong}:build").found)


def test_code_may_load_its_weights_itself(code: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "factor.txt").write_text("3")
    name = code("def build(weights=None):\n    k = float(weights.read_text())\n    return lambda x: x * k\n")
    np.testing.assert_allclose(build(f"{name}:build", tmp_path / "factor.txt", "cpu")[0](X, 0), 3 * X)


def test_weights_that_do_not_fit(code: Callable[..., str], tmp_path: Path) -> None:
    save_file({"conv.weight": torch.zeros(1, 1, 3, 3), "more": torch.zeros(1)}, tmp_path / "w.safetensors")
    error = refused(f"{code(NET)}:build", tmp_path / "w.safetensors")
    assert error.found == "missing: conv.bias; unexpected: more"
    assert error.where == str(tmp_path / "w.safetensors")


def test_weights_that_would_run_code(code: Callable[..., str], tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.mkdir, (tmp_path / "code-ran",)

    torch.save({"conv.weight": Evil()}, tmp_path / "w.pt")
    assert "could run code" in refused(f"{code(NET)}:build", tmp_path / "w.pt").problem
    assert not (tmp_path / "code-ran").exists()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        ("def build(:", "SyntaxError"),
        ("raise RuntimeError('no licence')", "RuntimeError: no licence"),
        ("import sys\nsys.exit(3)", None),
        ("x = 1", "no build in"),
        ("build = 3", "build is a int"),
        ("def build():\n    return 3", "a int"),
        ("def build():\n    raise ValueError('broken')", "ValueError: broken"),
        ("def build(size):\n    return lambda x: x", "TypeError"),
    ],
)
def test_code_that_makes_no_network(code: Callable[..., str], source: str, found: str | None) -> None:
    name = code(source)
    if found is None:
        # An exit is no error of the model: it ends the process that it runs in.
        with pytest.raises(SystemExit):
            build(f"{name}:build", None, "cpu")
    else:
        assert found in str(refused(f"{name}:build").found)


def test_code_that_is_not_there(code: Callable[..., str]) -> None:
    assert "no such module" in str(refused("nowhere_to_be_found.models:build").found)


def test_weights_for_a_callable_that_takes_none(code: Callable[..., str], tmp_path: Path) -> None:
    name = code("def build():\n    return lambda x: x\n")
    assert "--weights" in str(refused(f"{name}:build", tmp_path / "w.safetensors").found)


def test_the_origin_names_code_and_weights(code: Callable[..., str], tmp_path: Path) -> None:
    name = code(NET)
    (tmp_path / "w.safetensors").write_bytes(b"weights")
    facts = origin(f"{name}:build", tmp_path / "w.safetensors")
    assert facts == {
        "factory": f"{name}:build",
        "code": f"{name}.py",
        "code_sha256": hashlib.sha256((tmp_path / f"{name}.py").read_bytes()).hexdigest(),
        "weights": "w.safetensors",
        "weights_sha256": hashlib.sha256(b"weights").hexdigest(),
    }


def test_the_origin_names_what_the_code_imports_from_beside_it(code: Callable[..., str], tmp_path: Path) -> None:
    inner = code(NET)
    outer = code(f"from {inner} import build\n")
    build(f"{outer}:build", None, "cpu")
    facts = origin(f"{outer}:build")
    assert set(facts["imported"]) == {inner, outer}
    assert facts["imported"][inner] == hashlib.sha256((tmp_path / f"{inner}.py").read_bytes()).hexdigest()


def test_finding_the_origin_runs_nothing(code: Callable[..., str], tmp_path: Path) -> None:
    name = code("import pathlib\npathlib.Path('ran').touch()\n")
    origin(f"{name}:build")
    assert not (tmp_path / "ran").exists()
