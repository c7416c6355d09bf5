"""The operators that a model file may use, as `operators.txt` lists them."""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

CLASSES = frozenset(
    f"__torch__.torch.classes.{name}"
    for name in (
        "quantized.LinearPackedParamsBase",
        "quantized.Conv2dPackedParamsBase",
        "quantized.Conv3dPackedParamsBase",
        "rnn.CellParamsBase",
    )
)
"""Classes of torch's own that a quantised network keeps its weights in; every other class of C++ is refused."""
NATIVE_CLASS = re.compile(r"__torch__\.torch\.classes(?:\.\w+)*")


@cache
def allowed() -> frozenset[str]:
    """The names in the list, e.g. `aten::conv2d`; an overload belongs to its operator."""
    text = files("medgan_qa.subjects").joinpath("operators.txt").read_text(encoding="utf-8")
    return frozenset(line for line in text.splitlines() if line and not line.startswith("#"))


def foreign_class(text: str) -> str | None:
    """A class of C++ that a type or a name mentions and that no network needs; None if there is none."""
    return next((name for name in NATIVE_CLASS.findall(text) if name not in CLASSES), None)
