"""What the runs of planted samplers show, as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from benchmarks.controls.lines import Line, spread
from benchmarks.controls.samplers import COPIES, FAULTY, LOCAL, LOST, SUITE
from medgan_qa.cohorts.phantom import MODES


class Shown(NamedTuple):
    """One row of the table: what a control must show in one measurement."""

    row: str
    asked: str
    measurement: str
    must: str
    flagged: Callable[[Line], bool]
    remark: Callable[[list[Line]], str] = lambda lines: ""


def _fails(measurement: str) -> Callable[[Line], bool]:
    return lambda line: line["criteria"].get(measurement) == "fail"


def _not_passed(measurement: str) -> Callable[[Line], bool]:
    return lambda line: line["criteria"].get(measurement) != "pass"


def _copied(line: Line) -> bool:
    return line["criteria"][COPIES] != "pass" and bool(line["veto"])


def _verdicts(measurement: str) -> Callable[[list[Line]], str]:
    def said(lines: list[Line]) -> str:
        return ", ".join(
            f"{n} {v}" for v, n in Counter(line["criteria"].get(measurement, "-") for line in lines).items()
        )

    return said


def _cells(names: Sequence[str]) -> list[str]:
    """The cells of k-means among lost groups: `mode 7`, and not `mode CT at 33 mm`."""
    return [name for name in names if name.startswith("mode ") and name.removeprefix("mode ").isdigit()]


def _groups(expected: set[str]) -> Callable[[list[Line]], str]:
    """How many of the groups that were taken away are named, how often exactly these, and what else is."""

    def said(lines: list[Line]) -> str:
        named = [set(line["facts"]["lost"]) - set(_cells(line["facts"]["lost"])) for line in lines]
        exact = sum(expected == names for names in named)
        there = sum(len(expected & names) for names in named)
        others = Counter(name for names in named for name in names - expected)
        cells = sorted(len(_cells(line["facts"]["lost"])) for line in lines)
        besides = "; ".join(f"{name} in {n}" for name, n in others.most_common()) or "none"
        return (
            f"named {there} of {len(expected) * len(lines)} groups taken away, exactly these in {exact}; other "
            f"declared groups: {besides}; lost cells of k-means: {spread(cells)}"
        )

    return said


def _lost_named(expected: set[str]) -> Callable[[Line], bool]:
    return lambda line: line["criteria"][LOST] == "fail" and expected <= set(line["facts"]["lost"])


def _planted(measurement: str) -> Callable[[list[Line]], str]:
    def said(lines: list[Line]) -> str:
        facts = [line["facts"] for line in lines]
        covers = [_within(line["values"][measurement], line["facts"]["planted"] / line["samples"]) for line in lines]
        total = {key: sum(f[key] for f in facts) for key in ("planted", "found", "false")}
        text = (
            f"{_verdicts(measurement)(lines)}; planted {total['planted']}, found {total['found']}, others flagged "
            f"{total['false']}; bounds hold the planted share in {sum(covers)} of {len(lines)}"
        )
        if "large" in facts[0]:
            large, seen = (sum(f[key] for f in facts) for key in ("large", "large_found"))
            text += f"; of {large} that changed 100 pixels or more, {seen} found"
        return text

    return said


def _within(ends: Sequence[float | None], truth: float) -> bool:
    _, low, high = ends
    return (low or 0.0) <= truth <= (1.0 if high is None else high)


TOLD = {"flip": "flip", "quarter turn": "rotate 90", "shift": "shifted", "gamma": "gamma", "noise": "noise"}
"""What the audit's name of a transform holds, by the disguise."""


def _transforms(lines: list[Line]) -> str:
    pairs = [pair for line in lines for pair in line["facts"]["disguises"]]
    right = Counter(true for true, told in pairs if TOLD[true] in told)
    all_of = Counter(true for true, _ in pairs)
    wrong = Counter(f"{true} as {told}" for true, told in pairs if TOLD[true] not in told)
    named = ", ".join(f"{true} {right[true]} of {n}" for true, n in sorted(all_of.items()))
    return f"{_planted(COPIES)(lines)}; transform named: {named}" + (
        f"; otherwise: {', '.join(f'{n} {kind}' for kind, n in wrong.most_common(3))}" if wrong else ""
    )


def _recall(lines: list[Line]) -> str:
    real = "COV-001.recall[radiomic, real against real]"
    values = [line["values"][real] for line in lines]
    below = sum(line["values"]["COV-001.recall[radiomic]"][2] < line["values"][real][1] for line in lines)
    return f"real against real {spread([v[0] for v in values])}; bounds wholly below it in {below}"


