"""Run planted samplers through the audits that must catch them, and clean images through the same rules many times.

    python benchmarks/controls.py --seeds 5 --lines controls.jsonl
    python benchmarks/controls.py --false-alarms --lines false-alarms.jsonl
    python benchmarks/controls.py --table controls.jsonl false-alarms.jsonl

Every run is judged by the default criteria of the synthesis suite, as `medgan-qa audit` judges it. One line a run is
appended to the file of `--lines`, and runs that stand there are not made again. Nothing passes or fails here: the table
says what was caught and what was not. `docs/controls.md` holds one.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits import AUDITS, Findings
from medgan_qa.audits._memory import (
    IMAGE,
    Rule,
    SpaceScores,
    WholeCopies,
    _aligned,
    _in_features,
    _joined,
    _judged,
    flagged_rate,
)
from medgan_qa.audits.copied_patients import disguise
from medgan_qa.audits.numbers import rate
from medgan_qa.audits.real_range import taken
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.audits.technical_faults import SPECTRAL, _measured
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.cohorts.phantom import MODES, BrainSlices
from medgan_qa.controls.samplers import SAMPLERS, DuplicatedTraining, Independent, planted_sampler
from medgan_qa.criteria import Estimate, judge
from medgan_qa.engines import LocalEngine
from medgan_qa.features.store import FeatureStore
from medgan_qa.metrics import gross_failures
from medgan_qa.metrics.copies import AlignedNeighbors
from medgan_qa.metrics.image_faults import FAULTS
from medgan_qa.runner import _measure, _of, _result
from medgan_qa.stats.calibration import excess_test
from medgan_qa.suites import suite

Line = dict[str, Any]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
T = TypeVar("T")
R = TypeVar("R")

SUITE = suite("synthesis")
COPIES = "MEM-001.copy_rate"
LOCAL = "MEM-003.local_copy_rate"
FAULTY = "FID-002.gross_failure_rate"
LOST = "COV-002.lost_groups"
POOL = 2000
"""Clean patients that are split again and again into limits or held-out patients and samples."""


class Asked(NamedTuple):
    """A planted sampler, the cohort that it stands against, and the audits it is run through."""

    control: str
    data: str
    audits: tuple[str, ...]

    @property
    def name(self) -> str:
        """As the table has it."""
        return f"{self.control}, {self.data}"


COVERAGE = ("COV-001", "COV-002", "COV-004")
IMAGES = ("FID-001", "FID-002", "ANA-001", "COV-001", "COV-003", "MEM-001")
PLANTED = (
    *(Asked(f"modes-{k}", "modes", ("COV-001", "COV-002")) for k in (9, 7, 5, 1)),
    Asked("weights", "modes", COVERAGE),
    Asked("shrunken", "flair", ("COV-001", "COV-003")),
    Asked("dropped", "flair", ("COV-002",)),
    *(Asked(f"copies-{p}", "flair", ("MEM-001",)) for p in (1, 2, 5, 20)),
    Asked("copies-disguised", "flair", ("MEM-001",)),
    Asked("pasted", "flair", ("MEM-001", "MEM-003")),
    Asked("independent", "duplicated", ("MEM-001",)),
    Asked("copies-5", "duplicated", ("MEM-001",)),
    Asked("checkerboard", "flair", ("FID-002",)),
    Asked("constant", "flair", ("FID-002", "ANA-001", "COV-001", "COV-003", "MEM-001")),
    Asked("nan", "flair", IMAGES),
    Asked("clipped", "flair", ("FID-002", "ANA-001", "COV-001", "COV-003")),
    Asked("independent", "flair", tuple(audit.code for audit in SUITE.audits)),
)
CLEAN = PLANTED[-1]


class Keeping(LocalEngine):
    """Maps over images, and keeps what one cohort's real images give, which is the same in every run on it."""

    REAL = ("Looking for duplicates", "Calibrating on held-out images", "Calibrating patches on held-out images")

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[str, list[Any]] = {}

    def map(self, function: Callable[[T], R], items: Sequence[T], *, label: str) -> list[R]:
        """Apply `function` to every item in order, or hand out what it gave before."""
        if label not in self.REAL:
            return super().map(function, items, label=label)
        if label not in self.kept:
            self.kept[label] = super().map(function, items, label=label)
        return self.kept[label]


