"""GEO-002 on deformed outputs and lesions of another outline."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from medgan_qa.audits.altered_structure import altered_structure
from medgan_qa.audits.catalogue import HEADINGS
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Attenuate, Constant, Erase, Faithful, planted_translator
from medgan_qa.controls.geometry import Displace, Distort, SquareLesions, Warp
from medgan_qa.engines import LocalEngine

SIZE, MM = 128, 224 / 128


@dataclass(frozen=True)
class Mild:
    """Blur of 0.7 pixels, a shift of a third of a pixel, noise of 1 %."""

    name: str = "mild"

    def apply(self, reference, lesion, g):
        moved = ndimage.shift(ndimage.gaussian_filter(reference, 0.7), (0.3, -0.2), order=1)
        return (moved + 0.01 * g.standard_normal(reference.shape)).astype(np.float32)


@cache
def phantoms(people: int) -> BrainPhantoms:
    return BrainPhantoms(size=SIZE, people=people)


def run_of(cohort, defect, seed: int = 0):
    return TranslationRun(planted_translator(cohort, defect, seed), cohort, None, LocalEngine(), seed)


@cache
def found(defect, people: int = 4, seed: int = 0, **parameters):
    return altered_structure(run_of(phantoms(people), defect, seed), **parameters)


def value(findings, name):
    return next(e.measurement for e in findings.estimates if e.measurement.id == f"GEO-002.{name}")


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_positive_control_squared_lesions_are_reshaped(seed):
    findings = found(SquareLesions(), seed=seed)

    assert value(findings, "reshaped_rate").value == 1.0
    assert value(findings, "deformed_rate").value == 0.0
    assert value(findings, "outline_change").value > 0.08
    assert value(findings, "lesion_area_ratio").value == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("defect", [Distort(shear=0.08), Warp(5.0, MM), Warp(8.0, MM)])
@pytest.mark.parametrize("seed", [0, 1])
def test_positive_control_shear_and_warp_deform(defect, seed):
    findings = found(defect, people=4, seed=seed)

    assert value(findings, "deformed_rate").value == 1.0
    assert value(findings, "boundary_distance_mm[against reference]").value > 1.0


@pytest.mark.parametrize("defect", [Faithful(), Faithful(noise=0.0), Mild()])
@pytest.mark.parametrize("seed", [0, 1])
def test_negative_controls_keep_structure(defect, seed):
    findings = found(defect, seed=seed)

    assert value(findings, "deformed_rate").value == 0.0
    assert value(findings, "reshaped_rate").value == 0.0
    assert abs(value(findings, "boundary_loss").value) < 0.03
    assert value(findings, "not_outlined").value == 0
    assert not findings.excluded


@pytest.mark.parametrize("defect", [Displace(6.0, MM), Distort(1.03), Distort(1.1)])
def test_a_moved_or_resized_image_is_not_called_deformed(defect):
    assert value(found(defect), "deformed_rate").value == 0.0


def test_the_reference_itself_agrees_with_the_source_as_the_real_pair_does():
    findings = found(Faithful(noise=0.0))

    for name in ("boundary_distance_mm", "boundary_hd95_mm", "boundary_f_score"):
        assert value(findings, name).value == value(findings, f"{name}[real pairs]").value
    assert value(findings, "boundary_loss").value == 0.0
    assert value(findings, "boundary_f_score[against reference]").value == 1.0
    assert value(findings, "boundary_hd95_mm[against reference]").value == 0.0


def test_small_n_has_no_bound_on_the_median_and_a_wide_one_on_the_rate():
    findings = found(Faithful(), people=3)

    assert value(findings, "deformation_mm").interval.high is None
    assert value(findings, "deformed_rate").interval.high > 0.3


def test_attenuated_lesions_keep_their_outline_and_erased_ones_have_none():
    weak, gone = found(Attenuate(kept=0.7)), found(Erase())

    assert value(weak, "reshaped_rate").value == 0.0
    assert value(gone, "reshaped_rate").value is None
    assert value(gone, "not_outlined").value == value(gone, "not_outlined").n


def test_a_constant_output_has_no_edges_and_no_value():
    findings = found(Constant())

    assert set(findings.excluded.values()) == {"no edges in the output"}
    for name in ("boundary_f_score", "boundary_loss", "deformed_rate", "reshaped_rate"):
        assert value(findings, name).value is None
    assert value(findings, "boundary_f_score[real pairs]").value > 0.5


def test_without_references_the_source_is_compared_and_no_lesion_is_outlined(unpaired):
    findings = altered_structure(run_of(unpaired(phantoms(4)), Warp(8.0, MM)))

    assert value(findings, "deformed_rate").value == 1.0
    assert value(findings, "reshaped_rate").value is None
    assert not any("[" in e.measurement.id for e in findings.estimates)
    assert "no real pair" in findings.notes[0].lower()


def test_lesions_that_the_target_domain_does_not_show_are_not_outlined(altered):
    findings = altered_structure(run_of(altered(phantoms(4), lesion_in=("source",)), Faithful()))

    assert value(findings, "not_outlined").n == 0


def test_tables_and_exhibits_name_what_was_found():
    findings = found(SquareLesions())

    assert {row["status"] for row in findings.tables["exhibits/GEO-002-lesions.csv"]} == {"reshaped"}
    assert {e.kind for e in findings.exhibits} == {"panels", "scatter"}
    panel = next(e for e in findings.exhibits if e.kind == "panels")
    assert panel.data["cases"][0]["label"].startswith("lesion reshaped")


def test_document_has_the_headings():
    text = [line.strip() for line in altered_structure.__doc__.splitlines()]
    assert [h for line in text for h in HEADINGS if line.startswith(h)] == list(HEADINGS)


@given(limit=st.floats(0.0, 12.0), outline=st.floats(0.0, 0.3))
@settings(max_examples=4)
def test_property_rates_fall_as_limits_rise(limit, outline):
    warped, squared = _runs()
    strict = altered_structure(warped, limit_mm=limit, limit_px=0.0)
    lax = altered_structure(warped, limit_mm=limit + 1.0, limit_px=0.0)
    assert value(lax, "deformed_rate").value <= value(strict, "deformed_rate").value
    strict = altered_structure(squared, outline_limit=outline)
    lax = altered_structure(squared, outline_limit=outline + 0.05)
    assert value(lax, "reshaped_rate").value <= value(strict, "reshaped_rate").value


@cache
def _runs():
    return run_of(phantoms(2), Warp(5.0, MM)), run_of(phantoms(2), SquareLesions())