def _by_audit(lines: list[Line]) -> str:
    codes = lines[0]["verdicts"]
    said = []
    for code in codes:
        counted = Counter(line["verdicts"][code] for line in lines)
        kinds = Counter(line["errors"][code] for line in lines if code in line["errors"])
        what = "/".join(f"{v}" if n == len(lines) else f"{n} {v}" for v, n in counted.items())
        said.append(f"{code} {what}" + (f" ({', '.join(kinds)})" if kinds else ""))
    return "; ".join(said)


def _overall_not_pass(line: Line) -> bool:
    expected = {"NotFiniteError"} if line["control"] == "nan" else set()
    return any(v in ("fail", "error") for v in line["verdicts"].values()) and set(line["errors"].values()) <= expected


def _modes(kept: int) -> set[str]:
    return {f"mode {mode.name}" for mode in MODES[kept:]}


def _repeats(lines: list[Line]) -> str:
    said = sum(any("training set itself repeats" in note for note in line["notes"]["MEM-001"]) for line in lines)
    return f"repetition of the training set said in {said}"


def _rows() -> Iterator[Shown]:
    clean = "independent, flair"
    for declared in SUITE.criteria.declared:
        m = declared.measurement
        yield Shown("N3", clean, m, "no flag", _fails(m), _verdicts(m))
    yield Shown("N3", clean, "MEM-001.excess_p", "no veto", lambda line: bool(line["veto"]))
    for kept in (9, 7, 5, 1):
        asked, expected = f"modes-{kept}, modes", _modes(kept)
        yield Shown("C1", asked, LOST, "flag and name", _lost_named(expected), _groups(expected))
        m = "COV-001.clipped_coverage[radiomic]"
        yield Shown("C1", asked, m, "-", _fails(m), _verdicts(m))
    m = "COV-004.misplaced_share[radiomic]"
    yield Shown("C2", "weights, modes", m, "flag", _fails(m), _verdicts(m))
    yield Shown("C2", "weights, modes", "COV-001.recall[radiomic]", "does not fall", lambda line: False, _recall)
    m = "COV-001.clipped_coverage[radiomic]"
    yield Shown("C2", "weights, modes", m, "-", _fails(m), _verdicts(m))
    for m in ("COV-001.clipped_coverage[radiomic]", "COV-003.near_identical_rate"):
        yield Shown("C3", "shrunken, flair", m, "flag", _fails(m), _verdicts(m))
    for control in ("constant", "nan", "clipped"):
        yield Shown("C4", f"{control}, flair", FAULTY, "flag, no crash", _overall_not_pass, _by_audit)
    group = {"lesion 40 mm or more"}
    yield Shown("C5", "dropped, flair", LOST, "flag that group only", _lost_named(group), _groups(group))
    for dose in (1, 2, 5, 20):
        must = "flag" if dose > 1 else "-"
        yield Shown("M1", f"copies-{dose}, flair", COPIES, must, _copied, _planted(COPIES))
    yield Shown("M2", "copies-disguised, flair", COPIES, "flag and name", _copied, _transforms)
    yield Shown("M3", "pasted, flair", LOCAL, "flag", _fails(LOCAL), _planted(LOCAL))
    yield Shown("M3", "pasted, flair", COPIES, "-", _copied)
    yield Shown("M4", "independent, duplicated", COPIES, "no flag", _copied, _repeats)
    yield Shown(
        "M4",
        "copies-5, duplicated",
        COPIES,
        "flag",
        _copied,
        lambda lines: f"{_planted(COPIES)(lines)}; {_repeats(lines)}",
    )
    yield Shown("-", "checkerboard, flair", FAULTY, "flag", _fails(FAULTY), _verdicts(FAULTY))


def table(lines: list[Line]) -> str:
    """The Markdown table of everything that was run."""
    text = ["| | control, cohort | measurement | must | flagged | median (range) | remark |", "| --- " * 7 + "|"]
    for shown in _rows():
        own = [line for line in lines if f"{line['control']}, {line['data']}" == shown.asked]
        if not own:
            text.append(f"| {shown.row} | {shown.asked} | {shown.measurement} | {shown.must} | not run | | |")
            continue
        values = [line["values"][shown.measurement][0] for line in own if shown.measurement in line["values"]]
        flagged = f"{sum(map(shown.flagged, own))} of {len(own)}" if shown.must != "does not fall" else "-"
        text.append(
            f"| {shown.row} | {shown.asked} | {shown.measurement} | {shown.must} | {flagged} | {spread(values)} | "
            f"{shown.remark(own)} |"
        )
    return "\n".join(text)
