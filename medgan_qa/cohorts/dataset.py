"""A dataset on disk: a TOML file that describes it, beside a table (CSV or Parquet) with one row a case or a volume.

Paths are relative to the TOML file, and lead nowhere outside its folder. Table cells are text, stripped of surrounding
blanks; an empty cell is one that was not filled in. Everything wrong with a description or a table is reported in one
error, with rows counted as a spreadsheet counts them (the header is row 1). Errors about files name case, row and
column and never a path, which may hold a patient's name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import Future
from functools import cached_property
from pathlib import Path
from typing import Any, NoReturn

from medgan_qa.cohorts._about import Told
from medgan_qa.cohorts._case_files import CaseFiles
from medgan_qa.cohorts._exclusion import excluded_cases, require_few
from medgan_qa.cohorts._listed import ListedFiles, require_files
from medgan_qa.cohorts._summary import summary
from medgan_qa.cohorts.cohort import Case, CaseImages, ExcludedCase, Inventory, Partition, subset
from medgan_qa.cohorts.description import Description, locate, read_description
from medgan_qa.cohorts.prefetch import outcomes
from medgan_qa.cohorts.pseudonyms import protected
from medgan_qa.cohorts.readers import ArrayCache, Spacing, Volume, open_volume, read_image
from medgan_qa.cohorts.slices import Expanded, Source, expanded
from medgan_qa.cohorts.table import Row, read_cases
from medgan_qa.digests import digest
from medgan_qa.errors import DatasetError


def read_dataset(path: Path) -> FileCohort:
    """Read a dataset and check its description, its table and that every listed file is there.

    Where volumes are taken apart into slices, the header of every image is read, once. Pixels are not read yet;
    `FileCohort.require_readable` does that.

    Args:
        path: the TOML file, or a folder with exactly one TOML file of this schema.

    Raises:
        DatasetError: with everything that is wrong with the description, else with the table, else with the files.
        MissingDependencyError: a library that a format needs is not installed.
    """
    description = read_description(locate(path))
    cases, rows = read_cases(description.table)
    require_files(description, rows)
    if description.value_range is None:
        _refuse_without_range(description, cases[0], rows[0])
    return FileCohort(description, description.value_range, cases, rows)


class FileCohort:
    """A cohort whose images are files. Made by `read_dataset`; several threads may load from it."""

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
        cache = ArrayCache()
        slices = expanded(description, cases, rows, cache)
        self._rows = {case.case_id: row for case, row in zip(cases, rows, strict=True)}
        self._files = CaseFiles(description, value_range, cache, slices.volumes)
        self._broken = slices.broken
        self.cases, self._sources = _named(slices, description)
        self.excluded: tuple[ExcludedCase, ...] = ()
        self._listed = self.cases

    def load(self, case: Case) -> CaseImages:
        """Read the pixels of one case.

        Raises:
            DatasetError: a file cannot be read, its numbers lie outside `value_range` by more than 0.1 % of the range,
                its grid differs from the image's, its spacing differs from the declared one by more than 1 %, or a
                volume lies elsewhere in the patient than that of the image.
            MissingDependencyError: a library that a format needs is not installed.
        """
        source = self._sources.get(case.case_id)
        if source is None:
            raise ValueError(f"no case {case.case_id!r} in {self.name}")
        if source.row.number in self._broken:
            raise self._broken[source.row.number]
        return self._files.load(source, case.case_id, case.annotated)

    def spacing(self, case: Case) -> Spacing | None:
        """The pixel spacing (dy, dx) in mm that a case's image carries, None where it carries none.

        Raises:
            DatasetError: its header cannot be read.
        """
        return self._files.spacing(self._sources[case.case_id], case.case_id)

    def has_lesion(self, case: Case) -> bool:
        """Whether a case's mask marks anything; a mask that was not loaded before is read.

        Raises:
            DatasetError: it cannot be read.
        """
        return self._files.has_lesion(self._sources[case.case_id], case.case_id)

    def volume_of(self, case: Case) -> Volume | None:
        """The volume that a case's image is a slice of; None for a file of one image."""
        return self._files.volume_of(self._sources[case.case_id])

    def file_digest(self, case: Case) -> str:
        """SHA-256 of the file that a case's image is read from; of a folder with several, of all their digests.

        Raises:
            DatasetError: a file cannot be read.
        """
        cell = self._sources[case.case_id].row.cells["image"]
        found = list(self._listed_files.of(cell).values())
        return found[0] if len(found) == 1 else digest(found)

    def check_all(self, partition: Partition | None = "test") -> list[DatasetError]:
        """Load every case of `partition` (None: of all) and return what went wrong, one error a case."""
        return list(self._unreadable(partition).values())

    def require_readable(self, partition: Partition | None = "test") -> None:
        """Load every case of `partition` (None: of all) once, so that nothing breaks in the middle of a run.

        Where the dataset file says `exclude_unreadable`, cases that cannot be loaded go from `cases` to `excluded`, up
        to that share of each partition. The slices of a volume count as parts of their row, so that a volume that
        cannot be opened weighs as much as one that can.

        Raises:
            DatasetError: one error that counts the cases that cannot be loaded and shows the first ten.
            MissingDependencyError: a library that a format needs is not installed.
        """
        self._leave_out(self._unreadable(partition))

    def digest(self) -> str:
        """SHA-256 (hex) of the description, the table and every byte of the files, whatever the order of the rows."""
        return self._digest

    def inventory(self) -> Inventory:
        """Digests of the description, of every row's filled-in cells, and of every file's bytes.

        Rows are named as outputs name them, and files by their row and column, with a number where they are several.

        Raises:
            DatasetError: a file cannot be read.
        """
        names = self._row_names
        rows = {names[row.number]: digest(row.cells) for row in self._rows.values()}
        files = self._listed_files.by_place()
        return Inventory(digest(self.description.content), dict(sorted(rows.items())), files)

    def describe(self) -> dict[str, Any]:
        """The summary for the Record. Reads masks and file headers that no case was loaded from before.

        Raises:
            DatasetError: a mask or a header cannot be read, and no rule allows to leave its case out.
        """
        self._leave_out(self._undescribed())
        return summary(self)

    def notes(self) -> list[str]:
        """What had to be assumed about volumes."""
        return self._files.notes()

    def _unreadable(self, partition: Partition | None) -> dict[str, DatasetError]:
        cases = self.cases if partition is None else subset(self.cases, partition)
        read = outcomes(self, cases)
        return {case.case_id: error for case, one in read if (error := _dataset_error(one)) is not None}

    def _undescribed(self) -> dict[str, DatasetError]:
        """What is wrong with the masks and headers that the summary needs."""
        errors = {}
        for case in self.cases:
            try:
                if self._sources[case.case_id].row.number in self._broken:
                    raise self._broken[self._sources[case.case_id].row.number]
                self.spacing(case)
                self.has_lesion(case)
            except DatasetError as error:
                errors[case.case_id] = error
        return errors

    def _leave_out(self, errors: dict[str, DatasetError]) -> None:
        """Exclude the cases that are unreadable, or refuse to."""
        if not errors:
            return
        left_out = excluded_cases([case for case in self.cases if case.case_id in errors], errors)
        shares = {case.case_id: self._sources[case.case_id].share for case in self._listed}
        require_few(self.description, self._listed, shares, (*self.excluded, *left_out))
        self.excluded = (*self.excluded, *left_out)
        self.cases = tuple(case for case in self.cases if case.case_id not in errors)

    @cached_property
    def _digest(self) -> str:
        content = {
            "description": self.description.content,
            "rows": [row.cells for _, row in sorted(self._rows.items())],
            "files": self._listed_files.by_path,
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    @cached_property
    def _listed_files(self) -> ListedFiles:
        return ListedFiles(self.description, list(self._rows.values()), self._row_names)

    @cached_property
    def _row_names(self) -> dict[int, str]:
        """How outputs name a row, by its number."""
        sources = [(case, self._sources[case.case_id]) for case in self._listed]
        return {source.row.number: _row_name(case, source) for case, source in sources}


def _named(slices: Expanded, description: Description) -> tuple[tuple[Case, ...], dict[str, Source]]:
    """The cases as every output may show them, and their sources by the names that they then have."""
    cases = tuple(protected(slices.cases, description.identifiers))
    return cases, {case.case_id: source for case, source in zip(cases, slices.sources, strict=True)}


def _row_name(case: Case, source: Source) -> str:
    return case.case_id if source.slice_index is None else case.case_id.rpartition("/")[0]


def _dataset_error(read: Future[CaseImages]) -> DatasetError | None:
    """What went wrong with a case's files; any other error is raised."""
    error = read.exception()
    if error is None or isinstance(error, DatasetError):
        return error
    raise error


def _refuse_without_range(description: Description, case: Case, row: Row) -> NoReturn:
    case = protected([case], description.identifiers)[0]
    told = Told(description.path.parent, description.table.name, row, "image", case.case_id, description.identifiers)
    with told.told() as path:
        plane = "axial" if description.volumes is None else description.volumes.plane
        volume = open_volume(path, plane)
        image = read_image(path)[0] if volume is None else volume.read(len(volume) // 2)
    shown = "the first image" if volume is None else "the middle slice of the first volume"
    raise DatasetError(
        f"{description.path.name} does not say what the stored numbers span",
        expected="value_range = [low, high], or window = [low, high] to clip to",
        found=f"neither; {shown} spans {image.min():g} to {image.max():g}",
        where=description.path,
        todo="Add the range that the format or the scanner defines, not the extremes of one image.",
    )
