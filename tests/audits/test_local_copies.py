"""MEM-003: lesions lifted from training patients are found; fresh patients and whole copies are not counted."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.copied_patients import copied_patients
from medgan_qa.audits.local_copies import _window, local_copies
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.samplers import Copies, Fixed, Independent, Pasted, Plan, planted_sampler
from medgan_qa.engines import LocalEngine

FALSE_ALARM = 0.02
"""Fifty held-out patients allow no less."""
VISIBLE = 25
"""Pixels that a pasted lesion changes if it is as large as a quarter of a patch."""


@cache
def brains(people: int = 50) -> BrainSlices:
    cohort = BrainSlices(people=people)
    # Many runs read the same images.
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


def run_of(plan: Plan, samples: int | None = None, people: int = 50) -> SynthesisRun:
    subject = planted_sampler(brains(people), plan)
    return SynthesisRun(subject, brains(people), None, LocalEngine(), 0, samples=samples, extractors=("pixels",))


@cache
def audited(plan: Plan) -> tuple[SynthesisRun, Findings]:
    run = run_of(plan)
    copied_patients(run, false_alarm=FALSE_ALARM)
    return run, local_copies(run, false_alarm=FALSE_ALARM)


def changed(plan: Plan) -> np.ndarray:
    """(N, H, W) pixels that the sampler without a fault draws otherwise."""
    return audited(plan)[0].generated.grey != audited(Independent())[0].generated.grey


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"MEM-003.{name}").measurement


def flagged(findings: Findings) -> np.ndarray:
    table = sorted(findings.tables["exhibits/MEM-003-samples.csv"], key=lambda row: row["case_id"])
    return np.array([row["part_copied"] for row in table])


def test_fresh_patients_hold_no_parts() -> None:
    findings = audited(Independent())[1]
    assert findings.missing is None
    rate = value(findings, "local_copy_rate")
    assert rate.value <= 0.02
    assert rate.interval.low == 0
    assert value(findings, "excess_p").value > 0.05
    assert value(findings, "flagged_held_out").value <= 2 * FALSE_ALARM
    assert {case["rule"] for case in findings.exhibits[0].data["cases"]} <= {"worst", "random"}


def test_pasted_lesions_are_found_and_told_where() -> None:
    plan = Pasted(0.3)
    run, findings = audited(plan)
    pasted, found = changed(plan).sum(axis=(1, 2)) >= VISIBLE, flagged(findings)
    assert found[pasted].mean() > 0.6
    assert found[~pasted].mean() <= 0.03
    rate = value(findings, "local_copy_rate")
    assert rate.interval.low > 0
    assert rate.interval.high >= pasted.mean()
    place = {name: k for k, name in enumerate(run.generated.names)}
    hits = [row for row in findings.rows if pasted[place[row["case_id"]]]]
    patch = 10
    inside = [
        changed(plan)[
            place[row["case_id"]], row["row"] : row["row"] + patch, row["column"] : row["column"] + patch
        ].any()
        for row in hits
    ]
    assert np.mean(inside) == 1


def test_matches_are_shown_side_by_side() -> None:
    findings = audited(Pasted(0.3))[1]
    shown = findings.exhibits[0]
    arrays = findings.arrays[shown.file]
    assert arrays["source"].shape[1:] == (64, 64)
    assert arrays["output"].shape == arrays["reference"].shape == (len(shown.data["cases"]), 30, 30)
    same = np.isclose(arrays["output"], arrays["reference"], atol=1e-6)[:, 10:20, 10:20].mean(axis=(1, 2))
    worst = np.array([case["rule"] == "worst" for case in shown.data["cases"]])
    # What was pasted is the same pixel by pixel; elsewhere two images agree by chance only.
    assert np.median(same[worst]) > 0.9
    assert same[~worst].max() < 0.1


def test_whole_copies_are_counted_apart() -> None:
    plan = Copies(0.3)
    findings = audited(plan)[1]
    whole = changed(plan).any(axis=(1, 2))
    assert value(findings, "whole_copies").value == whole.sum()
    assert not flagged(findings)[whole].any()
    rate = value(findings, "local_copy_rate")
    assert rate.n == (~whole).sum()
    assert rate.value <= 0.03


def test_it_looks_for_whole_copies_itself_where_nothing_else_did() -> None:
    run = run_of(Copies(1.0), samples=10)
    findings = local_copies(run, false_alarm=FALSE_ALARM)
    # All of them are whole copies, and a share of nothing is no pass.
    assert findings.missing is not None
    assert "copy of a whole training image" in findings.missing


def test_too_few_held_out_patients_are_inconclusive() -> None:
    findings = local_copies(run_of(Pasted(0.5), samples=10, people=30), false_alarm=FALSE_ALARM)
    assert findings.missing is not None
    assert "49 are needed" in findings.missing


def test_a_stricter_rate_than_the_whole_copies_had_is_checked_too() -> None:
    findings = local_copies(audited(Independent())[0], false_alarm=0.01)
    assert findings.missing is not None
    assert "99 are needed" in findings.missing


def test_samples_without_structure_hold_no_parts() -> None:
    run = run_of(Fixed(0.5), samples=8)
    run.shared["MEM-001"] = _without_copies(8)
    findings = local_copies(run, false_alarm=FALSE_ALARM)
    assert value(findings, "local_copy_rate").value == 0
    rows = findings.tables["exhibits/MEM-003-samples.csv"]
    assert all(row["training_case"] == "" and row["ratio"] is None for row in rows)
    assert findings.exhibits == []


def _without_copies(samples: int) -> Any:
    """What MEM-001 found in a clean run, for so many samples."""
    found = audited(Independent())[0].shared["MEM-001"]
    return SimpleNamespace(
        threshold=found.threshold, groups=found.groups, held_out=found.held_out, found=np.zeros(samples, bool)
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 14), st.integers(0, 10), st.sampled_from([4, 6, 10]))
def test_a_window_has_the_patch_in_its_middle(row: int, column: int, patch: int) -> None:
    image = np.arange(24 * 20, dtype=np.float32).reshape(24, 20)
    window = _window(image, np.array([row, column]), patch)
    assert window.shape == (3 * patch, 3 * patch)
    assert np.array_equal(window[patch:-patch, patch:-patch], image[row : row + patch, column : column + patch])


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("MEM-003", "", local_copies).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)


def test_a_patch_that_cannot_be_searched_is_refused() -> None:
    with pytest.raises(ValueError, match="patch must be even"):
        local_copies(audited(Independent())[0], false_alarm=FALSE_ALARM, patch=7)
