"""Values of a table [degradation], checked; every message names the key."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, get_args

from medgan_qa.metrics._separable import Axis, KSpace


def blur(value: Any) -> tuple[float, float]:
    both = value if isinstance(value, list | tuple) else [value, value]
    if len(both) != 2:
        raise ValueError(f"blur_sd must be a number or [rows, columns], got {value!r}")
    rows, columns = (number(v, "blur_sd", lambda v: 0 <= v <= 100, "from 0 to 100 pixels") for v in both)
    return rows, columns


def kspace(table: Any) -> KSpace:
    require_known(table, tuple(KSpace.__dataclass_fields__), "kspace")
    kept = number(table.get("kept", 0.5), "kspace.kept", lambda v: 0 < v <= 1, "above 0, at most 1")
    centre = number(table.get("centre", min(0.08, kept)), "kspace.centre", lambda v: 0 <= v <= kept, "from 0 to kept")
    seed, axis = table.get("seed", 1), table.get("axis", "rows")
    if type(seed) is not int or seed < 0:
        raise ValueError(f"kspace.seed must be a whole number of at least 0, got {seed!r}")
    if axis not in get_args(Axis):
        raise ValueError(f"kspace.axis must be one of {', '.join(get_args(Axis))}, got {axis!r}")
    return KSpace(kept, centre, seed, axis)


def box(table: Any) -> tuple[float, float, float, float]:
    require_known(table, ("box",), "missing")
    box = table.get("box")
    if not isinstance(box, list | tuple) or len(box) != 4:
        raise ValueError(f"missing.box must be [top, left, bottom, right], got {box!r}")
    top, left, bottom, right = (number(v, "missing.box", lambda v: 0 <= v <= 1, "shares from 0 to 1") for v in box)
    if not (top < bottom and left < right) or (top, left, bottom, right) == (0, 0, 1, 1):
        raise ValueError(f"missing.box must have top < bottom and left < right and leave something, got {box!r}")
    return top, left, bottom, right


def number(value: Any, name: str, valid: Callable[[float], bool], wanted: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or not valid(value):
        raise ValueError(f"{name} must be a number {wanted}, got {value!r}")
    return float(value)


def require_known(table: Any, known: tuple[str, ...], name: str) -> None:
    if not isinstance(table, Mapping):
        raise ValueError(f"{name} must be a table, got {table!r}")
    unknown = [key for key in table if key not in known]
    if unknown:
        raise ValueError(f"{name} has no key {unknown[0]}, only {', '.join(known)}")
