"""INT-003 on planted super-resolvers: what a detector and classes of intensity make of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits import HEADINGS, downstream_segmentation
from medgan_qa.audits._downstream_measures import lesions_of, patient_areas
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.cohorts.phantom import THICK_SLICES, BrainTruths
from medgan_qa.controls import ThresholdDetector
from medgan_qa.controls.super_resolvers import (
    Erased,
    Rescaled,
    Smoothed,
    Truthful,
    Upsampled,
    planted_super_resolver,
)
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.runner import run_audit
from medgan_qa.suites import suite

KINDS = {"twofold": {}, "thick": {"scale": (3, 1), "degradation": THICK_SLICES}}
IMAGES = ("truth", "model", "bicubic", "nearest")


@cache
def cohort(kind, people):
    data = BrainTruths(people=people, size=72, **KINDS[kind])
    # The same images serve many runs; drawing them is what takes the time.
    data.load = cache(data.load)
    return data


@cache
def run_of(defect, kind="twofold", people=16, seed=0, level=0.56):
    data = cohort(kind, people)
    detector = None if level is None else ThresholdDetector(level).subject()
    return SuperResolutionRun(planted_super_resolver(data, defect, seed=seed), data, detector, LocalEngine(), seed)


@cache
def audited(defect, kind="twofold", people=16, seed=0, level=0.56):
    return downstream_segmentation(run_of(defect, kind, people, seed, level))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positive_control_erased_lesions_are_not_segmented(value_of, seed):
    findings = audited(Erased(), seed=seed)

    assert value_of(findings, "INT-003.dice[model]").value == 0.0
    assert value_of(findings, "INT-003.dice_gain").interval.high < -0.5
    assert value_of(findings, "INT-003.area_relative_bias[lesion]").value == -1.0
    assert value_of(findings, "INT-003.tissue_dice_gain").interval.low > 0


@pytest.mark.parametrize("kind", KINDS)
def test_positive_control_a_blur_costs_tissue(value_of, kind):
    findings = audited(Smoothed(), kind)

    assert value_of(findings, "INT-003.tissue_dice_gain").interval.high < -0.05
    # The ventricles fill up and the thin dark layer around them swells.
    assert abs(value_of(findings, "INT-003.area_relative_bias[dark]").value) > 0.1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_negative_control_a_faithful_model_is_segmented_as_the_truth_is(value_of, kind, seed):
    findings = audited(Truthful(), kind, seed=seed)

    own, model = (value_of(findings, f"INT-003.dice[{i}]") for i in ("truth", "model"))
    assert model.value == pytest.approx(own.value, abs=0.03)
    assert value_of(findings, "INT-003.dice_gain").interval.low > -0.02
    assert value_of(findings, "INT-003.tissue_dice_gain").interval.low > 0.02
    assert value_of(findings, "INT-003.tissue_dice[model]").interval.low > 0.85
    bias = value_of(findings, "INT-003.area_relative_bias[lesion]")
    assert -0.2 < bias.interval.low <= bias.interval.high < 0.2


def test_bicubic_against_itself_gains_nothing(value_of):
    findings = audited(Upsampled(smooth=True))

    for name in ("dice", "tissue_dice"):
        gain = value_of(findings, f"INT-003.{name}_gain")
        assert gain.value == gain.interval.low == gain.interval.high == 0.0
        assert (
            value_of(findings, f"INT-003.{name}[model]").value == value_of(findings, f"INT-003.{name}[bicubic]").value
        )


def test_repeated_pixels_lose_against_bicubic(value_of):
    assert value_of(audited(Upsampled(smooth=False)), "INT-003.tissue_dice_gain").interval.high < 0


def test_brighter_tissue_moves_between_classes(value_of):
    findings = audited(Rescaled(1.3))

    assert value_of(findings, "INT-003.area_relative_bias[brightest]").interval.low > 0.1
    assert value_of(findings, "INT-003.tissue_dice_gain").interval.high < 0.2


def test_invented_marks_are_counted_in_lesion_free_cases(value_of):
    findings = audited(Rescaled(2.0))

    assert value_of(findings, "INT-003.unmarked_rate[truth]").value == 1.0
    assert value_of(findings, "INT-003.unmarked_rate[model]").interval.high < 0.7


def test_a_blind_detector_says_nothing_and_tissue_is_still_measured(value_of):
    findings = audited(Truthful(), level=99.0)

    assert value_of(findings, "INT-003.dice[truth]").value == 0.0
    for name in ("dice_gain", "dice[model]", "dice[bicubic]", "unmarked_rate[model]"):
        m = value_of(findings, f"INT-003.{name}")
        assert m.value is None
        assert "not shown to segment" in m.reason
    assert not any("[lesion]" in e.measurement.id for e in findings.estimates)
    assert value_of(findings, "INT-003.tissue_dice_gain").value is not None
    assert findings.missing is None
    assert "not shown to segment" in findings.notes[0]


def test_a_detector_that_marks_healthy_images_says_nothing(value_of):
    run = run_of(Truthful(noise=0.02))
    detector = run.detector

    def eager(x, seed):
        logits = detector.network(x, seed)
        logits[..., :2, :2] = 1.0
        return logits

    marked = SuperResolutionRun(run.subject, run.cohort, replace(detector, network=eager), LocalEngine(), 0)
    findings = downstream_segmentation(marked)

    assert value_of(findings, "INT-003.dice[truth]").value > 0.7
    assert "100%" in value_of(findings, "INT-003.dice_gain").reason
    allowed = downstream_segmentation(marked, detector_false_alarm_max=1.0)
    assert value_of(allowed, "INT-003.dice_gain").value is not None
    # Four marked pixels are no mark where five are asked for.
    assert value_of(downstream_segmentation(marked, min_lesion_pixels=5), "INT-003.unmarked_rate[truth]").value == 1.0


def test_without_a_detector_there_is_tissue_only(value_of):
    findings = audited(Truthful(), level=None)

    assert findings.missing is None
    assert "--detector" in value_of(findings, "INT-003.dice_gain").reason
    assert any("--detector" in note for note in findings.notes)
    assert value_of(findings, "INT-003.tissue_dice_gain").interval.low > 0
    assert "dice_model" not in findings.rows[0]


def test_a_detector_of_other_channels_is_not_given_interpolated_inputs(value_of):
    run = run_of(Truthful(noise=0.015))
    assert run.readings
    detector = run.detector
    run.detector = replace(detector, card=replace(detector.card, channels_in=3))
    findings = downstream_segmentation(run)
    run.detector = detector

    assert value_of(findings, "INT-003.dice[model]").value > 0.7
    assert "other channels" in value_of(findings, "INT-003.dice_gain").reason


def test_small_n_has_values_and_no_bounds(value_of):
    findings = audited(Truthful(), people=5)

    gain, bias = (value_of(findings, f"INT-003.{n}") for n in ("tissue_dice_gain", "area_bias[dark]"))
    for m in (gain, bias):
        assert m.value is not None
        assert m.interval.low is m.interval.high is None


def test_tables_and_figures_hold_every_image():
    findings = audited(Truthful())

    shown = {e.id: e for e in findings.exhibits}
    assert shown["INT-003-table"].data["columns"] == ["measure", *IMAGES, "annotated"]
    rows = {row[0]: row[1:] for row in shown["INT-003-table"].data["rows"]}
    assert len(rows["Dice of lesions"]) == len(rows["Dice of tissue"]) == len(rows["Area of tissue, dark"]) == 5
    labels = {row["label"] for row in shown["INT-003-dice"].data["rows"]}
    assert labels == {f"lesions, {i}" for i in IMAGES} | {f"tissue, {i}" for i in IMAGES[1:]}
    assert {p["group"] for p in shown["INT-003-lesion"].data["points"]} == {"model", "truth"}
    assert {p["group"] for p in shown["INT-003-dark"].data["points"]} == {"model"}
    assert "reading" in findings.arrays["exhibits/INT-003-cases.npz"]
    assert [row["case_id"] for row in findings.rows] == [c.case_id for c in cohort("twofold", 16).cases]
    paragraphs = [text.strip() for text in downstream_segmentation.__doc__.split("\n\n")[1:]]
    assert [next(h for h in HEADINGS if p.startswith(h)) for p in paragraphs] == list(HEADINGS)


def test_without_truths_it_does_not_apply():
    assert "true image" in downstream_segmentation(SimpleNamespace(paired=[])).not_applicable


@pytest.mark.parametrize(
    "bad", [{"classes": 9}, {"lesion_margin_px": -1}, {"dice_min": 1.0}, {"detector_false_alarm_max": 1.5}]
)
def test_parameters_out_of_range_are_refused(bad):
    with pytest.raises(ConfigurationError, match="INT-003"):
        downstream_segmentation(run_of(Truthful()), **bad)


def test_areas_and_overlap_of_a_case_by_hand():
    lesion, marks = np.zeros((6, 6), bool), np.zeros((6, 6), bool)
    lesion[0, :4] = marks[0, 2:6] = True
    item = SimpleNamespace(lesion=lesion, spacing_mm=(3.0, 0.5))
    found = lesions_of(item, {"model": marks, "truth": np.zeros((6, 6), bool)}, 3)

    assert found.dice == {"model": 0.5, "truth": 0.0}
    assert found.area == {"model": 6.0, "truth": 0.0, "annotated": 6.0}
    assert found.marked == {"model": True, "truth": False}


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(0, 9), st.floats(0, 9)), min_size=1, max_size=20))
def test_property_every_patient_weighs_the_same_however_many_slices_it_has(rows):
    items = [
        SimpleNamespace(case=SimpleNamespace(case_id=str(k), patient_id=p))
        for k, (p, _, _) in enumerate(rows + rows[:1] * 3)
    ]
    values = [{str(k): row[at] for k, row in enumerate(rows + rows[:1] * 3)} for at in (1, 2)]
    names, output, reference = patient_areas(items, *values)

    assert sorted(names) == sorted({p for p, _, _ in rows})
    for name, a, b in zip(names, output, reference, strict=True):
        own = [row for row in rows + rows[:1] * 3 if row[0] == name]
        assert a == pytest.approx(np.mean([r[1] for r in own]))
        assert b == pytest.approx(np.mean([r[2] for r in own]))


def test_the_suite_judges_a_blur_by_its_tissue_and_reports_its_frequencies():
    run, declared = run_of(Smoothed()), suite("super-resolution")
    only = replace(declared, audits=tuple(a for a in declared.audits if a.code in ("FID-011", "INT-003")))
    result = run_audit(run.subject, run.cohort, only, only.criteria, detector=run.detector, engine=LocalEngine())

    audits = {a.code: a for a in result.record.audits}
    assert audits["INT-003"].verdict == "fail"
    assert "AC-07" in audits["INT-003"].reason
    [reported] = audits["FID-011"].criteria
    assert (reported.verdict, reported.severity) == ("pass", "report")
    assert audits["FID-011"].verdict == "not_applicable"
