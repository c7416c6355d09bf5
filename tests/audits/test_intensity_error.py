"""INT-001 on planted errors of intensity, in unit range and in HU."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits import HEADINGS
from medgan_qa.audits._stored import scale_of
from medgan_qa.audits._tissue_error import Sums, errors_of
from medgan_qa.audits.contrast_recovery import contrast_recovery
from medgan_qa.audits.intensity_error import intensity_error
from medgan_qa.audits.removed_pathology import removed_pathology
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Constant, Erase, Faithful, Insert, ThresholdDetector, planted_translator
from medgan_qa.controls.intensity import ChestSlices, Gamma, Mild, Recalibrate, TissueOffset
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError

SLOPE = (0.93, 1.07)
HU = ChestSlices.value_range


@cache
def cohort(kind, people):
    data = ChestSlices(people) if kind == "chest" else BrainPhantoms(people=people, size=int(kind))
    # The same images serve many runs; drawing them is what takes the time.
    data.load = cache(data.load)
    return data


@cache
def run_of(defect, kind="64", people=24, seed=0, detector=False):
    data = cohort(kind, people)
    reader = ThresholdDetector().subject() if detector else None
    return TranslationRun(planted_translator(data, defect, seed), data, reader, LocalEngine(), seed)


@cache
def audited(defect, kind="64", people=24, seed=0):
    return intensity_error(run_of(defect, kind, people, seed))


def clean(findings, value_of):
    """The slope's whole interval within 7 %, and at least 80 % of the patients within tolerance, by the lower bound."""
    slope, share = (value_of(findings, f"INT-001.{name}") for name in ("slope", "within_tolerance"))
    return SLOPE[0] <= slope.interval.low <= slope.interval.high <= SLOPE[1] and share.interval.low >= 0.8


def flagged(findings, value_of):
    """The slope's whole interval beyond 7 %, or fewer than 80 % of patients within tolerance by the upper bound."""
    slope, share = (value_of(findings, f"INT-001.{name}") for name in ("slope", "within_tolerance"))
    beyond = slope.interval.high < SLOPE[0] or slope.interval.low > SLOPE[1]
    return beyond or share.interval.high < 0.8


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("scale", [0.9, 1.1])
def test_positive_control_a_scaled_output_shows_in_the_slope(value_of, seed, scale):
    findings = audited(Recalibrate(scale), seed=seed)

    slope, offset = value_of(findings, "INT-001.slope"), value_of(findings, "INT-001.offset")
    assert slope.value == pytest.approx(scale, abs=1e-4)
    assert offset.value == pytest.approx(0.0, abs=1e-4)
    assert flagged(findings, value_of)


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 50.0), (0.9, 0.0), (0.9, 50.0)])
def test_positive_control_an_error_in_hu_is_found_in_hu(value_of, scale, offset):
    findings = audited(Recalibrate(scale, offset, HU), "chest")

    at_zero, slope = value_of(findings, "INT-001.offset"), value_of(findings, "INT-001.slope")
    assert at_zero.unit == "HU"
    assert at_zero.value == pytest.approx(offset, abs=0.05)
    assert slope.value == pytest.approx(scale, abs=1e-4)
    soft = value_of(findings, "INT-001.bias[soft tissue]")
    assert soft.value == pytest.approx(offset + (scale - 1) * 45, abs=1.0)
    assert flagged(findings, value_of)


def test_positive_control_a_gamma_shows_in_the_classes(value_of):
    findings = audited(Gamma(1.3))

    # 0.38 to the power of 1.3 is 0.096 less
    assert value_of(findings, "INT-001.bias[bright]").value == pytest.approx(-0.095, abs=0.005)
    assert flagged(findings, value_of)


def test_positive_control_an_offset_in_one_tissue_is_found_in_that_tissue_only(value_of):
    fat = tuple((value - HU[0]) / (HU[1] - HU[0]) for value in (-190.0, -30.0))
    findings = audited(TissueOffset(fat, 40 / (HU[1] - HU[0])), "chest")

    assert value_of(findings, "INT-001.bias[fat]").value == pytest.approx(40, abs=2)
    assert value_of(findings, "INT-001.within_tolerance[fat]").value == 0.0
    for other in ("lung", "soft tissue", "bone"):
        assert value_of(findings, f"INT-001.bias[{other}]").value == pytest.approx(0.0, abs=0.5)
        assert value_of(findings, f"INT-001.within_tolerance[{other}]").value == 1.0
    assert flagged(findings, value_of)


@pytest.mark.parametrize("kind", ["64", "chest"])
@pytest.mark.parametrize("seed", [0, 1])
def test_negative_control_n1_is_clean(value_of, kind, seed):
    for defect in (Faithful(noise=0.0), Faithful(noise=0.01 if kind == "64" else 0.004)):
        findings = audited(defect, kind, seed=seed)
        assert clean(findings, value_of)
        assert value_of(findings, "INT-001.slope").value == pytest.approx(1.0, abs=0.005)


