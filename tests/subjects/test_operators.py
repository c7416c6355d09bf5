"""The list of operators: what has to be in it, what must not, and that its tool makes it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import torchvision

from medgan_qa.subjects.operators import allowed, foreign_class

ROOT = Path(__file__).resolve().parents[2]

BEYOND = """
    aten::save aten::from_file aten::_print aten::set_ aten::set_data aten::resize_ aten::record_stream
    aten::manual_seed aten::seed aten::wait aten::sparse_coo_tensor aten::_sparse_coo_tensor_unsafe
    aten::fbgemm_pack_gemm_matrix_fp16 aten::Generator aten::to_here aten::_backward aten::pin_memory aten::hash
    prim::Print prim::PythonOp prim::CallPythonOp prim::IgnoredPythonOp prim::fork prim::rpc_async prim::profile
    prim::AddStatValue prim::TimePoint prim::grad prim::id prim::Interface prim::Load prim::FusionGroup
    image::read_file image::write_file profiler::_record_function_enter cuda::set_stream
    inductor::_reinterpret_tensor quantized::linear_prepack_legacy mkldnn_prepacked::conv2d_run _test::get_first
    onnx::Reshape c10d::send
"""
NEEDED = """
    aten::conv2d aten::_convolution aten::conv_transpose2d aten::batch_norm aten::instance_norm aten::group_norm
    aten::layer_norm aten::linear aten::matmul aten::einsum aten::lstm aten::gru aten::scaled_dot_product_attention
    aten::upsample_bilinear2d aten::__interpolate aten::grid_sampler aten::pad aten::reflection_pad2d
    aten::max_pool2d aten::randn aten::randn_like aten::normal_ aten::dropout aten::softmax aten::gelu
    aten::fft_fft2 aten::linalg_inv aten::quantize_per_tensor quantized::conv2d quantized::linear_dynamic
    torchvision::nms torchvision::deform_conv2d aten::warn aten::append aten::format prim::If prim::Loop
    prim::CallMethod prim::unchecked_cast prims::add quantized_decomposed::quantize_per_tensor
"""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_operator_list", ROOT / "tools" / "make_operator_list.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed() -> str:
    return (ROOT / "medgan_qa" / "subjects" / "operators.txt").read_text(encoding="utf-8")


def test_the_tool_makes_the_list(tool: ModuleType) -> None:
    text = listed()
    if (
        f"torch {torch.__version__.partition('+')[0]} and torchvision {torchvision.__version__.partition('+')[0]}"
        in text
    ):
        # Apart, because a process that has compiled a network knows more operators.
        code = "import runpy, sys; print(runpy.run_path(sys.argv[1])['text'](), end='')"
        tool_file = ROOT / "tools" / "make_operator_list.py"
        made = subprocess.run([sys.executable, "-c", code, tool_file], capture_output=True, text=True, check=True)
        assert made.stdout == text
    # Another version has other operators; what the rule leaves out there must not be in the list.
    left_out = {name for name, overloads in tool.schemas().items() if tool.refusal(name, overloads)}
    assert (allowed() & left_out) <= tool.INTERPRETER


def test_the_list_is_sorted_and_holds_each_once() -> None:
    names = [line for line in listed().splitlines() if not line.startswith("#")]
    assert names == sorted(set(names))
    assert len(names) > 1000


@pytest.mark.parametrize(
    "name",
    BEYOND.split(),
)
def test_what_reaches_beyond_tensors_is_not_in_it(name: str) -> None:
    assert name not in allowed()


@pytest.mark.parametrize(
    "name",
    NEEDED.split(),
)
def test_what_networks_are_made_of_is_in_it(name: str) -> None:
    assert name in allowed()


def test_no_operator_in_it_takes_a_file(tool: ModuleType) -> None:
    schemas = tool.schemas()
    texts = {a.name for name in allowed() for s in schemas.get(name, ()) for a in s.arguments if "str" in str(a.type)}
    assert not {name for name in texts if any(part in name for part in ("file", "path", "url", "dir"))}


def test_foreign_classes() -> None:
    assert foreign_class("__torch__.torch.classes.quantized.LinearPackedParamsBase") is None
    assert foreign_class("List[__torch__.torch.classes.rnn.CellParamsBase]") is None
    assert foreign_class("__torch__.torch.nn.Linear") is None
    other = "__torch__.torch.classes.profiler._RecordFunction"
    assert foreign_class(f"Optional[{other}]") == other
    assert foreign_class(other + ".__new__") == other + ".__new__"
