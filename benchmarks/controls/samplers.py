"""Planted samplers through the audits of the synthesis suite, judged by its default criteria."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.controls.lines import Line, append, ends, read
from medgan_qa.audits import AUDITS, Findings
from medgan_qa.audits._memory import IMAGE, WholeCopies
from medgan_qa.audits.copied_patients import disguise
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.audits.technical_faults import _measured
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.samplers import PLANS_BY_NAME, DuplicatedTraining, Independent, planted_sampler
from medgan_qa.criteria import judge
from medgan_qa.engines import LocalEngine
from medgan_qa.features.store import FeatureStore
from medgan_qa.runner.run import _measure as measure
from medgan_qa.runner.verdicts import audit_result, of_audit
from medgan_qa.suites import suite

Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
T = TypeVar("T")
R = TypeVar("R")

SUITE = suite("synthesis")
COPIES = "MEM-001.copy_rate"
LOCAL = "MEM-003.local_copy_rate"
FAULTY = "FID-002.gross_failure_rate"
LOST = "COV-002.lost_groups"


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
        subject = planted_sampler(self.slices, PLANS_BY_NAME[control][1])
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
    ran = [measure(AUDITS[code], run, AUDITS[code].parameters) for code in asked.audits]
    judged = judge(criteria, {e.measurement.id: e for r in ran for e in r.findings.estimates})
    veto = " ".join(r.findings.veto for r in ran if r.findings.veto)
    results = [audit_result(r, of_audit(judged, r.audit.code), veto) for r in ran]
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
        "values": {m.id: ends(m) for r in results for m in r.measurements if m.value is not None},
        "veto": veto,
        "notes": {r.code: r.notes for r in results},
        "facts": _facts(asked, bench, run, found),
        "seconds": round(time.perf_counter() - began, 1),
    }


def _code(measurement: str) -> str:
    return measurement.split(".")[0]


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


def run_controls(seeds: int, samples: int, path: Path, store: FeatureStore) -> None:
    """Every control at every seed, one seed after the other; what stands in the file is not run again.

    The clean control takes minutes a run: after its first seed it comes when all others are done.
    """
    benches: dict[str, Bench] = {}
    done = {(line["control"], line["data"], line["seed"]) for line in read([path])}
    order = [(seed, asked) for seed in range(seeds) for asked in PLANTED]
    for seed, asked in sorted(order, key=lambda pair: pair[1] is CLEAN and pair[0] > 0):
        if (asked.control, asked.data, seed) in done:
            continue
        if asked.data not in benches:
            benches[asked.data] = Bench(asked.data, store, samples)
        append(path, line_of(asked, benches[asked.data], seed))