class Bench:
    """One cohort: its real images, what was computed from them, and clean samples of each seed."""

    def __init__(self, data: str, store: FeatureStore, samples: int) -> None:
        self.slices = BrainSlices(modes=data == "modes")
        self.cohort = cast(Cohort, DuplicatedTraining(self.slices) if data == "duplicated" else self.slices)
        self.store, self.samples, self.engine = store, samples, Keeping()
        self.clean: dict[int, Pictures] = {}

    @cached_property
    def real(self) -> SynthesisRun:
        """A run for the sake of its real images."""
        return SynthesisRun(planted_sampler(self.slices, Independent()), self.cohort, None, LocalEngine(), 0)

    @cached_property
    def faults(self) -> dict[str, Any]:
        """Measures of technical faults of the real images."""
        assert self.real.train is not None
        return {name: _measured(self.real, part) for name, part in self._parts().items()}

    def _parts(self) -> dict[str, Pictures]:
        assert self.real.train is not None
        return {"reference": self.real.reference, "train": self.real.train}

    def run(self, control: str, seed: int) -> SynthesisRun:
        """A run of a planted sampler with everything real at hand."""
        subject = planted_sampler(self.slices, SAMPLERS[control].plan)
        options = {**SUITE.options, "samples": self.samples, "store": self.store}
        made = SynthesisRun(subject, self.cohort, None, self.engine, seed, **options)
        made.__dict__.update(self._parts())
        return made

    def unplanted(self, seed: int) -> Pictures:
        """The samples of a seed without a fault: planted samplers draw these first and then change them."""
        if seed not in self.clean:
            self.clean = {seed: self.run("independent", seed).sampled}
        return self.clean[seed]


