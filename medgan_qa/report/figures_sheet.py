"""Contact sheets: many small images in rows, group under group, as one picture each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from medgan_qa.errors import RecordError
from medgan_qa.record import Exhibit
from medgan_qa.report.bounds import MOST_IMAGES
from medgan_qa.report.figures_panels import exhibit_path
from medgan_qa.report.pictures import Array, finite, small
from medgan_qa.report.svg import INK, PAGE_WIDTH, drawing, text

_GAP = 2.0
_HEAD = 16.0


def sheet(exhibit: Exhibit, folder: Path) -> list[Markup]:
    """Draw a contact sheet, one drawing a group, of each no more than `bounds.MOST_IMAGES` images.

    Args:
        exhibit: of kind `sheet`; `data` holds `groups` (each with `label` and `count`), `columns` (images in a row) and
            `display`; `file` names an npz with `images` of shape (K, H, W), the groups one after the other.
        folder: the run's folder.

    Raises:
        RecordError: the file is missing, lies outside the folder, or does not hold the images that are listed.
    """
    images = _load(exhibit, folder)
    columns = int(exhibit.data["columns"])
    display = exhibit.data.get("display") or [0.0, 1.0]
    drawn, first = [], 0
    for group in exhibit.data["groups"]:
        chosen = images[first : first + int(group["count"])]
        first += int(group["count"])
        if len(chosen):
            drawn.append(_group(chosen[:MOST_IMAGES], str(group["label"]), columns, (display[0], display[1])))
    return drawn


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


def _group(images: Array, label: str, columns: int, display: tuple[float, float]) -> Markup:
    step = (PAGE_WIDTH + _GAP) / columns
    side = step - _GAP
    height = side * images.shape[1] / images.shape[2]
    rows = math.ceil(len(images) / columns)
    parts: list[Markup] = [text(0, 10, label, fill=INK, weight=600)]
    for index, image in enumerate(images):
        x, y = step * (index % columns), _HEAD + (height + _GAP) * (index // columns)
        parts.append(small(finite(image), display, (x, y, side, height)))
    return drawing(PAGE_WIDTH, _HEAD + rows * (height + _GAP), parts, f"{label}: {len(images)} images")
