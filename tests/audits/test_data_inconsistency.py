"""CON-001 on planted super-resolvers: what contradicts the input is found, what agrees with it is let pass."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits import AUDITS, data_inconsistency
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.cohorts.cohort import CaseImages
from medgan_qa.cohorts.phantom import THICK_SLICES, BrainPhantoms, BrainTruths
from medgan_qa.controls.super_resolvers import (
    Consistent,
    Erased,
    NullTexture,
    Rescaled,
    Smoothed,
    Truthful,
    Upsampled,
    planted_super_resolver,
)
from medgan_qa.engines import LocalEngine
from medgan_qa.metrics.degradation import declared
from medgan_qa.metrics.upsampling import repeated

KINDS = {
    "twofold": {},
    "thick": {"scale": (3, 1), "degradation": THICK_SLICES},
    "noiseless": {"degradation": {"profile": "point"}},
    "lines": {"scale": (1, 1), "degradation": {"kspace": {"kept": 0.5}, "noise_sd": 0.01}},
    "region": {"scale": (1, 1), "degradation": {"missing": {"box": [0.4, 0.4, 0.6, 0.6]}, "noise_sd": 0.01}},
}


@cache
def cohort(kind, people):
    data = BrainTruths(people=people, **KINDS[kind])
    # The same images serve many runs; drawing them is what takes the time.
    data.load = cache(data.load)
    return data


@cache
def audited(defect, kind="twofold", people=12, seed=0, **parameters):
    data = cohort(kind, people)
    run = SuperResolutionRun(planted_super_resolver(data, defect, seed=seed), data, None, LocalEngine(), seed)
    return data_inconsistency(run, **parameters)


def value(findings, name):
    return next(e.measurement.value for e in findings.estimates if e.measurement.id == f"CON-001.{name}")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "defect",
    [Truthful(), Consistent(), NullTexture(0.1), Upsampled(smooth=True, projected=True)],
    ids=["faithful", "consistent", "null texture", "bicubic made consistent"],
)
def test_negative_control_what_agrees_with_the_input_passes(kind, defect):
    findings = audited(defect, kind)
    assert value(findings, "inconsistent_rate") == 0
    assert value(findings, "gain") == pytest.approx(1, abs=0.005)
    assert {row["status"] for row in findings.rows} == {"consistent"}


def test_negative_control_repeated_pixels_say_what_the_input_says():
    findings = audited(Upsampled(smooth=False))
    assert value(findings, "inconsistent_rate") == 0
    assert value(findings, "residual_ratio") == pytest.approx(0, abs=1e-4)
    assert value(findings, "residual_db") == 100


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_positive_control_two_per_cent_of_gain_are_found(kind, seed):
    findings = audited(Rescaled(1.02), kind, seed=seed)
    assert value(findings, "inconsistent_rate") >= 0.95
    assert value(findings, "gain") == pytest.approx(1.02, abs=0.004)


def test_positive_control_two_per_cent_of_level_are_found():
    findings = audited(Rescaled(1.0, 0.02))
    assert value(findings, "inconsistent_rate") == 1
    assert value(findings, "bias") == pytest.approx(0.02, abs=0.001)
    assert value(findings, "gain") == pytest.approx(1, abs=0.005)


def test_positive_control_erased_lesions_contradict_the_input():
    findings = audited(Erased())
    rows = {row["case_id"]: row["status"] for row in findings.rows}
    data = cohort("twofold", 12)
    for case in data.cases:
        wanted = "contradicts the input" if data.load(case).lesion_mask.any() else "consistent"
        assert rows[case.case_id] == wanted
    assert value(findings, "contradiction_rate") == value(findings, "inconsistent_rate")


def test_positive_control_blur_contradicts_the_input():
    for defect in (Smoothed(), Upsampled(smooth=True)):
        findings = audited(defect)
        assert value(findings, "contradiction_rate") == 1
        # Smoothing is no change of gain: that would send a reader to the wrong fault.
        assert value(findings, "gain") == pytest.approx(1, abs=0.015)


def test_a_small_fault_is_one_in_one_place():
    class Spot(Truthful):
        def apply(self, scene, g):
            output = super().apply(scene, g)
            output[34:40, 34:40] += 0.06
            return output

    findings = audited(Spot())
    assert {row["status"] for row in findings.rows} == {"contradicts the input in one place"}
    assert value(findings, "local_rate") == 1
    maps = findings.arrays["exhibits/CON-001-maps.npz"]
    row, column = np.unravel_index(np.abs(maps["source"][0] - 0.5).argmax(), (72, 72))
    assert 33 <= row <= 40
    assert 33 <= column <= 40


class Brighter(BrainPhantoms):
    """Inputs with their truths, 10 % brighter than the declared operator makes them."""

    def load(self, case):
        images = super().load(case)
        small = 1.1 * declared({}, (2, 2)).apply(images.target)
        return CaseImages(small.astype(np.float32), images.target, images.lesion_mask, (6.2, 6.2))


def test_a_declared_operator_that_the_truths_contradict_voids_the_rate():
    honest = planted_super_resolver(cohort("twofold", 12), Truthful())
    subject = replace(honest, network=lambda x, seed: repeated(x, (2, 2)))
    acquired = Brighter("FLAIR", "FLAIR", size=72, people=4)
    findings = data_inconsistency(SuperResolutionRun(subject, acquired, None, LocalEngine(), 0))
    assert value(findings, "truth_inconsistent_rate") == 1
    assert value(findings, "inconsistent_rate") is None
    assert value(findings, "residual_ratio") == pytest.approx(0, abs=1e-4)
    assert any("is not how these inputs came about" in note for note in findings.notes)


def test_is_inconclusive_without_an_operator():
    data = cohort("twofold", 12)
    subject = planted_super_resolver(data, Truthful())
    run = SuperResolutionRun(subject, data, None, LocalEngine(), 0)
    run.operator = None
    assert "does not say how its inputs come" in data_inconsistency(run).missing


def test_one_patient_gives_a_wide_bound_and_no_median():
    findings = audited(Truthful(), people=1)
    rate = findings.estimates[0].measurement
    assert rate.value == 0
    assert rate.interval.high >= 0.9
    assert value(findings, "residual_ratio") is not None


@settings(max_examples=8)
@given(gain=st.floats(0.9, 1.1))
def test_prop_the_gain_is_measured_whatever_it_is(gain):
    assert value(audited(Rescaled(gain), people=2), "gain") == pytest.approx(gain, abs=0.01)


def test_rows_and_exhibits_say_what_was_seen():
    findings = audited(Erased(0.5))
    assert len(findings.rows) == 24
    assert list(findings.rows[0])[:2] == ["case_id", "patient_id"]
    assert [e.kind for e in findings.exhibits] == ["scatter", "panels"]
    panels = findings.exhibits[1]
    assert [c["rule"] for c in panels.data["cases"]] == ["worst"] * 4 + ["random"] * 4
    arrays = findings.arrays[panels.file]
    assert {name: a.shape for name, a in arrays.items()} == dict.fromkeys(
        ("source", "output", "reference"), (8, 72, 72)
    )
    assert findings.notes[0].startswith("The input is the truth averaged over 2 x 2 pixels")


def test_makes_the_measurements_that_the_catalogue_names():
    made = {e.measurement.id.split("[")[0] for e in audited(Truthful()).estimates}
    assert made == {f"CON-001.{name}" for name in AUDITS["CON-001"].measures}
