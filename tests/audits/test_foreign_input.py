"""ROB-003 on models that hallucinate, refuse, or pass on what they are given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits._foreign_images import KINDS, foreign_image
from medgan_qa.audits.foreign_input import foreign_input
from medgan_qa.controls import Faithful, planted_translator
from medgan_qa.controls.responses import (
    Blurred,
    Hallucinating,
    Noisy,
    Power,
    Refusing,
)
from medgan_qa.rng import child


@pytest.fixture(scope="module")
def template(kept):
    def largest(lesion: bool) -> np.ndarray:
        cases = [kept().load(case) for case in kept().cases]
        shown = (c for c in cases if bool(c.lesion_mask.any()) == lesion)
        return max(shown, key=lambda c: c.lesion_mask.sum()).target[0]

    return largest


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_a_brain_painted_on_air_is_found(run_of, template, seed, value_of):
    findings = foreign_input(run_of(Hallucinating(template(lesion=False)), seed), cases=24)

    share = value_of(findings, "ROB-003.invented_tissue_share[empty]")
    assert share.value > 0.5 * value_of(findings, "ROB-003.normal_tissue_share").value
    assert share.interval.low > 0.1
    assert value_of(findings, "ROB-003.invented_tissue_share[noise]").value == 0
    assert value_of(findings, "ROB-003.invented_lesion_rate[empty]").value == 0


def test_positive_control_a_lesion_painted_on_anything_is_found(run_of, template, value_of):
    findings = foreign_input(run_of(Hallucinating(template(lesion=True), below=np.inf)), cases=24)

    for kind in ("empty", "noise", "checkerboard"):
        assert value_of(findings, f"ROB-003.invented_lesion_rate[{kind}]").interval.low > 0.7
    # What comes out is nothing but normal, which is why outputs alone do not give it away.
    assert value_of(findings, "ROB-003.output_distance[noise]").value < 0.1


@pytest.mark.parametrize("response", [Power(1.0), Power(1.5), Blurred(0.7, 0.4), Noisy(0.01)])
def test_negative_controls_pass_on_what_they_are_given_and_invent_nothing(run_of, response, value_of):
    findings = foreign_input(run_of(response), cases=24)

    for kind in ("empty", "noise"):
        assert value_of(findings, f"ROB-003.invented_tissue_share[{kind}]").value < 0.01
    for kind in ("empty", "noise", "checkerboard"):
        m = value_of(findings, f"ROB-003.invented_lesion_rate[{kind}]")
        assert m.value is None or m.value == 0
    assert value_of(findings, "ROB-003.refused_rate[noise]").value == 0
    assert any("no way to say" in note for note in findings.notes)


@pytest.mark.parametrize("raises", [True, False])
def test_a_model_that_says_so_is_counted_as_refusing(run_of, raises, value_of):
    findings = foreign_input(run_of(Refusing(raises)), cases=16)

    assert value_of(findings, "ROB-003.refused_rate[empty]").value == 1
    assert value_of(findings, "ROB-003.refused_rate[noise]").value == 0
    assert value_of(findings, "ROB-003.invented_tissue_share[empty]").value is None
    assert any("refused 16 of" in note for note in findings.notes)


def test_a_model_that_takes_only_known_images_refuses_everything(run_of, kept, value_of):
    findings = foreign_input(run_of(planted_translator(kept("T2"), Faithful()), source="T2"), cases=8)

    assert all(value_of(findings, f"ROB-003.refused_rate[{kind}]").value == 1 for kind in KINDS)
    assert {row["status"] for row in findings.rows} == {"refused", "not drawn"}


def test_the_guard_stops_gross_inputs_and_lets_the_domain_pass(run_of, value_of):
    findings = foreign_input(run_of(Power(1.0), source="T2", people=60), cases=40)

    for kind in ("noise", "empty", "checkerboard", "inverted", "shuffled", "target"):
        assert value_of(findings, f"ROB-003.guard_detection_rate[{kind}]").interval.low > 0.8
    assert value_of(findings, "ROB-003.guard_false_alarm_rate").value <= 0.05
    assert any("0.83%" in note for note in findings.notes)


def test_a_target_that_is_the_source_is_not_foreign(run_of, value_of):
    findings = foreign_input(run_of(Power(1.0)), cases=8)

    assert value_of(findings, "ROB-003.guard_detection_rate[target]").n == 0


def test_small_n_calibrates_no_guard_and_says_so(run_of, value_of):
    findings = foreign_input(run_of(Power(1.0), people=6), cases=0)

    assert value_of(findings, "ROB-003.guard_detection_rate[noise]").value is None
    assert any("at least 8 patients" in note for note in findings.notes)
    assert value_of(findings, "ROB-003.refused_rate[noise]").interval.high > 0.3


def test_without_a_detector_lesions_are_not_looked_for_and_the_rest_is(run_of, value_of):
    findings = foreign_input(run_of(Power(1.0), detector=False), cases=8)

    assert "--detector" in value_of(findings, "ROB-003.invented_lesion_rate[empty]").reason
    assert value_of(findings, "ROB-003.invented_tissue_share[empty]").value == 0


def test_every_foreign_image_has_a_row_and_is_shown(run_of, value_of):
    findings = foreign_input(run_of(Power(1.0), source="T2"), cases=8, shown=3)

    table = findings.tables["exhibits/ROB-003-images.csv"]
    assert len(table) == 8 * len(KINDS)
    assert {row["kind"] for row in table} == set(KINDS)
    sheet = next(e for e in findings.exhibits if e.kind == "sheet")
    assert len(findings.arrays[sheet.file]["images"]) == 2 * 3 * len(KINDS)


@given(st.integers(0, 2**32), st.sampled_from([k for k in KINDS if k != "target"]))
def test_property_foreign_images_repeat_by_seed_and_keep_shape(seed, kind):
    image = child(0, "image").random((2, 12, 16), np.float32)
    first, second = (foreign_image(kind, None, image, np.random.default_rng(seed)) for _ in range(2))

    np.testing.assert_array_equal(first, second)
    assert first.shape == image.shape
    assert first.dtype == np.float32
