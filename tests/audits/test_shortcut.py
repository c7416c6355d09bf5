"""DIS-005 on a classifier that reads a token, on one that reads the lesion, and on what neither sees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.audits.shortcut import shortcut
from medgan_qa.controls.classifiers import Constant, CornerToken, Faithful, air_noise
from medgan_qa.criteria import Declared
from medgan_qa.errors import ConfigurationError


class Both:
    """Reads the lesion, and the token for as much again."""

    name = "both"

    def logits(self, images):
        return Faithful().logits(images) + 3 * CornerToken().logits(images)


class Surroundings:
    """Reads how bright the head is outside of its brightest spots: nothing of the lesion itself."""

    name = "surroundings"

    def logits(self, images):
        return np.array([50 * (0.4 - np.median(image[image > 0.25])) for image in images])


class Air:
    """Reads the noise outside the body."""

    name = "air"

    def logits(self, images):
        return 100 * (air_noise(images) - 0.026)


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_a_corner_token(classified, value_of, seed):
    findings = shortcut(classified(CornerToken(), token=True, seed=seed), maps=8)

    assert value_of(findings, "DIS-005.border_auc").interval.low > 0.85
    assert value_of(findings, "DIS-005.auc_border_covered").value == 0.5
    assert value_of(findings, "DIS-005.border_loss").interval.low > 0.3
    # the lesion may go, the call stays
    assert value_of(findings, "DIS-005.surviving_calls").interval.low > 0.95
    assert value_of(findings, "DIS-005.evidence_in_lesion").value == 0


@pytest.mark.parametrize("token", [False, True])
def test_negative_control_the_lesion_is_read_with_or_without_a_token(classified, value_of, token):
    findings = shortcut(classified(Faithful(), token=token), maps=20)

    assert value_of(findings, "DIS-005.border_auc").interval.high < 0.65
    assert value_of(findings, "DIS-005.border_loss").value == pytest.approx(0, abs=0.02)
    assert value_of(findings, "DIS-005.air_loss").value == pytest.approx(0, abs=0.01)
    assert value_of(findings, "DIS-005.surviving_calls").interval.high < 0.3
    evidence, fields = (value_of(findings, f"DIS-005.{n}").value for n in ("evidence_in_lesion", "fields_on_lesion"))
    assert evidence > 3 * fields


def test_a_mark_that_is_covered_by_half_of_itself_is_not_covered(classified, value_of):
    # With the token in half of the images their mean holds half of it.
    findings = shortcut(classified(CornerToken(), token=True), maps=12)
    assert value_of(findings, "DIS-005.evidence_in_lesion").n > 8


def test_where_no_field_counts_it_says_so(classified, value_of):
    findings = shortcut(classified(Constant(1.0)), maps=4)
    assert "took nothing off" in value_of(findings, "DIS-005.evidence_in_lesion").reason
    never = shortcut(classified(Constant(-1.0)), maps=4)
    assert "no call to follow" in value_of(never, "DIS-005.evidence_in_lesion").reason


def test_a_shortcut_beside_the_disease_is_found_too(classified, value_of):
    findings = shortcut(classified(Both(), token=True), maps=8)
    assert value_of(findings, "DIS-005.border_auc").interval.low > 0.85
    assert value_of(findings, "DIS-005.auc_border_covered").value > 0.9


def test_evidence_that_is_not_in_the_lesion_survives_it(classified, value_of):
    run = classified(Surroundings())
    findings = shortcut(run, maps=8)
    assert value_of(findings, "DIS-005.surviving_calls").value > 0.8
    assert sum(row["status"] == "called without its lesion" for row in findings.rows) > 10


def test_what_lies_outside_the_body_is_taken_away(classified, value_of):
    findings = shortcut(classified(Air()), maps=1)
    assert value_of(findings, "DIS-005.auc_air_covered").value == 0.5


def test_without_masks_the_border_is_still_judged(classified, value_of):
    run = classified()
    run.items[:] = [item.__class__(**{**vars(item), "lesion": None}) for item in run.items]
    findings = shortcut(run)

    assert value_of(findings, "DIS-005.border_auc").value is not None
    for name in ("surviving_calls", "evidence_in_lesion", "fields_on_lesion"):
        assert value_of(findings, f"DIS-005.{name}").value is None
        assert "no case of the disease" in value_of(findings, f"DIS-005.{name}").reason.lower()
    assert {row["status"] for row in findings.rows} == {"no lesion to hide"}


def test_without_a_threshold_calls_cannot_survive(classified, value_of):
    findings = shortcut(classified(threshold=None), maps=4)
    assert value_of(findings, "DIS-005.surviving_calls").value is None
    assert "No threshold" in value_of(findings, "DIS-005.surviving_calls").reason
    assert value_of(findings, "DIS-005.border_auc").value is not None


def test_lesions_that_reach_into_the_border_are_left_out_of_it(classified, value_of):
    findings = shortcut(classified(), frame=0.3, maps=1)
    left = next(note for note in findings.notes if "reaches into the border" in note)
    assert value_of(findings, "DIS-005.border_auc").n == 200 - int(left.split()[0])
    assert value_of(findings, "DIS-005.auc_air_covered").n == 200


@pytest.mark.parametrize(("frame", "corner"), [(0.0, 0.0), (0.5, 0.1), (0.1, 0.7)])
def test_a_border_that_is_none_is_refused(classified, frame, corner):
    with pytest.raises(ConfigurationError, match="border"):
        shortcut(classified(people=4), frame=frame, corner=corner)


def test_few_patients_have_no_bound(classified, value_of):
    findings = shortcut(classified(people=6), maps=2)
    assert value_of(findings, "DIS-005.border_auc").interval.low is None
    assert value_of(findings, "DIS-005.border_loss").interval.low is None


def test_it_says_how_many_patients_the_border_needs(classified, value_of):
    findings = shortcut(classified(people=40), maps=1)
    loss = next(e for e in findings.estimates if e.measurement.id == "DIS-005.border_loss")
    claim = Declared("AC", loss.measurement.id, {"max": 0.05}, "upper")
    said = loss.shortfall(claim, 0.05)
    # 59 independent pairs without a disagreement have an upper bound of 5 %
    assert int(said.split("about ")[1].split()[0]) >= 59 - 1
    assert "will not carry" in loss.shortfall(Declared("AC", "x", {"max": -0.5}, "upper"), 0.05)


def test_the_worst_are_shown_with_and_without_their_lesion(classified):
    findings = shortcut(classified(), maps=1, shown=3)
    exhibit = next(e for e in findings.exhibits if e.kind == "panels")
    arrays = findings.arrays[exhibit.file]
    assert [c["rule"] for c in exhibit.data["cases"]] == ["worst"] * 3 + ["random"]
    assert arrays["output"].shape == arrays["reference"].shape == (4, 64, 64)
    assert not np.array_equal(arrays["output"], arrays["reference"])
    assert exhibit.data["columns"] == {"output": "as it is", "reference": "lesion painted over"}


@settings(max_examples=3, deadline=None)
@given(scale=st.floats(0.1, 10), shift=st.floats(-5, 5))
def test_prop_areas_do_not_depend_on_the_scale_of_the_score(classified, scale, shift):
    class Scaled:
        name = "scaled"

        def logits(self, images):
            return scale * Faithful().logits(images) + shift

    one, other = (shortcut(classified(c, people=20), maps=1).estimates[:5] for c in (Faithful(), Scaled()))
    for a, b in zip(one, other, strict=True):
        assert b.measurement.value == pytest.approx(a.measurement.value, abs=1e-3)
