"""Image panels: source, output, reference and their difference side by side, with outlines of lesions and readings."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from medgan_qa.errors import RecordError
from medgan_qa.record import Exhibit
from medgan_qa.report import numbers
from medgan_qa.report.limits import MOST_PANELS
from medgan_qa.report.pictures import (
    LESION,
    READING,
    Array,
    colour_bar,
    coloured,
    finite,
    grey,
    outline,
    picture,
    swatch,
)

_ORDER = ("source", "output", "reference")
_TITLES = {"source": "Source", "output": "Output", "reference": "Reference"}
_SHOWN = {"source": "source image", "output": "output of the model", "reference": "real reference image"}
_RULES = {"worst": "worst by rule", "random": "drawn at random"}


class Column(NamedTuple):
    """Heading of one column of images."""

    title: str
    role: str


class PanelRow(NamedTuple):
    """One case: its words and its images."""

    label: str
    case_id: str
    patient: str
    rule: str
    images: list[Markup]


class Panels(NamedTuple):
    """A whole panel exhibit, ready for the page."""

    columns: list[Column]
    rows: list[PanelRow]
    key: list[tuple[Markup, str]]
    scale: Markup | None


def panels(exhibit: Exhibit, folder: Path) -> Panels:
    """Draw a panel exhibit.

    Args:
        exhibit: of kind `panels`; `data` holds `cases`, `columns` and `display`, and `file` names an npz with `output`
            and optionally `source` and `reference` of shape (K, H, W) in unit range, `lesion` and `reading` of the same
            shape and type bool.
        folder: the run's folder.

    Returns:
        One row a case, in the order of `cases`; no more than `limits.MOST_PANELS`.

    Raises:
        RecordError: the file is missing, lies outside the folder, or does not hold one image a case.
    """
    cases = exhibit.data["cases"]
    arrays = _load(exhibit, folder, len(cases))
    roles = [role for role in _ORDER if role in arrays]
    reach = difference_range(arrays)
    names: Mapping[str, str] = exhibit.data.get("columns", {})
    columns = [Column(names.get(role, _TITLES[role]), role) for role in roles]
    if reach is not None:
        columns.append(Column("Difference", f"output {numbers.MINUS} reference"))
    display = exhibit.data.get("display") or [0.0, 1.0]
    said = {role: names.get(role, _SHOWN[role]) for role in roles}
    rows = [
        _row(case, {name: array[index] for name, array in arrays.items()}, said, (display[0], display[1]), reach)
        for index, case in enumerate(cases[:MOST_PANELS])
    ]
    return Panels(columns, rows, _key(arrays), None if reach is None else colour_bar(reach))


def _load(exhibit: Exhibit, folder: Path, count: int) -> dict[str, Array]:
    path = exhibit_path(exhibit, folder)
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: np.asarray(stored[name]) for name in stored.files if name in (*_ORDER, "lesion", "reading")}
    except (OSError, ValueError) as error:
        raise RecordError(
            f"The images of exhibit {exhibit.id} cannot be read",
            expected="an npz file of plain arrays",
            found=str(error) or type(error).__name__,
            where=path,
            todo="run the audit again, or restore the file from the run's folder",
        ) from error
    wrong = {name: array.shape for name, array in arrays.items() if array.ndim != 3 or array.shape[0] != count}
    if wrong or "output" not in arrays:
        raise RecordError(
            f"The images of exhibit {exhibit.id} do not fit its list of cases",
            expected=f"output, and every array of shape ({count}, H, W)",
            found=str(wrong or sorted(arrays)),
            where=path,
            todo="run the audit again, or restore the file from the run's folder",
        )
    return arrays


def exhibit_path(exhibit: Exhibit, folder: Path) -> Path:
    """Where an exhibit's arrays lie; a Record may name files of its own folder only.

    Raises:
        RecordError: the exhibit names no file, or one outside the folder.
    """
    path = (folder / (exhibit.file or "")).resolve()
    if not exhibit.file or not path.is_relative_to(folder.resolve()):
        raise RecordError(
            f"Exhibit {exhibit.id} names no file of the run's folder",
            expected="a path relative to the folder",
            found=repr(exhibit.file),
            where=folder / "record.json",
            todo="run the audit again",
        )
    return path


def difference_range(arrays: Mapping[str, Array]) -> float | None:
    """Half the range of the difference's colours: its largest size over all cases, rounded up to a tenth, at most 1.

    One range serves all rows of an exhibit, so that they can be compared. None where no reference of the same shape is.
    """
    if "reference" not in arrays or arrays["reference"].shape != arrays["output"].shape:
        return None
    largest = float(np.abs(finite(arrays["output"]) - finite(arrays["reference"])).max(initial=0.0))
    return min(1.0, max(0.1, math.ceil(round(10 * largest, 6)) / 10))


def _row(
    case: Mapping[str, Any],
    images: Mapping[str, Array],
    said: Mapping[str, str],
    display: tuple[float, float],
    reach: float | None,
) -> PanelRow:
    label, case_id = str(case.get("label", "")), str(case.get("case_id", ""))
    name = f"{case_id}, {label}" if label else case_id
    drawn = [_image(images, role, display, f"{name}: {words}") for role, words in said.items()]
    if reach is not None:
        difference = finite(images["output"]) - finite(images["reference"])
        drawn.append(picture(coloured(difference, reach), [], f"{name}: difference of output and reference"))
    rule = str(case.get("rule", ""))
    return PanelRow(label, case_id, _patient(str(case.get("patient_id") or ""), case_id), _RULES.get(rule, rule), drawn)


def _patient(patient_id: str, case_id: str) -> str:
    """The patient in words; nothing where the case is named after the patient."""
    if patient_id in ("", case_id):
        return ""
    return patient_id if patient_id.lower().startswith("patient") else f"patient {patient_id}"


def _image(images: Mapping[str, Array], role: str, display: tuple[float, float], label: str) -> Markup:
    outlines: list[Markup] = []
    if "lesion" in images:
        outlines += outline(images["lesion"], LESION)
    if role == "output" and "reading" in images:
        outlines += outline(images["reading"], READING)
    return picture(grey(images[role], display), outlines, label)


def _key(arrays: Mapping[str, Array]) -> list[tuple[Markup, str]]:
    meanings = {"lesion": (LESION, "annotated lesion"), "reading": (READING, "marked by the detector in the output")}
    return [(swatch(colour), words) for name, (colour, words) in meanings.items() if name in arrays]
