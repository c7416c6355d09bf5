"""Make `medgan_qa/subjects/operators.txt`, the operators that a model file may use.

Source: the schemas that torch and torchvision register. Run with both installed:

    python tools/make_operator_list.py

An operator is kept if all of its overloads take and return tensors, numbers, texts, devices and lists of them, if no
argument is a file, and if neither `EXCLUDED` nor the rule about leading underscores names it. Operators of `prim`
belong to the interpreter, have special forms without schemas, and are therefore listed one by one, as are the few
operators with a leading underscore that exporters write.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

OUT = Path(__file__).parent.parent / "medgan_qa" / "subjects" / "operators.txt"

NAMESPACES = ("aten", "prims", "quantized", "quantized_decomposed", "torchvision")

PLAIN = (
    "Tensor", "int", "float", "bool", "number", "complex", "str", "Device", "NoneType", "Any", "AnyEnumType", "QScheme",
    "t", "tVal", "t1", "t2",
    r"Optional\[Generator\]",  # always left empty: nothing in the list makes a generator
    r"__torch__\.torch\.classes\.(quantized\.(Linear|Conv2d|Conv3d)PackedParamsBase|rnn\.CellParamsBase)",
)  # fmt: skip
TYPE = re.compile(rf"({'|'.join(PLAIN)}|List|Optional|Tuple|Dict|\[|\]|, )+")
FILE_ARGUMENT = re.compile(r"file|path|url", re.IGNORECASE)

EXCLUDED = {
    "reads or writes files": r"save|from_file|load",
    "prints or measures": r"_?print|profile|record|_test|_foobar|_debug|hash_tensor|hash",
    "exchanges the memory behind a tensor, or leaves it unset": (
        r"set_?|set_data|shallow_copy_data_|_?resize\w*|\w*pin_memory|\w*storage_(?!offset)\w*"
    ),
    "sets the state of the process": r"manual_seed|seed|initial_seed|\w*_autocast_(?!dtype|enabled|cpu_enabled)\w*",
    "works for other processes": r"wait|to_here|local_value|confirmed_by_owner|(is_)?owner(_name)?|fetch\w*",
    "serves training only": (
        r"\w*backward\w*|grad|retain_grad|get_gradients|requires_grad_|_amp\w*|_foreach\w*"
        r"|_fused_(adam|adamw|sgd|adagrad)_?|glu_jvp"
    ),
    "builds layouts that trust their indices": (
        r"\w*(sparse|nested|jagged|mkldnn|_cs[rc]|_bs[rc]|coalesce)\w*|to_padded_tensor|(c?col|c?row|crow)_indices|indices"
        r"|hspmm|sspaddmm|smm|to_dense|dense_dim|embedding_(bag_)?(byte|\dbit)\w*"
    ),
    "is bound to one kind of hardware or hides a pointer in a tensor": (
        r"\w*(cudnn|miopen|cufft|mps|vulkan|nnpack|fbgemm|triton|cslt|int4mm)\w*|\w*_legacy|\w*overrideable"
    ),
}

INTERNAL_NAMES = """
    __and__ __contains__ __derive_index __getitem__ __iand__ __ilshift__ __interpolate __ior__ __irshift__ __is__
    __isnot__ __ixor__ __lshift__ __not__ __or__ __range_length __round_to_zero_floordiv __rshift__ __upsample
    __upsample_bilinear __upsample_nearest __xor__ _adaptive_avg_pool2d _adaptive_avg_pool3d _addmm_activation
    _aminmax _assert_async _assert_scalar _assert_tensor_metadata _batch_norm_impl_index _batch_norm_no_update
    _batch_norm_with_update _cast_Byte _cast_Char _cast_Double _cast_Float _cast_Half _cast_Int _cast_Long
    _cast_Short _cdist_forward _conj _conj_physical _convolution _convolution_mode _dim_arange _embedding_bag
    _embedding_bag_forward_only _empty_affine_quantized _empty_per_channel_affine_quantized _euclidean_dist _fft_c2c
    _fft_c2r _fft_r2c _functional_assert_async _functional_assert_scalar _fused_rms_norm _fused_sdp_choice
    _get_tracing_state _grid_sampler_2d_cpu_fallback _index_put_impl_ _infer_size _is_all_true _is_any_true
    _linalg_check_errors _linalg_det _linalg_eigh _linalg_slogdet _linalg_solve_ex _linalg_svd _list_to_tensor
    _local_scalar_dense _log_softmax _logcumsumexp _make_per_channel_quantized_tensor
    _make_per_tensor_quantized_tensor _native_batch_norm_legit _native_batch_norm_legit_functional
    _native_batch_norm_legit_no_training _native_multi_head_attention _neg_view _no_grad_fill_ _no_grad_normal_
    _no_grad_uniform_ _no_grad_zero_ _pack_padded_sequence _pad_circular _pad_enum _pad_packed_sequence
    _pdist_forward _prelu_kernel _reshape_alias _safe_softmax _scaled_dot_product_attention_math
    _scaled_dot_product_efficient_attention _scaled_dot_product_flash_attention
    _scaled_dot_product_flash_attention_for_cpu _set_item _shape_as_tensor _size_if_not_equal _softmax _stack
    _standard_gamma _tensor_to_list _thnn_fused_gru_cell _thnn_fused_lstm_cell _to_copy _transform_bias_rescale_qkv
    _transformer_encoder_layer_fwd _trilinear _unique _unique2 _unsafe_index _unsafe_index_put _unsafe_masked_index
    _unsafe_view _unwrap_optional _upsample_bicubic2d_aa _upsample_bilinear2d_aa _upsample_lanczos2d_aa
    _upsample_nearest_exact1d _upsample_nearest_exact2d _upsample_nearest_exact3d _weight_norm
    _weight_norm_interface
