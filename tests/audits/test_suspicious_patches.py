"""PAT-004: the screening map on planted faults, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.audits._scanning import Rule, Scan, calibrated, patches_of, typical
from medgan_qa.audits.suspicious_patches import suspicious_patches
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Attenuate, Constant, Erase, Faithful, Insert, planted_translator
from medgan_qa.criteria import Declared, judge
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.ring_correlation import RingCorrelation, crossing, frc
from medgan_qa.suites import suite


@dataclass(frozen=True)
class Mild:
    """What a good model does anyway: a little blur, a sub-pixel shift, a little noise."""

    gain: float = 1.0
    offset: float = 0.0
    name: str = "mild"

    def apply(self, reference, lesion, g):
        moved = ndimage.shift(ndimage.gaussian_filter(reference, 0.7), (0.3, -0.2), mode="nearest")
        noisy = moved + 0.01 * g.standard_normal(reference.shape)
        return (self.gain * noisy + self.offset).astype(np.float32)


@cache
def cohort(people):
    return BrainPhantoms(people=people)


def run_of(defect, people=24, seed=0):
    data = cohort(people)
    return TranslationRun(planted_translator(data, defect), data, None, LocalEngine(), seed)


@cache
def measured(defect, people=24, seed=0, **options):
    return suspicious_patches(run_of(defect, people, seed), **{"planted": 60, **options})


def value(findings, name):
    return next(e.measurement for e in findings.estimates if e.measurement.id == f"PAT-004.{name}")


@pytest.mark.parametrize("defect", [Attenuate(kept=1.0), Faithful(), Mild()], ids=["identity", "faithful", "mild"])
@pytest.mark.parametrize("seed", [0, 1])
def test_negative_controls_are_flagged_no_more_often_than_clean_patches(defect, seed):
    findings = measured(defect, seed=seed)

    # Thresholds from 12 patients: the rate scatters about the 5 % that were asked for.
    assert value(findings, "flagged_share").value < 0.12
    assert value(findings, "false_alarm_rate").value < 0.12


def test_a_change_of_level_and_contrast_is_no_disagreement():
    plain, scaled = measured(Mild()), measured(Mild(gain=0.5, offset=0.3))
    assert value(scaled, "flagged_share").value == pytest.approx(value(plain, "flagged_share").value, abs=0.03)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("defect", [Erase(), Insert()], ids=lambda d: d.name)
def test_positive_controls_are_flagged_where_the_fault_is(defect, seed):
    run = run_of(defect, seed=seed)
    findings = suspicious_patches(run, planted=60)

    flagged = {row["case_id"]: row.get("flagged", 0) > 0 for row in findings.rows}
    with_fault = [bool(item.lesion.any()) == isinstance(defect, Erase) for item in run.items]
    hit = [flagged[item.case.case_id] for item in run.items]
    assert np.mean([h for h, f in zip(hit, with_fault, strict=True) if f]) > 0.9
    assert np.mean([h for h, f in zip(hit, with_fault, strict=True) if not f]) < 0.1


def test_a_constant_image_is_flagged_everywhere():
    assert value(measured(Constant()), "flagged_share").value == 1.0


def test_no_criterion_passes_on_a_screening_map():
    findings = measured(Faithful())
    estimates = {e.measurement.id: e for e in findings.estimates}
    for name in ("flagged_share", "false_alarm_rate"):
        declared = Declared("AC-1", f"PAT-004.{name}", {"max": 0.99}, "upper")
        [judged] = judge(replace(suite("translation").criteria, declared=(declared,)), estimates)
        assert judged.verdict == "inconclusive"
        assert "screening map" in judged.reason
    assert "opens and closes no gate" in findings.notes[0]
    assert any("not evaluated its suitability" in note for note in findings.notes)


def test_blindness_is_measured_and_stands_beside_the_map():
    findings = measured(Mild(), people=40)

    faint = value(findings, "removal_seen[diameter 10 mm, contrast 10 %]")
    bright = value(findings, "removal_seen[diameter 24 mm, contrast 50 %]")
    assert faint.value < 0.6 < 0.9 < bright.value
    for cell in ("diameter 10 mm, contrast 30 %", "diameter 24 mm, contrast 10 %"):
        assert value(findings, f"attenuation_seen[{cell}]").value < value(findings, f"removal_seen[{cell}]").value
    assert any(note.startswith("Blindness, measured on planted lesions") for note in findings.notes)
    assert {e.kind for e in findings.exhibits} == {"curves", "forest", "panels"}


def test_the_published_window_is_a_named_mode_and_sees_less():
    true, upstream = measured(Faithful(), people=40), measured(Faithful(), people=40, window="upstream-0")

    def seen(findings):
        return np.mean([e.measurement.value for e in findings.estimates if ".removal_seen" in e.measurement.id])

    assert "window upstream-0" in upstream.notes[1]
    assert seen(upstream) < seen(true)


def test_the_typical_difference_is_found():
    found = typical(run_of(Mild(gain=0.5, offset=0.3)).items, seed=0)
    assert found.blur_px == pytest.approx(0.75, abs=0.25)
    assert found.noise == pytest.approx(0.01, abs=0.004)
    assert np.median(found.shifts_px, axis=0) == pytest.approx([0.3, -0.2], abs=0.1)


def test_erased_lesions_are_not_typical():
    found = typical(run_of(Erase()).items, seed=0)
    assert found.blur_px == 0
    assert found.noise < 0.002


def test_patches_without_body_are_left_out_and_counted():
    run = run_of(Faithful())
    findings = suspicious_patches(run, planted=60)
    left_out = value(findings, "patches_left_out")
    assert left_out.value == sum(row["left_out"] for row in findings.rows) > 0
    assert left_out.n == 9 * len(run.items)

    patches = patches_of(run.items[0], Scan(32, 16, "hann", 0.5))
    for y, x in patches.corners:
        assert run.items[0].body[y : y + 32, x : x + 32].mean() >= 0.5


def test_too_few_patients_or_patches_are_missing():
    assert "Fewer than two patients" in measured(Faithful(), people=1).missing
    assert "too few to set a threshold" in measured(Faithful(), people=2).missing
    assert "Fewer than two patients" in measured(Faithful(), people=4, patch_px=128).missing


def test_without_references_the_input_is_missing():
    run = run_of(Faithful(), people=4)
    vars(run)["items"] = [replace(item, reference=None) for item in run.items]
    assert "No test case has a paired reference image" in suspicious_patches(run).missing


def test_the_same_seed_gives_the_same():
    first = suspicious_patches(run_of(Faithful()), planted=60)
    assert [e.measurement for e in first.estimates] == [e.measurement for e in measured(Faithful()).estimates]


@pytest.mark.parametrize(
    "options", [{"window": "hamming"}, {"patch_px": 4}, {"stride_px": 0}, {"stride_px": 40}, {"min_body": 1.5}]
)
def test_parameters_that_scan_nothing_are_refused(options):
    with pytest.raises(ConfigurationError, match="PAT-004"):
        suspicious_patches(run_of(Faithful(), people=4), **options)


@given(st.integers(20, 300), st.floats(0.01, 0.3), st.integers(0, 1000))
def test_property_no_more_than_the_stated_share_of_clean_patches_is_flagged(n, rate, seed):
    g = np.random.default_rng(seed)
    correlation = np.sort(g.random((n, 8)), axis=1)[:, ::-1]
    clean = RingCorrelation(np.arange(8) / 8, correlation)
    rule = calibrated(clean, [], (0.75, 0.5), rate)
    if rule is None:
        assert n + 1 < 1 / rate
    else:
        assert rule.flags(clean).sum() <= rate * (n + 1)


def test_the_threshold_that_sees_most_defects_is_taken():
    g = np.random.default_rng(0)
    x = g.standard_normal((300, 16, 16))
    clean = frc(x + 0.2 * g.standard_normal(x.shape), x)
    defect = frc(x + 0.6 * g.standard_normal(x.shape), x)
    rules = {y: calibrated(clean, [defect], (y,), 0.05) for y in (0.5, 0.9)}
    seen = {y: rule.flags(defect).mean() for y, rule in rules.items()}
    assert seen[0.9] > seen[0.5]
    assert calibrated(clean, [defect], (0.5, 0.9), 0.05) == rules[0.9]


def test_a_patch_is_flagged_below_the_cutoff_only():
    found = RingCorrelation(np.array([0.0, 0.5, 0.75]), np.array([[1.0, 0.9, 0.1], [1.0, 0.1, 0.1]]))
    at = crossing(found, 0.5)
    assert list(Rule(0.5, float(at[0])).flags(found)) == [False, True]
