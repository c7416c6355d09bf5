"""A dataset on disk: a TOML file that describes it, beside a table (CSV or Parquet) with one row a case.

Paths are relative to the TOML file. Table cells are text, stripped of surrounding blanks; an empty cell is one that
was not filled in. Everything wrong with a description or a table is reported in one error, with rows counted as a
spreadsheet counts them (the header is row 1).
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from medgan_qa.cohorts._problems import collected
from medgan_qa.cohorts.cohort import PARTITIONS, Case, CaseImages, Inventory, Partition, patients, subset, to_unit
from medgan_qa.cohorts.description import Description, locate, read_description
from medgan_qa.cohorts.readers import Spacing, read_image, read_mask, read_spacing
from medgan_qa.cohorts.table import FILE_COLUMNS, Row, read_cases, require_files
from medgan_qa.digests import digest
from medgan_qa.errors import DatasetError

_RANGE_TOLERANCE = 1e-3  # of the range; what resampling and rounding may overshoot
_SPACING_TOLERANCE = 0.01  # of the spacing


def read_dataset(path: Path) -> FileCohort:
    """Read a dataset and check its description, its table and that every listed file is there.

    Pixels are not read yet; `FileCohort.require_readable` does that.

    Args:
        path: the TOML file, or a folder with exactly one TOML file of this schema.

    Raises:
        DatasetError: with everything that is wrong with the description, else with the table, else with missing files.
    """
    description = read_description(locate(path))
    cases, rows = read_cases(description.table)
    require_files(description, rows)
    if description.value_range is None:
        _refuse_without_range(description, rows[0])
    return FileCohort(description, description.value_range, cases, rows)


class FileCohort:
    """A cohort whose images are files. Made by `read_dataset`."""

    phantom = False

    def __init__(
        self, description: Description, value_range: tuple[float, float], cases: Sequence[Case], rows: Sequence[Row]
    ) -> None:
        """Take what `read_dataset` has checked; `rows` hold the file names of `cases`."""
        self.description = description
        self.name = description.name
        self.value_range = value_range
        self.source_domain = description.source_domain
        self.target_domain = description.target_domain
        self.lesion_in = description.lesion_in
        self.cases = tuple(cases)
        self._rows = {row.cells["case_id"]: row for row in rows}

    def load(self, case: Case) -> CaseImages:
        """Read the pixels of one case.

        Raises:
            DatasetError: a file cannot be read, its numbers lie outside `value_range` by more than 0.1 % of the range,
                its grid differs from the image's, or its spacing differs from the declared one by more than 1 %.
        """
        path = self._path(case, "image")
        if path is None:
            raise ValueError(f"no case {case.case_id!r} in {self.name}")
        image, spacing = self._read_unit(path, self.description.spacing_mm)
        target, grid = self._target(case, image, spacing, path)
        mask = self._lesion_mask(case, grid, path)
        return CaseImages(image, target, mask, spacing or (1.0, 1.0), self.description.degrade)

    def _target(
        self, case: Case, image: NDArray[np.float32], spacing: Spacing | None, image_path: Path
    ) -> tuple[NDArray[np.float32] | None, tuple[int, ...]]:
        """The reference image, and the grid that the mask lies on."""
        path = self._path(case, "target")
        if self.description.degrade:
            if path is not None:
                _refuse_target(path, self.description.path)
            return image, image.shape[1:]
        rows, columns = self.description.scale
        grid = (rows * image.shape[1], columns * image.shape[2])
        if path is None:
            return None, grid
        finer = None if spacing is None else (spacing[0] / rows, spacing[1] / columns)
        target, target_spacing = self._read_unit(path, finer)
        _require_grid(target.shape[1:], grid, path, image_path)
        _require_spacing(target_spacing, finer, path)
        return target, grid

    def check_all(self, partition: Partition | None = "test") -> list[DatasetError]:
        """Load every case of `partition` (None: of all) and return what went wrong, one error a case."""
        errors = []
        for case in self.cases if partition is None else subset(self.cases, partition):
            try:
                self.load(case)
            except DatasetError as error:
                errors.append(error)
        return errors

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Load every case of `partition` (None: of all) once, so that nothing breaks in the middle of a run.

        Raises:
            DatasetError: one error that counts the cases that cannot be loaded and shows the first ten.
        """
        errors = self.check_all(partition)
        if errors:
            raise collected(
                f"{len(errors)} case(s) of dataset {self.name!r} cannot be loaded",
                [f"{error.where}: expected {error.expected}; found {error.found}" for error in errors],
                expected="files that can be read and agree with each other",
                where=self.description.table,
                todo="Repair these files, or take the cases out of the table.",
            )

    def digest(self) -> str:
        """SHA-256 (hex) of the description, the table and every byte of the files, whatever the order of the rows."""
        return self._digest

    def inventory(self) -> Inventory:
        """Digests of the description, of every row's filled-in cells, and of every file's bytes.

        Raises:
            DatasetError: a file cannot be read.
        """
        rows = {case_id: digest(row.cells) for case_id, row in sorted(self._rows.items())}
        return Inventory(digest(self.description.content), rows, dict(self._files))

    def describe(self) -> dict[str, Any]:
        """The summary for the Record. Reads every mask and file header once.

        Raises:
            DatasetError: a mask or a header cannot be read.
        """
        return {
            "name": self.name,
            "file": str(self.description.path),
            "digest": self.digest(),
            "phantom": self.phantom,
            "window" if self.description.windowed else "value_range": list(self.value_range),
            "spacing_mm": self._spacing_summary,
            "source_domain": self.source_domain,
            "target_domain": self.target_domain,
            "lesion_in": list(self.lesion_in),
            "cases": len(self.cases),
            "patients": len(patients(self.cases)),
            "partitions": {partition: self._counts(subset(self.cases, partition)) for partition in PARTITIONS},
            "sites": dict(sorted(Counter(case.site or "not given" for case in self.cases).items())),
            "attributes": sorted({name for case in self.cases for name in case.attributes}),
            "patients_in_several_partitions": self._shared_patients(),
        }

    def _path(self, case: Case, column: str) -> Path | None:
        row = self._rows.get(case.case_id)
        name = None if row is None else row.cells.get(column)
        return None if name is None else self.description.path.parent / name

    def _read_unit(self, path: Path, declared: Spacing | None) -> tuple[NDArray[np.float32], Spacing | None]:
        stored, spacing = read_image(path)
        low, high = self.value_range
        if self.description.windowed:
            stored = np.clip(stored, low, high)
        else:
            _require_in_range(stored, self.value_range, path)
        _require_spacing(spacing, declared, path)
        return to_unit(stored, self.value_range), spacing or declared

    def _lesion_mask(self, case: Case, grid: tuple[int, ...], image_path: Path) -> NDArray[np.bool_] | None:
        path = self._path(case, "lesion_mask")
        if path is None:
            return np.zeros(grid, np.bool_) if case.annotated else None
        mask = read_mask(path)
        _require_grid(mask.shape, grid, path, image_path)
        return mask

    @cached_property
    def _digest(self) -> str:
        content = {
            "description": self.description.content,
            "rows": [row.cells for _, row in sorted(self._rows.items())],
            "files": self._files,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _files(self) -> dict[str, str]:
        folder = self.description.path.parent
        names = {row.cells[column] for row in self._rows.values() for column in FILE_COLUMNS if column in row.cells}
        return {name: _file_digest(folder / name) for name in sorted(names)}

    @cached_property
    def _with_lesions(self) -> frozenset[str]:
        # A mask file may be empty, so that its presence alone says nothing about a lesion.
        masks = ((case, self._path(case, "lesion_mask")) for case in self.cases)
        return frozenset(case.case_id for case, path in masks if path is not None and read_mask(path).any())

    @cached_property
    def _spacing_summary(self) -> dict[str, Any]:
        declared = self.description.spacing_mm
        paths = (self._path(case, "image") for case in self.cases)
        carried = [read_spacing(path) for path in paths if path is not None]
        used = np.array([spacing or declared or (1.0, 1.0) for spacing in carried])
        rest = "not given: pixels counted as 1 mm" if declared is None else "from the dataset file"
        without = carried.count(None)
        note = "from the image files" + (f"; in {without} case(s) {rest}" if without else "")
        return {
            "low": used.min(axis=0).tolist(),
            "high": used.max(axis=0).tolist(),
            "note": rest if without == len(carried) else note,
        }

    def _counts(self, cases: Sequence[Case]) -> dict[str, int]:
        lesions = sum(case.case_id in self._with_lesions for case in cases)
        annotated = sum(case.annotated for case in cases)
        return {
            "cases": len(cases),
            "patients": len(patients(cases)),
            "with_lesions": lesions,
            "annotated_lesion_free": annotated - lesions,
            "unannotated": len(cases) - annotated,
            "with_target": sum(case.has_target for case in cases),
            "synthetic": sum(case.synthetic for case in cases),
        }

    def _shared_patients(self) -> int:
        partitions = defaultdict(set)
        for case in self.cases:
            partitions[case.patient_id].add(case.partition)
        return sum(len(found) > 1 for found in partitions.values())


def _refuse_without_range(description: Description, row: Row) -> NoReturn:
    path = description.path.parent / row.cells["image"]
    image, _ = read_image(path)
    raise DatasetError(
        f"{description.path.name} does not say what the stored numbers span",
        expected="value_range = [low, high], or window = [low, high] to clip to",
        found=f"neither; the first image ({path.name}) spans {image.min():g} to {image.max():g}",
        where=description.path,
        todo="Add the range that the format or the scanner defines, not the extremes of one image.",
    )


def _require_in_range(stored: NDArray[np.float32], value_range: tuple[float, float], path: Path) -> None:
    low, high = value_range
    slack = _RANGE_TOLERANCE * (high - low)
    least, most = float(stored.min()), float(stored.max())
    if least < low - slack or most > high + slack:
        raise DatasetError(
            f"{path.name} holds numbers outside value_range",
            expected=f"{low:g} to {high:g}",
            found=f"{least:g} to {most:g}",
            where=path,
            todo="Correct value_range in the dataset file, or give window instead if numbers shall be clipped.",
        )


def _refuse_target(path: Path, description: Path) -> NoReturn:
    raise DatasetError(
        f"{path.name} is the target of a case whose input is made from its image",
        expected="no target where the dataset says degrade = true: the image itself is the truth",
        found="a target",
        where=description,
        todo="Leave the column target empty, or take degrade out and give low-resolution images with scale.",
    )


def _require_grid(found: tuple[int, ...], expected: tuple[int, ...], path: Path, image_path: Path) -> None:
    if found != expected:
        raise DatasetError(
            f"{path.name} is not on the grid of {image_path.name}",
            expected=f"{expected[0]} rows x {expected[1]} columns",
            found=f"{found[0]} rows x {found[1]} columns",
            where=path,
            todo="Resample it to the image's grid, or correct the row.",
        )


def _require_spacing(found: Spacing | None, expected: Spacing | None, path: Path) -> None:
    if found is None or expected is None:
        return
    if any(abs(f - e) > _SPACING_TOLERANCE * e for f, e in zip(found, expected, strict=True)):
        raise DatasetError(
            f"{path.name} carries another pixel spacing than the dataset file or its image",
            expected=f"{expected[0]:g} x {expected[1]:g} mm (dy x dx), within 1 %",
            found=f"{found[0]:g} x {found[1]:g} mm",
            where=path,
            todo="Correct spacing_mm in the dataset file, or the header of this file.",
        )


def _file_digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise DatasetError(
            f"{path.name} cannot be read",
            expected="the file that the table lists",
            found=str(error),
            where=path,
            todo="Put the file in place; it must stay there during a run.",
        ) from error
