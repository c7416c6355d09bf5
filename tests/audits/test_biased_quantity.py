"""INT-002 on planted changes of what is read from an image."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits import HEADINGS
from medgan_qa.audits._read_quantities import patient_means
from medgan_qa.audits._stored import Scale
from medgan_qa.audits.biased_quantity import biased_quantity
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Attenuate, Constant, Erase, Faithful, planted_translator
from medgan_qa.controls.intensity import ChestSlices, EnlargeFluid, Mild, Recalibrate
from medgan_qa.engines import LocalEngine

HU = ChestSlices.value_range
BRAIN = ("body area", "dark area", "lesion area")
CHEST = ("body area", "lung area", "fat area", "soft tissue area", "bone area", "lesion area")


@cache
def cohort(kind, people):
    data = ChestSlices(people) if kind == "chest" else BrainPhantoms(people=people, size=int(kind))
    # The same images serve many runs; drawing them is what takes the time.
    data.load = cache(data.load)
    return data


@cache
def audited(defect, kind="64", people=24, seed=0):
    data = cohort(kind, people)
    return biased_quantity(TranslationRun(planted_translator(data, defect, seed), data, None, LocalEngine(), seed))


def relative(findings, value_of, name):
    return value_of(findings, f"INT-002.relative_bias[{name}]")


@pytest.mark.parametrize(("kind", "pixels"), [("64", 0.25), ("64", 0.5), ("128", 0.5)])
def test_positive_control_enlarged_ventricles_are_found_and_nothing_else(value_of, kind, pixels):
    findings = audited(EnlargeFluid(pixels), kind)

    assert relative(findings, value_of, "dark area").interval.low > 0.1
    assert value_of(findings, "INT-002.bias[dark area]").interval.low > 0
    assert value_of(findings, "INT-002.bias[dark share]").interval.low > 0
    assert relative(findings, value_of, "body area").value == pytest.approx(0.0, abs=0.002)
    assert relative(findings, value_of, "lesion area").value == pytest.approx(0.0, abs=0.01)


def test_more_growth_is_more_bias(value_of):
    found = [relative(audited(EnlargeFluid(p)), value_of, "dark area").value for p in (0.0, 0.25, 0.5)]

    assert found[0] == 0.0
    assert found == sorted(found)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positive_control_removed_lesions_have_no_area(value_of, seed):
    findings = audited(Erase(), seed=seed)

    assert relative(findings, value_of, "lesion area").interval.high < -0.9
    assert value_of(findings, "INT-002.proportional_slope[lesion area]").interval.high < -1.5
    assert value_of(findings, "INT-002.bias[lesion mean]").interval.high < -0.2
    assert relative(findings, value_of, "dark area").value == pytest.approx(0.0, abs=0.01)


def test_positive_control_faint_lesions_have_a_lower_mean(value_of):
    assert value_of(audited(Attenuate(kept=0.5)), "INT-002.bias[lesion mean]").interval.high < -0.1


def test_positive_control_an_offset_in_hu_moves_fat_to_soft_tissue(value_of):
    findings = audited(Recalibrate(1.0, 90.0, HU), "chest")

    assert relative(findings, value_of, "fat area").interval.high < -0.1
    assert relative(findings, value_of, "soft tissue area").interval.low > 0.1
    mean = value_of(findings, "INT-002.bias[lesion mean]")
    assert mean.unit == "HU"
    assert mean.value == pytest.approx(90.0, abs=0.1)


@pytest.mark.parametrize(("kind", "names"), [("64", BRAIN), ("chest", CHEST)])
@pytest.mark.parametrize("seed", [0, 1])
def test_negative_control_n1_is_clean(value_of, kind, names, seed):
    findings = audited(Faithful(noise=0.01 if kind == "64" else 0.004), kind, seed=seed)

    for name in names:
        m = relative(findings, value_of, name)
        assert -0.02 < m.interval.low <= m.interval.high < 0.02


def test_identity_agrees_without_any_difference(value_of):
    findings = audited(Faithful(noise=0.0))

    for name in BRAIN:
        held = [value_of(findings, f"INT-002.{m}[{name}]") for m in ("bias", "limit_low", "limit_high")]
        assert [m.value for m in held] == [0.0] * 3


@pytest.mark.parametrize("defect", [Mild(0.7, 0.0, 0.0), Mild(0.0, 0.5, 0.0), Mild(0.0, 0.0, 0.01), Mild()], ids=str)
@pytest.mark.parametrize(("kind", "names"), [("128", BRAIN), ("chest", CHEST)])
def test_negative_control_n2_is_clean(value_of, defect, kind, names):
    findings = audited(defect, kind)

    for name in names:
        m = relative(findings, value_of, name)
        assert -0.1 < m.interval.low <= m.interval.high < 0.1


def test_small_n_has_values_and_no_bounds(value_of):
    findings = audited(Faithful(), people=6)

    bias = value_of(findings, "INT-002.bias[body area]")
    assert bias.value is not None
    assert bias.interval.low is bias.interval.high is None
    assert "fewer than 8" in bias.interval.method


def test_patients_and_not_slices_are_the_units(value_of):
    assert value_of(audited(Faithful()), "INT-002.bias[body area]").n == 24
    # three patients in four have a lesion
    assert value_of(audited(Faithful()), "INT-002.bias[lesion mean]").n == 18


def test_a_constant_output_has_no_body(value_of):
    findings = audited(Constant(0.0))

    assert relative(findings, value_of, "body area").value == -1.0


def test_every_quantity_is_plotted_with_its_limits(value_of):
    findings = audited(Recalibrate(0.9))

    shown = next(e for e in findings.exhibits if e.id == "INT-002-body-area")
    assert shown.kind == "scatter"
    assert [line["label"] for line in shown.data["lines"]] == ["+1.96 sd", "bias", "-1.96 sd"]
    assert shown.data["lines"][1]["y"] == pytest.approx(value_of(findings, "INT-002.bias[body area]").value)
    assert len(shown.data["points"]) == 24
    assert [row["case_id"] for row in findings.rows] == [c.case_id for c in cohort("64", 24).cases]
    paragraphs = [text.strip() for text in biased_quantity.__doc__.split("\n\n")[1:]]
    assert [next(h for h in HEADINGS if p.startswith(h)) for p in paragraphs] == list(HEADINGS)


def test_without_references_it_does_not_apply():
    data = cohort("64", 4)
    run = TranslationRun(planted_translator(data, Faithful()), data, None, LocalEngine(), 0)
    run.__dict__["paired"] = []

    assert "reference" in biased_quantity(run).not_applicable


class _Case:
    def __init__(self, patient):
        self.patient_id = patient


class _Item:
    def __init__(self, patient):
        self.case = _Case(patient)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("abcd"), st.floats(1, 9), st.floats(1, 9)), min_size=1, max_size=20))
def test_property_every_patient_weighs_the_same_however_many_slices_it_has(rows):
    items = [_Item(patient) for patient, _, _ in rows]
    values = [{"body area": (output, reference)} for _, output, reference in rows]
    [once] = patient_means(items, values, Scale("unit range", (0.0, 1.0)))
    [twice] = patient_means(items * 2, values * 2, Scale("unit range", (0.0, 1.0)))

    assert once.agreement.n == len({patient for patient, _, _ in rows})
    np.testing.assert_allclose(twice.agreement.difference, once.agreement.difference)


def test_the_bound_of_the_relative_bias_covers_with_two_slices_a_patient():
    hits = 0
    for seed in range(300):
        g = np.random.default_rng(seed)
        size = g.uniform(50, 150, 20)
        own = 8 * g.standard_normal(20)
        values = [{"body area": (1.1 * size[k // 2] + own[k // 2] + g.normal(0, 3), size[k // 2])} for k in range(40)]
        items = [_Item(str(k // 2)) for k in range(40)]
        [held] = patient_means(items, values, Scale("unit range", (0.0, 1.0)))
        hits += held.agreement.relative_interval(0.05).high >= 0.1

    # 95 % nominal; three standard errors of 300 draws are 3.8 points
    assert 0.91 < hits / 300 < 0.99
