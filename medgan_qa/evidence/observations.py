"""`observations.csv`: what measurements were computed from, unit by unit, so that two runs can be paired."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path

from pydantic import ValidationError

from medgan_qa.errors import RecordError
from medgan_qa.evidence.tables import read_table, table_csv
from medgan_qa.record import Observations

OBSERVATIONS = "observations.csv"
COLUMNS = ("measurement", "statistic", "unit", "patient_id", "value")


def write_observations(folder: Path, observations: Mapping[str, Observations]) -> None:
    """Write `observations.csv`, one row a unit; numbers in the shortest form that reads back the same.

    Nothing is written where there are no observations.

    Args:
        folder: where it goes, a staged folder.
        observations: by measurement id.

    Raises:
        ValueError: the columns of a measurement differ in length, or a value is not finite.
    """
    rows = [
        dict(zip(COLUMNS, (name, seen.statistic, unit, patient, _finite(name, unit, value)), strict=True))
        for name, seen in observations.items()
        for unit, patient, value in zip(seen.units, seen.patients, seen.values, strict=True)
    ]
    if rows:
        (folder / OBSERVATIONS).write_bytes(table_csv(rows, COLUMNS).encode())


def _finite(name: str, unit: str, value: float) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{name}, unit {unit}: an observation must be finite, got {value!r}")
    return float(value)


def read_observations(folder: Path) -> dict[str, Observations]:
    """The observations of a run's folder, by measurement id; none where the run wrote none.

    Raises:
        RecordError: the file is damaged, or names a unit of a measurement twice.
    """
    path = folder / OBSERVATIONS
    if not path.is_file():
        return {}
    columns, rows = read_table(path)
    if tuple(columns) != COLUMNS:
        raise _damaged(path, f"the columns {', '.join(columns)}")
    # The rows of a measurement stand together, as they were written.
    groups = [
        (key, list(group)) for key, group in groupby(rows, key=lambda row: (row["measurement"], row["statistic"]))
    ]
    found = {name: _observations(path, name, statistic, group) for (name, statistic), group in groups}
    if len(found) != len(groups):
        raise _damaged(path, "a measurement whose rows do not stand together")
    return found


def _observations(path: Path, name: str, statistic: str, rows: list[dict[str, str]]) -> Observations:
    units, patients = ([row[column] for row in rows] for column in ("unit", "patient_id"))
    try:
        values = [float(row["value"]) for row in rows]
        seen = Observations.model_validate(
            {"statistic": statistic, "units": units, "patients": patients, "values": values}
        )
    except (ValueError, ValidationError) as error:
        raise _damaged(path, f"{name}: {str(error).splitlines()[0]}") from error
    if not all(math.isfinite(value) for value in values):
        raise _damaged(path, f"{name}: a value that is not finite")
    if statistic == "share" and not set(values) <= {0.0, 1.0}:
        raise _damaged(path, f"{name}: a share from values other than 0 and 1")
    if len(set(units)) != len(units):
        raise _damaged(path, f"{name}: a unit that stands there twice")
    return seen


def _damaged(path: Path, found: str) -> RecordError:
    return RecordError(
        "The observations of the run cannot be read.",
        expected=f"a table with the columns {', '.join(COLUMNS)}, one row a unit",
        found=found,
        where=path,
        todo="Restore the run's folder, or run the audit again.",
    )
