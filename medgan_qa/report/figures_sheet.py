"""Contact sheets: many small images in rows, group under group, small groups side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from medgan_qa.errors import RecordError
from medgan_qa.record import Exhibit
from medgan_qa.report.figures_panels import exhibit_path
from medgan_qa.report.limits import MOST_IMAGES
from medgan_qa.report.pictures import Array, finite, small
from medgan_qa.report.svg import INK, PAGE_WIDTH, drawing, text
from medgan_qa.report.typography import text_width

_GAP = 2.0
_HEAD = 16.0
_LABEL_SIZE = 10.0
_LEAST_COLUMNS = 8
"""Images in a row of several groups: at 20 mm each shows its structures, and pairs of groups stay in sight."""


class _Group(NamedTuple):
    """The images of one group that are drawn."""

    label: str
    images: Array


def sheet(exhibit: Exhibit, folder: Path) -> list[Markup]:
    """Draw a contact sheet, one drawing a group or a row of small groups; of each no more than `limits.MOST_IMAGES`.

    Args:
        exhibit: of kind `sheet`; `data` holds `groups` (each with `label` and `count`), `columns` (images in a row) and
            `display`; `file` names an npz with `images` of shape (K, H, W), the groups one after the other.
        folder: the run's folder.

    Raises:
        RecordError: the file is missing, lies outside the folder, or does not hold the images that are listed.
    """
    images = _load(exhibit, folder)
    display = exhibit.data.get("display") or [0.0, 1.0]
    groups, first = [], 0
    for group in exhibit.data["groups"]:
        chosen = images[first : first + int(group["count"])]
        first += int(group["count"])
        if len(chosen):
            groups.append(_Group(str(group["label"]), chosen[:MOST_IMAGES]))
    columns = max(int(exhibit.data["columns"]), min(_LEAST_COLUMNS, sum(len(group.images) for group in groups)))
    return [_row(row, columns, (display[0], display[1])) for row in _packed(groups, columns)]


def _packed(groups: Sequence[_Group], columns: int) -> list[list[_Group]]:
    """Groups in their order, as many in a row as it has columns, if each has room for its label."""
    rows: list[list[_Group]] = []
    for group in groups:
        beside = rows and _fits(group, columns) and all(_fits(one, columns) for one in rows[-1])
        if beside and sum(len(one.images) for one in [*rows[-1], group]) <= columns:
            rows[-1].append(group)
        else:
            rows.append([group])
    return rows


def _fits(group: _Group, columns: int) -> bool:
    return text_width(group.label, _LABEL_SIZE, "semibold") <= len(group.images) * (PAGE_WIDTH + _GAP) / columns


def _load(exhibit: Exhibit, folder: Path) -> Array:
    path = exhibit_path(exhibit, folder)
    listed = sum(int(group["count"]) for group in exhibit.data["groups"])
    found: Any = None
    try:
        with np.load(path, allow_pickle=False) as stored:
            images = np.asarray(stored["images"])
        if images.ndim == 3 and len(images) == listed:
            return images
        found = images.shape
    except (OSError, ValueError, KeyError) as error:
        found = str(error) or type(error).__name__
    raise RecordError(
        f"The images of exhibit {exhibit.id} cannot be read",
        expected=f"an npz file with images of shape ({listed}, H, W)",
        found=str(found),
        where=path,
        todo="run the audit again, or restore the file from the run's folder",
    )


def _row(groups: Sequence[_Group], columns: int, display: tuple[float, float]) -> Markup:
    step = (PAGE_WIDTH + _GAP) / columns
    parts: list[Markup] = []
    place, bottom = 0, 0.0
    for group in groups:
        drawn, height = _group(group, step * place, columns - place, step, display)
        parts += drawn
        place += len(group.images)
        bottom = max(bottom, height)
    words = "; ".join(f"{group.label}: {len(group.images)} images" for group in groups)
    return drawing(PAGE_WIDTH, bottom, parts, words)


def _group(
    group: _Group, left: float, columns: int, step: float, display: tuple[float, float]
) -> tuple[list[Markup], float]:
    """The label and images of a group from a place on, and how far down they reach."""
    side = step - _GAP
    height = side * group.images.shape[1] / group.images.shape[2]
    parts: list[Markup] = [text(left, 10, group.label, fill=INK, weight=600, size=_LABEL_SIZE)]
    for index, image in enumerate(group.images):
        x, y = left + step * (index % columns), _HEAD + (height + _GAP) * (index // columns)
        parts.append(small(finite(image), display, (x, y, side, height)))
    return parts, _HEAD + math.ceil(len(group.images) / columns) * (height + _GAP)
