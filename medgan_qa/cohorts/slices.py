"""Rows whose files hold several slices, as one case a slice."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from medgan_qa.cohorts._about import Told
from medgan_qa.cohorts._problems import collected
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.description import Description
from medgan_qa.cohorts.pseudonyms import protected
from medgan_qa.cohorts.readers import ArrayCache, Volume, open_volume, parsed
from medgan_qa.cohorts.table import Row
from medgan_qa.errors import DatasetError, MissingDependencyError


@dataclass(frozen=True)
class Source:
    """What the images of a case are read from."""

    row: Row
    slice_index: int | None = None
    """The slice of the row's volumes; None: the row's files hold one image each."""
    share: float = 1.0
    """How much of its row the case is."""

    @property
    def key(self) -> tuple[int, int | None]:
        """Row and slice."""
        return self.row.number, self.slice_index

    @property
    def at(self) -> int:
        """The slice of the row's volumes."""
        assert self.slice_index is not None
        return self.slice_index


@dataclass
class Expanded:
    """Cases with their sources, in the order of the table and of position."""

    cases: list[Case] = field(default_factory=list)
    sources: list[Source] = field(default_factory=list)
    volumes: dict[int, Volume] = field(default_factory=dict)
    """What the images of a row are read from, by the row's number; opened once, here."""
    broken: dict[int, DatasetError] = field(default_factory=dict)
    """What is wrong with a row whose image cannot even be opened; it stays one case."""


def expanded(description: Description, cases: Sequence[Case], rows: Sequence[Row], cache: ArrayCache) -> Expanded:
    """Give every slice of a row's image a case of its own, where the dataset file says how volumes are taken.

    A row's slices are named after it: `ROW/017`. A row of one image stays as it is.

    Args:
        description: of the dataset.
        cases: one a row.
        rows: of the table.
        cache: keeps what can only be unpacked as a whole.

    Raises:
        DatasetError: rows that hold a volume say themselves of which volume they are a slice.
        MissingDependencyError: a library that a format needs is not installed.
    """
    out, problems = Expanded(), list[str]()
    for case, row in zip(cases, rows, strict=True):
        volume = None if description.volumes is None else _opened(description, case, row, cache, out)
        for one, source in _slices(description, case, row, volume):
            out.cases.append(one)
            out.sources.append(source)
        if volume is not None:
            out.volumes[row.number] = volume
            problems += _contradictions(case, row)
    if problems:
        raise collected(
            f"{description.table.name}: {len(problems)} problem(s) with rows that hold a volume",
            problems,
            expected="volume and slice for single slices only",
            where=description.table.name,
            todo="Leave these cells empty: the slices of a volume are named after its row, and numbered by position.",
        )
    return out


def _opened(description: Description, case: Case, row: Row, cache: ArrayCache, out: Expanded) -> Volume | None:
    assert description.volumes is not None
    folder = description.path.parent
    try:
        return open_volume(parsed(row.cells["image"]).at(folder), description.volumes.plane, cache)
    except DatasetError as error:
        out.broken[row.number] = _told(description, case, row).about(error)
        return None
    except MissingDependencyError as error:
        raise _told(description, case, row).about(error) from None


def _told(description: Description, case: Case, row: Row) -> Told:
    """Where something is wrong, named as outputs may show it."""
    name = protected([case], description.identifiers)[0].case_id
    return Told(description.path.parent, description.table.name, row, "image", name, description.identifiers)


def _slices(description: Description, case: Case, row: Row, volume: Volume | None) -> Iterator[tuple[Case, Source]]:
    if volume is None or description.volumes is None:
        yield case, Source(row)
        return
    taken = description.volumes.taken(len(volume))
    for index in taken:
        name = f"{case.case_id}/{index:03d}"
        yield (
            replace(case, case_id=name, volume=case.case_id, slice_index=index),
            Source(row, index, 1 / len(taken)),
        )


def _contradictions(case: Case, row: Row) -> Iterator[str]:
    if case.volume not in (None, case.case_id):
        yield f"row {row.number}: volume is given, and the image is a volume itself"
    if case.slice_index is not None:
        yield f"row {row.number}: slice is given, and the image is a volume of several"