def line_of(asked: Asked, bench: Bench, seed: int) -> Line:
    """Run one control and say what came of it."""
    began = time.perf_counter()
    run = bench.run(asked.control, seed)
    if asked.control == "independent":
        run.__dict__["sampled"] = bench.unplanted(seed)
    if "FID-002" in asked.audits:
        run.shared["FID-002"] = {**bench.faults, "generated": _measured(run, run.sampled)}
    criteria = replace(
        SUITE.criteria, declared=tuple(d for d in SUITE.criteria.declared if _code(d.measurement) in asked.audits)
    )
    ran = [_measure(AUDITS[code], run, AUDITS[code].parameters) for code in asked.audits]
    judged = judge(criteria, {e.measurement.id: e for r in ran for e in r.findings.estimates})
    veto = " ".join(r.findings.veto for r in ran if r.findings.veto)
    results = [_result(r, _of(judged, r.audit.code), veto) for r in ran]
    found = {r.audit.code: r.findings for r in ran}
    return {
        "control": asked.control,
        "data": asked.data,
        "seed": seed,
        "samples": len(run.sampled),
        "verdicts": {r.code: r.verdict.value for r in results},
        "reasons": {r.code: r.reason for r in results},
        "errors": {r.audit.code: type(r.error).__name__ for r in ran if r.error is not None},
        "criteria": {c.measurement: c.verdict.value for r in results for c in r.criteria},
        "values": {m.id: _ends(m) for r in results for m in r.measurements if m.value is not None},
        "veto": veto,
        "notes": {r.code: r.notes for r in results},
        "facts": _facts(asked, bench, run, found),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _code(measurement: str) -> str:
    return measurement.split(".")[0]


def _ends(measurement: Any) -> list[float | None]:
    interval = measurement.interval
    return [measurement.value, interval and interval.low, interval and interval.high]


def _facts(asked: Asked, bench: Bench, run: SynthesisRun, found: dict[str, Findings]) -> Line:
    """What was planted and what of it was found, where single samples or groups can be told."""
    facts: Line = {}
    if "COV-002" in found:
        facts["lost"] = _lost(found["COV-002"])
    if not asked.control.startswith(("copies", "pasted")):
        return facts
    changed = run.sampled.images != bench.unplanted(run.seed).images
    planted = changed.any(axis=(1, 2, 3))
    copies: WholeCopies = run.shared["MEM-001"]
    flags = copies.found
    if asked.control == "pasted":
        listed = found["MEM-003"].tables["exhibits/MEM-003-samples.csv"]
        flags = np.isin(run.sampled.names, [row["case_id"] for row in listed if row["part_copied"]])
        large = changed.sum(axis=(1, 2, 3)) >= 100
        facts |= {"large": int((planted & large).sum()), "large_found": int((planted & large & flags).sum())}
    facts |= {
        "planted": int(planted.sum()),
        "found": int((planted & flags).sum()),
        "false": int((flags & ~planted).sum()),
    }
    if asked.control == "copies-disguised":
        facts["disguises"] = _named(bench, run, copies, planted)
    return facts


def _lost(findings: Findings) -> list[str]:
    tables = [e for e in findings.exhibits if e.id == "COV-002-groups"]
    return [row[0] for table in tables for row in table.data["rows"] if row[5] == "LOST"]


def _named(bench: Bench, run: SynthesisRun, copies: WholeCopies, planted: Bool) -> list[list[str]]:
    """The true disguise of each planted copy that was found in the image, and what the audit calls it."""
    true = _disguises(bench)
    told = np.flatnonzero(planted & copies.flagged[IMAGE])
    return [[true.get(_hash(run.sampled.grey[i]), "noise"), disguise(copies, int(i))] for i in told]


def _disguises(bench: Bench) -> dict[bytes, str]:
    """Every training image under every disguise but noise, by hash, to tell by pixels how a copy was disguised."""
    known: dict[bytes, str] = {}
    train = bench.real.train
    assert train is not None
    for image in train.grey:
        known[_hash(image[:, ::-1])] = "flip"
        known |= {_hash(np.rot90(image, turns)): "quarter turn" for turns in (1, 3)}
        moves = [(dy, dx) for dy in (-2, -1, 1, 2) for dx in (-2, -1, 1, 2)]
        known |= {_hash(np.roll(image, move, axis=(0, 1))): "shift" for move in moves}
        known |= {_hash(np.clip(image, 0, 1) ** np.float32(gamma)): "gamma" for gamma in (0.8, 1.25)}
    return known


def _hash(image: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(np.ascontiguousarray(image, np.float32).tobytes()).digest()


# What the table says of the lines.


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
            f"declared groups: {besides}; lost cells of k-means: {_spread(cells)}"
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
    return f"real against real {_spread([v[0] for v in values])}; bounds wholly below it in {below}"


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


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    median, low, high = float(np.median(values)), min(values), max(values)
    return f"{median:.3g}" if low == high else f"{median:.3g} ({low:.3g} to {high:.3g})"


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
            f"| {shown.row} | {shown.asked} | {shown.measurement} | {shown.must} | {flagged} | {_spread(values)} | "
            f"{shown.remark(own)} |"
        )
    return "\n".join(text)


# Clean images, many times.


def clean_splits(splits: int, store: FeatureStore) -> Iterator[Line]:
    """Split a pool of clean patients at random, and push the parts through the rules of MEM-001 and FID-002."""
    cohort = BrainSlices(people=POOL)
    run = SynthesisRun(planted_sampler(cohort, Independent()), cohort, None, LocalEngine(), 0, store=store)
    # The first 500 training patients of the larger cohort are those of the shipped one.
    assert run.train is not None
    run.__dict__.update(train=run.train.take(np.arange(1000)), sampled=run.reference)
    copies, faults = _copy_scores(run), _measured(run, run.reference).table
    for number in range(splits):
        g = rng.child(number, "clean split")
        yield {"split": number, **_copies_of(run, *copies, g), **_faults_of(run, faults, g)}


def _copy_scores(run: SynthesisRun) -> tuple[tuple[SpaceScores, ...], AlignedNeighbors, Index, Index]:
    """Scores of every clean image against the training images, in every space, as MEM-001 computes them."""
    assert run.train is not None
    rule = Rule()
    among = _aligned(run, run.train, run.train.patients, rule, "duplicates", leave_out=True)
    groups, repeated = _joined(run.train.patients, among, rule.duplicate)
    aligned = _aligned(run, run.reference, groups, rule, "scores")
    unique = np.setdiff1d(np.arange(len(run.train)), repeated)
    image = SpaceScores(IMAGE, among.ratio[unique], aligned.ratio, aligned.ratio, aligned.reference)
    everything = np.arange(len(run.reference))
    spaces = (image, *(_in_features(run, name, groups, unique, everything) for name in run.extractors))
    return spaces, aligned, groups, repeated


def _split(run: SynthesisRun, g: np.random.Generator, first: int) -> tuple[Index, Index]:
    """Images of `first` patients, and one image each of 1,000 others."""
    order = g.permutation(POOL)
    whole = (2 * order[:first, None] + np.arange(2)).ravel()
    others = 2 * order[first : first + 1000] + g.integers(2, size=1000)
    assert {run.reference.patients[i] for i in whole}.isdisjoint(run.reference.patients[i] for i in others)
    return whole, others


def _copies_of(
    run: SynthesisRun,
    spaces: tuple[SpaceScores, ...],
    aligned: AlignedNeighbors,
    groups: Index,
    repeated: Index,
    g: np.random.Generator,
) -> Line:
    held, samples = _split(run, g, 500)
    parts = tuple(
        s._replace(held_out=s.held_out[held], samples=s.samples[samples], nearest=s.nearest[samples]) for s in spaces
    )
    own = AlignedNeighbors(**{f.name: getattr(aligned, f.name)[samples] for f in fields(AlignedNeighbors)})
    patients = [run.reference.patients[i] for i in held]
    found = _judged(Rule(), parts, patients, np.arange(len(held)), own, groups, repeated)
    k, threshold = int(found.found.sum()), found.threshold
    estimate = flagged_rate(COPIES, "copies", found.found, threshold)
    p = excess_test(k, len(samples), threshold.rank - 1, threshold.n)
    bounds = _ends(estimate.measurement)
    # The same without the margin: what the order statistic alone would flag.
    bare = _judged(Rule(margin=1.0), parts, patients, np.arange(len(held)), own, groups, repeated)
    unmargined = int(bare.found.sum())
    return {
        "copies": k,
        "veto": bool(p <= 0.05 and (bounds[1] or 0) > 0),
        "excess": bool(p <= 0.05),
        "upper": bounds[2],
        "AC-08": _verdict(COPIES, estimate),
        "unmargined": unmargined,
        "unmargined excess": excess_test(unmargined, len(samples), threshold.rank - 1, threshold.n) <= 0.05,
        "expected": threshold.expected,
    }


def _faults_of(run: SynthesisRun, table: dict[str, NDArray[np.float64]], g: np.random.Generator) -> Line:
    limits, samples = _split(run, g, 500)
    quantities = {name: q for name, q in {**FAULTS, **SPECTRAL}.items() if name in table}
    patients = tuple(run.reference.patients[i] for i in limits)
    found = gross_failures(taken(table, limits), taken(table, samples), quantities, 0.01, patients)
    names = [run.reference.patients[i] for i in samples]
    estimate = rate(FAULTY, "faults", found.flags.tolist(), names, unit_of_analysis="sample")
    return {
        "faults": int(found.flags.sum()),
        "faults expected": found.expected_rate,
        "AC-02": _verdict(FAULTY, estimate),
    }


def _verdict(measurement: str, estimate: Estimate) -> str:
    criteria = replace(
        SUITE.criteria, declared=tuple(d for d in SUITE.criteria.declared if d.measurement == measurement)
    )
    return judge(criteria, {measurement: estimate})[0].verdict.value


def false_alarm_table(lines: list[Line]) -> str:
    """The Markdown table of the clean splits."""
    n = len(lines)

    def counted(key: str) -> str:
        return ", ".join(f"{v} {k}" for k, v in Counter(line[key] for line in lines).most_common())

    rows = [
        ("MEM-001", "more flagged than held-out patients (p at most 0.05)", "5 %", sum(li["excess"] for li in lines)),
        (
            "MEM-001",
            "the same without the margin of three quarters",
            "5 %",
            sum(li["unmargined excess"] for li in lines),
        ),
        ("MEM-001", "veto", "5 %", sum(li["veto"] for li in lines)),
        ("MEM-001", "upper end of the copy rate above 1 % (AC-08)", "-", sum(li["upper"] > 0.01 for li in lines)),
    ]
    text = ["| audit | event in a clean split | stated | counted |", "| --- | --- | --- | --- |"]
    text += [f"| {code} | {event} | {level} | {k} of {n} ({k / n:.1%}) |" for code, event, level, k in rows]
    for code, event, key, expected in (
        ("MEM-001", "samples flagged", "copies", "expected"),
        ("MEM-001", "samples flagged without the margin", "unmargined", "expected"),
        ("FID-002", "samples flagged", "faults", "faults expected"),
    ):
        shares = [line[key] / 1000 for line in lines]
        stated = np.mean([line[expected] for line in lines])
        said = f"mean {np.mean(shares):.2%}, largest {max(shares):.1%}"
        text.append(f"| {code} | {event} | at most {stated:.2%} | {said} |")
    text.append(f"| MEM-001 | verdict of AC-08 | not fail | {counted('AC-08')} |")
    text.append(f"| FID-002 | verdict of AC-02 | not fail | {counted('AC-02')} |")
    return "\n".join(text)


def _read(paths: Sequence[Path]) -> list[Line]:
    return [json.loads(text) for path in paths if path.exists() for text in path.read_text().splitlines()]


def _append(path: Path, line: Line) -> None:
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def run_controls(seeds: int, samples: int, path: Path, store: FeatureStore) -> None:
    """Every control at every seed, one seed after the other; what stands in the file is not run again.

    The clean control takes minutes a run: after its first seed it comes when all others are done.
    """
    benches: dict[str, Bench] = {}
    done = {(line["control"], line["data"], line["seed"]) for line in _read([path])}
    order = [(seed, asked) for seed in range(seeds) for asked in PLANTED]
    for seed, asked in sorted(order, key=lambda pair: pair[1] is CLEAN and pair[0] > 0):
        if (asked.control, asked.data, seed) in done:
            continue
        if asked.data not in benches:
            benches[asked.data] = Bench(asked.data, store, samples)
        _append(path, line_of(asked, benches[asked.data], seed))


def main() -> None:
    """Run what is asked for and print its table."""
    parser = argparse.ArgumentParser(description="Planted samplers through the audits that must catch them.")
    parser.add_argument("--seeds", type=int, default=5, help="seeds of the latent vectors, from 0")
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--lines", type=Path, default=Path("controls.jsonl"), help="where each run's line is appended")
    parser.add_argument("--false-alarms", action="store_true", help="clean splits instead of controls")
    parser.add_argument("--splits", type=int, default=200)
    parser.add_argument("--table", type=Path, nargs="+", help="only print the tables of these files")
    options = parser.parse_args()
    if not options.table:
        with tempfile.TemporaryDirectory() as folder:
            store = FeatureStore(Path(folder))
            if options.false_alarms:
                for line in clean_splits(options.splits, store):
                    _append(options.lines, line)
            else:
                run_controls(options.seeds, options.samples, options.lines, store)
    lines = _read(options.table or [options.lines])
    for kind, show in (("control", table), ("split", false_alarm_table)):
        if own := [line for line in lines if kind in line]:
            print(show(own), end="\n\n")


if __name__ == "__main__":
    main()
