"""GEO-001 on planted faults of place of known size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.audits.catalogue import HEADINGS
from medgan_qa.audits.displaced_anatomy import _share, displaced_anatomy
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Constant, Faithful, planted_translator
from medgan_qa.controls.geometry import Displace, Distort, Flip, Wrap
from medgan_qa.engines import LocalEngine

SIZE, MM = 128, 224 / 128


@dataclass(frozen=True)
class Mild:
    """Blur of 0.7 pixels, a shift of a third of a pixel, noise of 1 %."""

    name: str = "mild"

    def apply(self, reference, lesion, g):
        moved = ndimage.shift(ndimage.gaussian_filter(reference, 0.7), (0.3, -0.2), order=1)
        return (moved + 0.01 * g.standard_normal(reference.shape)).astype(np.float32)


def first_reference_moved(case, images):
    """Source and reference of the first case do not lie on each other."""
    if case.case_id != phantoms(4).cases[0].case_id:
        return images
    return replace(images, target=np.roll(images.target, 8, axis=2))


@cache
def phantoms(people: int) -> BrainPhantoms:
    return BrainPhantoms(size=SIZE, people=people)


@cache
def found(defect, people: int = 4, seed: int = 0, **parameters):
    cohort = phantoms(people)
    run = TranslationRun(planted_translator(cohort, defect, seed), cohort, None, LocalEngine(), seed)
    return displaced_anatomy(run, **parameters)


def value(findings, name):
    return next(e.measurement for e in findings.estimates if e.measurement.id == f"GEO-001.{name}")


@pytest.mark.parametrize("millimetres", [3.0, 6.0, 10.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positive_control_a_displacer_is_found_and_measured(millimetres, seed, value_of):
    findings = found(Displace(millimetres, MM), people=3, seed=seed)

    assert value(findings, "displaced_rate").value == 1.0
    assert value(findings, "misplaced_rate").value == 1.0
    assert value(findings, "displacement_mm").value == pytest.approx(millimetres, abs=0.2)
    assert value(findings, "lesion_shift_mm").value == pytest.approx(millimetres, abs=0.3)
    assert value(findings, "flipped_rate").value == 0.0
    assert value(findings, "displacement_mm[real pairs]").value < 0.2


@pytest.mark.parametrize(("axes", "name"), [((1,), "flip left-right"), ((0,), "flip up-down"), ((0, 1), "rotate 180")])
def test_positive_control_a_flip_is_found_and_named(axes, name):
    findings = found(Flip(axes))

    flipped = value(findings, "flipped_rate")
    assert flipped.value == 1.0
    assert flipped.n >= 7
    assert sum(row["orientation"] == name for row in findings.rows) >= 7
    assert any(name in note for note in findings.notes)


def test_positive_control_a_cyclic_shift_is_named_apart_from_a_plain_one():
    wrapped, moved = found(Wrap((0.0, 0.33))), found(Displace(10.0, MM))

    assert value(wrapped, "wrapped_rate").value == 1.0
    assert value(moved, "wrapped_rate").value == 0.0
    assert value(moved, "displaced_rate").value == 1.0


@pytest.mark.parametrize("scale", [1.03, 1.1])
def test_positive_control_another_size_is_found_and_measured(scale):
    findings = found(Distort(scale))

    assert value(findings, "scaled_rate").value == 1.0
    assert value(findings, "displaced_rate").value == 0.0
    assert value(findings, "scale_error").value == pytest.approx(scale - 1, abs=0.003)


@pytest.mark.parametrize("defect", [Faithful(), Faithful(noise=0.0), Mild()])
@pytest.mark.parametrize("seed", [0, 1])
def test_negative_controls_lie_in_place(defect, seed):
    findings = found(defect, seed=seed)

    assert {row["status"] for row in findings.rows} == {"in place"}
    assert value(findings, "misplaced_rate").value == 0.0
    assert value(findings, "displacement_mm").value < 0.7
    assert not findings.excluded


def test_a_dose_is_counted_case_by_case():
    findings = found(Flip(dose=0.5), people=8, seed=3)

    k = sum("flip" in row["status"] for row in findings.rows)
    m = value(findings, "flipped_rate")
    assert 2 <= k <= 14
    assert m.value == k / m.n
    assert m.interval.low < m.value < m.interval.high


def test_small_n_has_a_wide_bound_and_no_bound_on_the_median():
    findings = found(Faithful(), people=3)

    assert value(findings, "misplaced_rate").interval.high > 0.3
    assert value(findings, "displacement_mm").interval.high is None


def test_an_output_without_structure_is_misplaced_and_has_no_displacement():
    findings = found(Constant())

    assert value(findings, "not_placed_rate").value == 1.0
    assert value(findings, "misplaced_rate").value == 1.0
    assert value(findings, "displacement_mm").value is None
    assert value(findings, "displaced_rate").value is None
    assert value(findings, "flipped_rate").value is None


def test_without_references_the_source_is_what_counts(unpaired):
    cohort = unpaired(phantoms(4))
    run = TranslationRun(planted_translator(cohort, Displace(6.0, MM)), cohort, None, LocalEngine(), 0)
    findings = displaced_anatomy(run)

    assert {row["against"] for row in findings.rows} == {"source"}
    assert value(findings, "displaced_rate").value == 1.0
    assert value(findings, "displacement_mm[real pairs]").value is None


def test_a_case_whose_real_images_do_not_lie_on_each_other_is_left_out(altered):
    cohort = altered(phantoms(4), first_reference_moved)
    run = TranslationRun(planted_translator(cohort, Faithful()), cohort, None, LocalEngine(), 0)
    findings = displaced_anatomy(run)

    assert findings.excluded == {cohort.cases[0].case_id: "source and reference do not lie on each other"}
    assert value(findings, "unusable_pairs").value == 1
    assert value(findings, "misplaced_rate").n == 7


def test_tiny_images_are_left_out_with_their_reason():
    cohort = BrainPhantoms(size=24, people=2)
    run = TranslationRun(planted_translator(cohort, Faithful()), cohort, None, LocalEngine(), 0)
    findings = displaced_anatomy(run)

    assert len(findings.excluded) == 4
    assert "No real pair can be placed" in findings.not_applicable
    assert not any(e.kind == "panels" for e in findings.exhibits)


def test_limits_are_parameters():
    assert value(found(Displace(3.0, MM), people=2, limit_mm=4.0), "displaced_rate").value == 0.0
    assert value(found(Displace(3.0, MM), people=2, limit_px=2.0), "displaced_rate").value == 0.0
    assert value(found(Distort(1.03), people=2, scale_limit=0.05), "scaled_rate").value == 0.0


def test_the_worst_case_stands_first():
    findings = found(Displace(10.0, MM, dose=0.4), people=5, seed=1)

    panel = next(e for e in findings.exhibits if e.kind == "panels")
    assert [case["rule"] for case in panel.data["cases"]] == ["worst"] * 6 + ["random"] * 3
    assert panel.data["cases"][0]["label"].startswith("displaced, 10")
    assert {e.kind for e in findings.exhibits} == {"panels", "forest", "scatter"}


def test_document_has_the_headings():
    text = [line.strip() for line in displaced_anatomy.__doc__.splitlines()]
    assert [h for line in text for h in HEADINGS if line.startswith(h)] == list(HEADINGS)


def test_the_bounds_of_a_rate_cover_it_with_cases_that_share_a_patient():
    g = np.random.default_rng(0)
    rate, runs = 0.3, 150
    covered = np.zeros(2)
    for _ in range(runs):
        tendency = np.repeat(g.beta(0.6, 1.4, 30), 3)
        events = g.random(90) < tendency
        units = [
            SimpleNamespace(item=SimpleNamespace(case=SimpleNamespace(patient_id=str(k // 3), case_id=str(k))), hit=hit)
            for k, hit in enumerate(events)
        ]
        interval = _share("displaced_rate", "", units, lambda p: bool(p.hit), None).measurement.interval
        covered += (interval.low <= rate, rate <= interval.high)
    assert (covered / runs >= 0.92).all()


@given(rows=st.integers(-20, 20), columns=st.integers(-20, 20))
@settings(max_examples=6)
def test_property_a_case_is_displaced_exactly_when_it_moved_beyond_both_limits(rows, columns):
    @dataclass(frozen=True)
    class Roll:
        name: str = "roll"

        def apply(self, reference, lesion, g):
            return np.roll(reference, (rows, columns), axis=(0, 1))

    cohort = phantoms(1)
    run = TranslationRun(planted_translator(cohort, Roll()), cohort, None, LocalEngine(), 0)
    length = np.hypot(rows, columns)
    if 0 < length < 1.5:
        return
    assert value(displaced_anatomy(run), "displaced_rate").value == float(length * MM > 2.0 and length > 1)