"""
INTERPRETER_NAMES = """
    CallFunction CallMethod Constant ConstantChunk CreateObject DictConstruct DictIndex Enter EnumName EnumValue
    Exit GetAttr If IfThenElse ListConstruct ListIndex ListUnpack Loop NumToTensor RaiseException SetAttr
    StringIndex TupleConstruct TupleIndex TupleSlice TupleUnpack Uninitialized abs data device dtype index is_cpu
    is_cuda is_meta is_mkldnn is_nested is_quantized is_sparse isinstance itemsize layout max min nbytes rangelist
    requires_grad shape tolist type unchecked_cast unchecked_unwrap_optional
"""
INTERNAL = frozenset(f"aten::{name}" for name in INTERNAL_NAMES.split())
INTERPRETER = frozenset(f"prim::{name}" for name in INTERPRETER_NAMES.split())
EXCEPTIONS = {
    "aten::warn": "interpolation that was scripted warns of its own defaults; the text ends on stderr",
    "aten::set_grad_enabled": "what `with torch.no_grad()` becomes; it holds for the calling thread only",
}


def schemas() -> dict[str, list[Any]]:
    """The schemas of all overloads, by operator."""
    import torch
    import torch.ao.quantization.fx._decomposed
    import torchvision.ops  # noqa: F401  # registers its operators

    found: dict[str, list[Any]] = defaultdict(list)
    for schema in torch._C._jit_get_all_schemas():
        found[schema.name].append(schema)
    return found


def refusal(name: str, overloads: list[Any]) -> str | None:
    """Why an operator is left out; None if it is kept."""
    if name in EXCEPTIONS:
        return None
    namespace, _, short = name.partition("::")
    if namespace not in NAMESPACES:
        return "belongs to no library that networks are made of"
    for reason, words in EXCLUDED.items():
        if re.fullmatch(words, short):
            return reason
    if short.startswith("_") and name not in INTERNAL:
        return "is internal to torch"
    for overload in overloads:
        if any("str" in str(a.type) and FILE_ARGUMENT.search(a.name) for a in overload.arguments):
            return "takes a file"
        for value in [*overload.arguments, *overload.returns]:
            if TYPE.fullmatch(str(value.type)) is None:
                return f"takes or returns {value.type}"
    return None


def kept() -> list[str]:
    """The list, sorted."""
    found = {name for name, overloads in schemas().items() if refusal(name, overloads) is None}
    return sorted(found | INTERPRETER)


def text() -> str:
    """The whole file."""
    import torch
    import torchvision

    versions = [module.__version__.partition("+")[0] for module in (torch, torchvision)]
    head = [
        "Operators that a TorchScript file or an exported program may use; a file with any other is refused.",
        "Made by tools/make_operator_list.py from the schemas of torch {} and torchvision {}.".format(*versions),
        f"Rule: operators of {', '.join(NAMESPACES)} whose overloads all take and",
        "return tensors, numbers, texts, devices and lists of them, none of them a file; no internal one but those",
        "that exporters write; none that",
        *(f"  {reason};" for reason in EXCLUDED),
        "of prim, the interpreter's own, those that the tool lists. By exception:",
        *(f"  {name}: {why}." for name, why in EXCEPTIONS.items()),
    ]
    return "".join(f"# {line}\n" for line in head) + "".join(f"{name}\n" for name in kept())


def main() -> None:
    """Write the file and say how many operators it names."""
    OUT.write_text(text(), encoding="utf-8")
    print(f"{OUT}: {len(kept())} operators")


if __name__ == "__main__":
    main()
