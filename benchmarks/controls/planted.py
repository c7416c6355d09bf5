"""Planted models through whole audits: one row a control, each seed with patients of its own.

What must come out is written down beside every row, and judged by the suite's default criteria wherever these speak of
it. A seed draws other patients and another noise, so that rows say something about other data too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from benchmarks.controls.lines import Line, append, ends, read, spread
from medgan_qa.audits import AUDITS
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.criteria import Criteria, Declared
from medgan_qa.engines import LocalEngine
from medgan_qa.runner import run_audit
from medgan_qa.stats import clopper_pearson
from medgan_qa.subjects.load import load_subject
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import Suite, suite


class Planted(NamedTuple):
    """A model with a known fault, the data that it is audited on, and who reads lesions there."""

    subject: Subject
    cohort: Cohort
    detector: Subject | None = None
    """None: the suite's own."""


class Must(NamedTuple):
    """What has to come out in one measurement, or in a whole audit where `measurement` is its code."""

    measurement: str
    verdict: str
    """`fail`, `pass`, `not fail`, `not pass`, `inconclusive`, or `holds` for an interval that holds `truth`."""
    truth: float = 0.0


class Row(NamedTuple):
    """One control."""

    row: str
    """As the catalogue of controls has it."""
    title: str
    suite: str
    audits: tuple[str, ...]
    build: Callable[[int], Planted]
    """Made for a seed."""
    musts: tuple[Must, ...]
    declared: tuple[Declared, ...] = ()
    """Criteria beside the suite's own."""


def every(measurements: Iterable[str], verdict: str) -> tuple[Must, ...]:
    """The same demand on several measurements."""
    return tuple(Must(measurement, verdict) for measurement in measurements)


def line_of(row: Row, seed: int) -> Line:
    """Run one control at one seed and say what came of it."""
    began = time.perf_counter()
    whole = suite(row.suite)
    planted = row.build(seed)
    reader = planted.detector
    if reader is None and whole.detector is not None:
        reader = load_subject(f"reference:{whole.detector}")
    part = replace(whole, audits=tuple(AUDITS[code] for code in row.audits), optional=())
    record = run_audit(
        planted.subject,
        planted.cohort,
        part,
        _criteria(whole, row),
        detector=reader,
        engine=LocalEngine(),
        seed=seed,
    ).record
    return {
        "planted": row.title,
        "suite": row.suite,
        "seed": seed,
        "verdict": record.verdict.value,
        "verdicts": {r.code: r.verdict.value for r in record.audits},
        "reasons": {r.code: r.reason for r in record.audits},
        "criteria": {c.measurement: c.verdict.value for r in record.audits for c in r.criteria},
        "values": {m.id: ends(m) for r in record.audits for m in r.measurements if m.value is not None},
        "seconds": round(time.perf_counter() - began, 1),
    }


def _criteria(whole: Suite, row: Row) -> Criteria:
    own = {declared.measurement for declared in row.declared}
    kept = (
        d for d in whole.criteria.declared if d.measurement.partition(".")[0] in row.audits and d.measurement not in own
    )
    return replace(whole.criteria, declared=(*kept, *row.declared))


def as_it_must(must: Must, line: Line) -> bool:
    """Whether a run came out as its row says."""
    if must.verdict == "holds":
        _, low, high = line["values"].get(must.measurement, [None, None, None])
        return (0.0 if low is None else low) <= must.truth <= (1.0 if high is None else high)
    found = line["verdicts"] if "." not in must.measurement else line["criteria"]
    verdict = found.get(must.measurement)
    if must.verdict.startswith("not "):
        return bool(verdict != must.verdict.removeprefix("not "))
    return bool(verdict == must.verdict)


def run_rows(rows: Sequence[Row], seeds: int, path: Path) -> None:
    """Every row at every seed; what stands in the file is not run again."""
    done = {(line["planted"], line["suite"], line["seed"]) for line in read([path]) if "planted" in line}
    for seed in range(seeds):
        for row in rows:
            if (row.title, row.suite, seed) not in done:
                append(path, line_of(row, seed))


def table(rows: Sequence[Row], lines: Sequence[Line]) -> str:
    """The Markdown table: what must come out, how often it did, and the rate that this proves."""
    text = ["| | control | measurement | must | came out | at least (95 %) | median (range) |", "| --- " * 7 + "|"]
    for row in rows:
        own = [line for line in lines if (line["planted"], line["suite"]) == (row.title, row.suite)]
        for must in row.musts:
            good = sum(as_it_must(must, line) for line in own)
            bound = clopper_pearson(good, len(own), alpha=0.05, sided=1)[0] if own else None
            values = [line["values"][must.measurement][0] for line in own if must.measurement in line["values"]]
            wanted = f"interval holds {must.truth:g}" if must.verdict == "holds" else must.verdict
            text.append(
                f"| {row.row} | {row.title} | {must.measurement} | {wanted} | {good} of {len(own)} | "
                f"{'-' if bound is None else f'{100 * bound:.0f} %'} | {spread(values)} |"
            )
    return "\n".join(text)
