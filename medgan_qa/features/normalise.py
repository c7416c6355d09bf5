"""Features brought to comparable units: by the real reference alone, with a floor where it does not vary.

A distance between feature vectors adds up columns, so columns of different units have to be brought to one. The scale
is that of the real reference: a scale that generated images had a part in would hide what they do wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

RELATIVE_FLOOR = 1e-3
"""Least scale of a feature, as a share of its root mean square over the reference."""
LIMIT = 10.0
"""Largest standardised value of a feature that was scaled by the floor."""
SHOWN = 5


@dataclass(frozen=True, eq=False)
class Standardiser:
    """(value - mean) / scale for every feature, with the reference's mean and scale.

    The scale is the reference's standard deviation (ddof 1). A feature that is constant in the reference, or nearly so,
    has none to be measured by: its scale is `RELATIVE_FLOOR` times its root mean square over the reference
    (`RELATIVE_FLOOR` itself where it is zero throughout), and its standardised values are held within `LIMIT`. So it is
    not dropped, generated images that depart from the constant show it, and it cannot outweigh all other features. In
    the reference its values are between -1 and 1 or nearly so; no value of any other feature is held.
    """

    mean: Float
    """(D,)"""
    scale: Float
    """(D,), positive"""
    is_floored: NDArray[np.bool_]
    """(D,), features whose scale is the floor"""
    names: tuple[str, ...]
    """(D,)"""

    @classmethod
    def fit(cls, reference: Any, names: Sequence[str] | None = None) -> Standardiser:
        """Mean and scale of the real reference.

        Args:
            reference: (N, D) features of real images, N >= 2.
            names: of the features, for messages; their numbers where None.

        Raises:
            ValueError: another shape, fewer than two rows, another number of names, or NaN or infinity (rows and
                features are named).
        """
        features = _two_dimensional(reference)
        n, columns = features.shape
        if n < 2 or columns == 0:
            raise ValueError(f"a scale needs at least two rows of features, got shape {features.shape}")
        if names is not None and len(names) != columns:
            raise ValueError(f"{columns} features but {len(names)} names")
        named = tuple(names) if names is not None else tuple(str(k) for k in range(columns))
        _require_finite(features, named)
        mean, deviation = features.mean(axis=0), features.std(axis=0, ddof=1)
        magnitude = np.sqrt((features**2).mean(axis=0))
        floor = RELATIVE_FLOOR * np.where(magnitude > 0, magnitude, 1.0)
        return cls(mean, np.maximum(deviation, floor), deviation < floor, named)

    @property
    def floored(self) -> tuple[str, ...]:
        """Names of the features whose scale is the floor."""
        return tuple(self.names[k] for k in np.flatnonzero(self.is_floored))

    def apply(self, features: Any) -> Float:
        """Standardised features (N, D), float64.

        Raises:
            ValueError: another number of features, or NaN or infinity (rows and features are named).
        """
        values = _two_dimensional(features)
        if values.shape[1] != len(self.names):
            raise ValueError(f"fitted to {len(self.names)} features, got {values.shape[1]}")
        _require_finite(values, self.names)
        standardised = (values - self.mean) / self.scale
        return np.where(self.is_floored, standardised.clip(-LIMIT, LIMIT), standardised)


def _two_dimensional(features: Any) -> Float:
    array = np.asarray(features, dtype=np.float64)
    if array.ndim != 2:
        raise ValueError(f"features must be (N, D), got shape {array.shape}")
    return array


def _require_finite(features: Float, names: tuple[str, ...]) -> None:
    bad = ~np.isfinite(features)
    if not bad.any():
        return
    rows, columns = np.flatnonzero(bad.any(axis=1)), np.flatnonzero(bad.any(axis=0))
    raise ValueError(
        f"NaN or infinity in features {_some([names[k] for k in columns])} of rows {_some([str(k) for k in rows])}; "
        "no row or feature is dropped, so nothing is computed from them"
    )


def _some(items: list[str]) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(items[:SHOWN]) + more
