"""ONNX files: what reaches beyond its folder, is of another domain, declares absurd sizes or goes in a circle."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from medgan_qa.errors import MissingDependencyError, ModelError
from medgan_qa.subjects.formats import reader_of
from medgan_qa.subjects.onnx_check import read_graph

X = np.linspace(0, 1, 64, dtype=np.float32).reshape(1, 1, 8, 8)
IMAGE = ["n", 1, "h", "w"]
TWO = numpy_helper.from_array(np.float32(2.0), "two")


def value(name: str, shape: list[Any] | None = None) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, IMAGE if shape is None else shape)


def graph(
    nodes: list[onnx.NodeProto], tensors: list[onnx.TensorProto] | None = None, **options: Any
) -> onnx.GraphProto:
    given = options.get("inputs", [value("x")])
    return helper.make_graph(nodes, "g", given, [value("y")], [TWO] if tensors is None else tensors)


DOUBLE = helper.make_node("Mul", ["x", "two"], ["y"], name="double")


def model(inner: onnx.GraphProto | None = None, **options: Any) -> onnx.ModelProto:
    imports = [helper.make_opsetid("", 17), *options.pop("imports", [])]
    return helper.make_model(inner or graph([DOUBLE]), opset_imports=imports, ir_version=8, **options)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[onnx.ModelProto], Path]:
    def write(made: onnx.ModelProto) -> Path:
        path = tmp_path / "folder" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(made.SerializeToString())
        return path

    return write


Write = Callable[[onnx.ModelProto], Path]


def refused(path: Path) -> str:
    _, reader = reader_of(path)
    with pytest.raises(ModelError) as caught:
        reader(path, "cpu")
    assert all((caught.value.problem, caught.value.expected, caught.value.todo))
    assert caught.value.where == str(path)
    return str(caught.value.found)


def run(path: Path, x: np.ndarray = X) -> np.ndarray:
    _, reader = reader_of(path)
    return reader(path, "cpu")[0](x, 0)


def test_reads_a_plain_graph(written: Write) -> None:
    np.testing.assert_allclose(run(written(model())), 2 * X)


class Layers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.InstanceNorm2d(4)
        self.up, self.lstm = nn.ConvTranspose2d(4, 1, 2, 2), nn.LSTM(16, 16, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.up(torch.relu(self.norm(self.conv(x))))
        return (
            nn.functional.interpolate(y, scale_factor=0.5, mode="bilinear") + self.lstm(y[:, 0])[0][:, None, ::2, ::2]
        )


@pytest.mark.filterwarnings("ignore")
def test_reads_what_torch_exports(tmp_path: Path) -> None:
    module, path = Layers().eval(), tmp_path / "model.onnx"
    with torch.no_grad():
        torch.onnx.export(module, (torch.from_numpy(X),), str(path), dynamo=False)
        expected = module(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(run(path), expected, atol=1e-5)


def branch(name: str, *nodes: onnx.NodeProto, tensors: tuple[onnx.TensorProto, ...] = ()) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [value("y_" + name)], list(tensors))


def with_branches(then: onnx.GraphProto, other: onnx.GraphProto) -> onnx.ModelProto:
    on = numpy_helper.from_array(np.array(True), "on")
    node = helper.make_node("If", ["on"], ["y"], name="choose", then_branch=then, else_branch=other)
    return model(graph([node], [TWO, on]))


def test_reads_branches_that_use_outer_values(written: Write) -> None:
    then = branch("then", helper.make_node("Mul", ["x", "two"], ["y_then"]))
    other = branch("else", helper.make_node("Identity", ["x"], ["y_else"]))
    np.testing.assert_allclose(run(written(with_branches(then, other))), 2 * X)


def function(domain: str = "local.team", calls: str = "Mul", of: str = "") -> onnx.FunctionProto:
    nodes = [helper.make_node(calls, ["a", "a"] if calls == "Mul" else ["a"], ["b"], domain=of)]
    imports = [helper.make_opsetid("", 17), *([helper.make_opsetid(of, 1)] if of else [])]
    return helper.make_function(domain, "square", ["a"], ["b"], nodes, imports)


def test_reads_local_functions(written: Write) -> None:
    node = helper.make_node("square", ["x"], ["y"], domain="local.team")
    made = model(graph([node]), imports=[helper.make_opsetid("local.team", 1)], functions=[function()])
    np.testing.assert_allclose(run(written(made)), X**2, atol=1e-6)


def test_the_order_of_nodes_is_the_runtimes_business(written: Write) -> None:
    made = model(graph([helper.make_node("Mul", ["z", "two"], ["y"]), helper.make_node("Add", ["x", "two"], ["z"])]))
    np.testing.assert_allclose(run(written(made)), 2 * (X + 2))


# Tensors beside the file.


def external(location: str, **more: str) -> onnx.TensorProto:
    tensor = TensorProto(name="two", data_type=TensorProto.FLOAT, dims=[1, 1, 1, 1])
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, text
    return tensor


def test_reads_tensors_beside_the_file(written: Write) -> None:
    path = written(model(graph([DOUBLE], [external("weights/two.bin", offset="4", length="4")])))
    (path.parent / "weights").mkdir()
    (path.parent / "weights" / "two.bin").write_bytes(np.array([9, 2], np.float32).tobytes())
    assert read_graph(path).external == (path.parent / "weights/two.bin",)
    np.testing.assert_allclose(run(path), 2 * X)


@pytest.mark.parametrize(
    "location",
    ["/etc/hostname", "../secret.bin", "weights/../../secret.bin", "C:\\secret.bin", "\\\\host\\share",
     "..\\secret.bin",
     "", ".", "link.bin", "linked/secret.bin", "two.bin/", "a\0b"],
)  # fmt: skip
def test_refuses_tensors_of_other_places(written: Write, tmp_path: Path, location: str) -> None:
    (tmp_path / "secret.bin").write_bytes(np.array([2], np.float32).tobytes())
    path = written(model(graph([DOUBLE], [external(location)])))
    (path.parent / "link.bin").symlink_to(tmp_path / "secret.bin")
    (path.parent / "linked").symlink_to(tmp_path)
    assert "a tensor two" in refused(path)


def test_refuses_tensors_that_are_not_there(written: Write) -> None:
    assert "No such file" in refused(written(model(graph([DOUBLE], [external("two.bin")]))))


@pytest.mark.parametrize("place", ["constant", "branch", "function", "sparse", "attribute"])
def test_looks_for_tensors_everywhere(written: Write, place: str) -> None:
    hidden = external("/etc/hostname")
    constant = helper.make_node("Constant", [], ["k"], value=hidden)
    if place == "constant":
        made = model(graph([constant, DOUBLE]))
    elif place == "branch":
        then = branch("then", helper.make_node("Mul", ["x", "two2"], ["y_then"]), tensors=(external("/etc/hostname"),))
        made = with_branches(then, branch("else", helper.make_node("Identity", ["x"], ["y_else"])))
    elif place == "function":
        inner = helper.make_function(
            "local.team", "square", ["a"], ["b"], [constant, helper.make_node("Mul", ["a", "k"], ["b"])],
            [helper.make_opsetid("", 17)],
        )  # fmt: skip
        made = model(imports=[helper.make_opsetid("local.team", 1)], functions=[inner])
    elif place == "sparse":
        sparse = onnx.SparseTensorProto(values=hidden, indices=numpy_helper.from_array(np.array([0])), dims=[1])
        made = model()
        made.graph.sparse_initializer.append(sparse)
    else:
        node = helper.make_node("Constant", [], ["k"])
        node.attribute.append(
            onnx.AttributeProto(name="sparse_value", type=onnx.AttributeProto.TENSORS, tensors=[hidden])
        )
        made = model(graph([node, DOUBLE]))
    assert "outside the model's folder: '/etc/hostname'" in refused(written(made))


@pytest.mark.parametrize(
    "more",
    [{"offset": "100"}, {"offset": "-4"}, {"length": "2"}, {"offset": "x"}, {"basepath": "/etc"}],
    ids=str,
)
def test_refuses_places_that_do_not_hold_it(written: Write, more: dict[str, str]) -> None:
    path = written(model(graph([DOUBLE], [external("two.bin", **more)])))
    (path.parent / "two.bin").write_bytes(np.array([2], np.float32).tobytes())
    assert "a tensor two" in refused(path)


def test_refuses_two_places(written: Write) -> None:
    tensor = external("two.bin")
    tensor.external_data.add(key="location", value="/etc/hostname")
    assert "two places" in refused(written(model(graph([DOUBLE], [tensor]))))


# Operators.


@pytest.mark.parametrize("domain", ["com.microsoft", "ai.onnx.contrib", "ai.onnx.preview.training", "team.custom"])
def test_refuses_operators_of_other_domains(written: Write, domain: str) -> None:
    node = helper.make_node("PyOp", ["x"], ["y"], name="p", domain=domain)
    assert f"{domain}::PyOp" in refused(written(model(graph([node]), imports=[helper.make_opsetid(domain, 1)])))
    then = branch("then", helper.make_node("PyOp", ["x"], ["y_then"], domain=domain))
    other = branch("else", helper.make_node("Identity", ["x"], ["y_else"]))
    assert "node choose" in refused(written(with_branches(then, other)))
    inner = model(imports=[helper.make_opsetid("local.team", 1)], functions=[function(calls="PyOp", of=domain)])
    assert "the function square" in refused(written(inner))


def test_a_domain_that_is_only_imported_brings_nothing(written: Write) -> None:
    np.testing.assert_allclose(run(written(model(imports=[helper.make_opsetid("com.microsoft", 1)]))), 2 * X)


def test_refuses_a_function_in_the_place_of_an_operator(written: Write) -> None:
    assert "in the place of an operator" in refused(written(model(functions=[function(domain="")])))


def test_refuses_two_functions_of_one_name(written: Write) -> None:
    assert "of one name" in refused(written(model(functions=[function(), function()])))


# Sizes.


@pytest.mark.parametrize(
    "tensor",
    [
        TensorProto(name="two", data_type=TensorProto.FLOAT, dims=[2**20, 2**20]),
        TensorProto(name="two", data_type=TensorProto.FLOAT, dims=[4], raw_data=b"1234"),
        TensorProto(name="two", data_type=TensorProto.FLOAT, dims=[4], float_data=[1.0]),
        TensorProto(name="two", data_type=TensorProto.FLOAT, dims=[4]),
        TensorProto(name="two", data_type=TensorProto.FLOAT, dims=[-1], float_data=[1.0]),
    ],
    ids=["huge", "short", "one of four", "none", "negative"],
)
def test_refuses_tensors_that_are_not_what_they_declare(written: Write, tensor: onnx.TensorProto) -> None:
    assert "a tensor two of" in refused(written(model(graph([DOUBLE], [tensor]))))


def test_refuses_absurd_sizes_of_values(written: Write) -> None:
    assert "a tensor x of" in refused(written(model(graph([DOUBLE], inputs=[value("x", [2**20, 1, 2**20, 1])]))))


@pytest.mark.parametrize("operator", ["ConstantOfShape", "Expand", "RandomNormal"])
def test_refuses_tensors_made_of_nothing(written: Write, operator: str) -> None:
    shape = numpy_helper.from_array(np.array([2**20, 2**20], np.int64), "shape")
    node = {
        "ConstantOfShape": helper.make_node(operator, ["shape"], ["y"], name="big"),
        "Expand": helper.make_node(operator, ["x", "shape"], ["y"], name="big"),
        "RandomNormal": helper.make_node(operator, [], ["y"], name="big", shape=[2**20, 2**20]),
    }[operator]
    assert "a tensor big of [1048576, 1048576]" in refused(written(model(graph([node], [TWO, shape]))))
    constant = helper.make_node("Constant", [], ["shape"], value=shape)
    assert "a tensor big of" in refused(written(model(graph([constant, node]))))


# Order.


def test_refuses_a_circle(written: Write) -> None:
    nodes = [
        helper.make_node("Mul", ["x", "b"], ["a"], name="one"),
        helper.make_node("Add", ["a", "x"], ["b"], name="two"),
    ]
    found = refused(written(model(graph([*nodes, helper.make_node("Identity", ["b"], ["y"])]))))
    assert "a circle in the graph" in found
    assert {"one", "two"} <= set(re.findall(r"\w+", found))


def test_refuses_a_circle_through_a_branch(written: Write) -> None:
    then = branch("then", helper.make_node("Mul", ["x", "z"], ["y_then"]))
    made = with_branches(then, branch("else", helper.make_node("Identity", ["x"], ["y_else"])))
    made.graph.node.append(helper.make_node("Identity", ["y"], ["z"], name="back"))
    assert "a circle" in refused(written(made))


def test_refuses_functions_that_call_themselves(written: Write) -> None:
    inner = function(calls="square", of="local.team")
    assert "a circle in the local functions" in refused(written(model(functions=[inner])))


@pytest.mark.parametrize("reads", ["nowhere", "Y"])
def test_refuses_what_nothing_produces(written: Write, reads: str) -> None:
    found = refused(written(model(graph([helper.make_node("Mul", ["x", reads], ["y"], name="m")]))))
    assert f"node m reads '{reads}', which nothing produces" in found


def test_refuses_an_output_that_nothing_produces(written: Write) -> None:
    assert "an output 'y'" in refused(written(model(graph([helper.make_node("Identity", ["x"], ["z"])]))))


def test_refuses_two_makers_of_one_value(written: Write) -> None:
    assert "two nodes" in refused(written(model(graph([DOUBLE, DOUBLE]))))


def test_refuses_graphs_nested_without_end(written: Write) -> None:
    inner = branch("deep", helper.make_node("Identity", ["x"], ["y_deep"]))
    for _ in range(25):
        inner = branch("deep", helper.make_node("If", ["on"], ["y_deep"], then_branch=inner))
    assert "nested more than 20 deep" in refused(written(with_branches(inner, inner)))


# The rest.


def test_refuses_settings_for_the_runtime(written: Write) -> None:
    made = model()
    helper.set_model_props(made, {"ort_config": '{"session_options": {"enable_profiling": 1}}'})
    assert "ort_config" in refused(written(made))


def test_refuses_a_graph_for_training(written: Write) -> None:
    made = model()
    made.training_info.add()
    assert "training" in refused(written(made))


def test_a_runtime_of_another_format_is_not_taken_in(written: Write) -> None:
    path = written(model())
    path.write_bytes(b"\x7a\x06abORTM" + path.read_bytes())
    assert "own format" in refused(path) or "Error parsing" in refused(path)


def test_without_the_package(written: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(model())
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingDependencyError, match=re.escape("pip install 'medgan-qa[onnx]'")):
        reader_of(path)[1](path, "cpu")


def test_nothing_is_written(written: Write) -> None:
    path = written(model())
    run(path)
    assert [p.name for p in path.parent.iterdir()] == ["model.onnx"]


WHOLE = model().SerializeToString()


@given(st.integers(0, len(WHOLE) - 1), st.integers(0, 255))
def test_a_changed_byte_ends_in_an_answer(tmp_path_factory: pytest.TempPathFactory, at: int, to: int) -> None:
    path = tmp_path_factory.mktemp("changed") / "model.onnx"
    path.write_bytes(WHOLE[:at] + bytes([to]) + WHOLE[at + 1 :])
    with contextlib.suppress(ModelError):
        assert read_graph(path).model.graph.node