@pytest.mark.parametrize("defect", [Mild(0.7, 0.0, 0.0), Mild(0.0, 0.5, 0.0), Mild(0.0, 0.0, 0.01), Mild()], ids=str)
@pytest.mark.parametrize("kind", ["128", "64", "chest"])
def test_negative_control_n2_is_clean(value_of, defect, kind):
    assert clean(audited(defect, kind), value_of)


def test_removed_and_invented_lesions_are_no_error_of_intensity(value_of):
    assert clean(audited(Erase()), value_of)
    assert clean(audited(Insert()), value_of)
    assert value_of(audited(Erase()), "INT-001.slope").value == 1.0


def test_an_offset_leaves_the_lesion_audits_as_they_are(value_of):
    run = run_of(Recalibrate(1.0, 50 / (HU[1] - HU[0])), people=60, detector=True)

    assert value_of(removed_pathology(run), "PAT-001.removal_rate").value == 0.0
    assert value_of(contrast_recovery(run), "PAT-003.contrast_recovery").value == pytest.approx(1.0, abs=1e-4)
    scaled = value_of(contrast_recovery(run_of(Recalibrate(0.9))), "PAT-003.contrast_recovery")
    assert scaled.value == pytest.approx(0.9, abs=1e-4)


def test_a_constant_output_has_no_slope_and_no_correlation(value_of):
    findings = audited(Constant(0.5))

    assert value_of(findings, "INT-001.slope").value == 0.0
    assert value_of(findings, "INT-001.correlation").value == 0.0
    assert flagged(findings, value_of)


def test_small_n_gives_no_bound_that_could_pass(value_of):
    findings = audited(Faithful(), people=4)

    slope = value_of(findings, "INT-001.slope")
    assert slope.value is not None
    assert slope.interval.low is slope.interval.high is None
    assert value_of(findings, "INT-001.within_tolerance").interval.low < 0.5


def test_classes_depend_on_the_references_alone():
    assert audited(Constant(0.5)).notes[0] == audited(Faithful()).notes[0] == audited(Recalibrate(0.9)).notes[0]


def test_rows_exhibits_and_docstring_are_in_form():
    findings = audited(Recalibrate(0.9, 50.0, HU), "chest")

    assert [row["case_id"] for row in findings.rows] == [c.case_id for c in cohort("chest", 24).cases]
    assert {row["status"] for row in findings.rows} == {"measured"}
    assert findings.excluded == {}
    assert [e.kind for e in findings.exhibits] == ["scatter", "forest", "panels"]
    paragraphs = [text.strip() for text in intensity_error.__doc__.split("\n\n")[1:]]
    assert [next(h for h in HEADINGS if p.startswith(h)) for p in paragraphs] == list(HEADINGS)


def test_without_references_it_does_not_apply():
    run = run_of(Faithful(), people=4)
    bare = TranslationRun(run.subject, run.cohort, None, LocalEngine(), 0)
    bare.__dict__["paired"] = []

    assert "reference" in intensity_error(bare).not_applicable


def test_parameters_that_cannot_be_used_are_refused():
    for wrong in ({"classes": 9}, {"tolerance": 0.0}, {"edge_px": -1}):
        with pytest.raises(ConfigurationError):
            intensity_error(run_of(Faithful(), people=4), **wrong)


@pytest.mark.parametrize(
    ("value_range", "unit", "expected"),
    [
        ((-1024.0, 3000.0), "auto", "HU"),
        ((-50.0, 150.0), "auto", "unit range"),
        ((0.0, 4095.0), "auto", "unit range"),
        ((0.0, 4095.0), "ms", "ms"),
        ((-1024.0, 3000.0), "unit range", "unit range"),
    ],
)
def test_unit_follows_the_value_range_unless_it_is_named(value_range, unit, expected):
    data = ChestSlices(1)
    data.value_range = value_range

    scale = scale_of(data, unit)

    assert scale.unit == expected
    assert scale.span == (1.0 if expected == "unit range" else value_range[1] - value_range[0])


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40), st.integers(1, 39))
def test_property_errors_do_not_depend_on_how_pixels_are_split_into_slices(errors, cut):
    def sums(e):
        return Sums(len(e), 0.0, float(e.sum()), float(np.abs(e).sum()), float(e @ e))

    whole = np.array(errors)
    parts = [sums(part) for part in (whole[:cut], whole[cut:])]
    joined = errors_of(Sums(*(sum(column) for column in zip(*parts, strict=True))))

    assert joined["bias"] == pytest.approx(whole.mean(), abs=1e-9)
    assert joined["spread"] == pytest.approx(whole.std(), abs=1e-6)
    assert abs(joined["bias"]) <= joined["absolute_error"] + 1e-12
