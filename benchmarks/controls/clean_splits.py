"""Clean images, split at random many times, through the rules of MEM-001 and FID-002: their false alarms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import fields, replace

import numpy as np
from numpy.typing import NDArray

from benchmarks.controls.lines import Line, ends
from benchmarks.controls.samplers import COPIES, FAULTY, SUITE
from medgan_qa import rng
from medgan_qa.audits._memory import IMAGE, Rule, SpaceScores, _aligned, _in_features, _joined, _judged, flagged_rate
from medgan_qa.audits.numbers import rate
from medgan_qa.audits.real_range import taken
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.audits.technical_faults import SPECTRAL, _measured
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.criteria import Estimate, judge
from medgan_qa.engines import LocalEngine
from medgan_qa.features.store import FeatureStore
from medgan_qa.metrics import gross_failures
from medgan_qa.metrics.copies import AlignedNeighbors
from medgan_qa.metrics.image_faults import FAULTS
from medgan_qa.stats.calibration import excess_test

Index = NDArray[np.intp]
POOL = 2000
"""Clean patients that are split again and again into limits or held-out patients and samples."""


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
    bounds = ends(estimate.measurement)
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
