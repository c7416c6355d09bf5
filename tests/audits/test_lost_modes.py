"""COV-002 on samplers that leave a mode or a subgroup out: it is named, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits.lost_modes import _dominant, lost_modes
from medgan_qa.audits.subgroups import Attribute
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.cohorts.phantom import MODES
from medgan_qa.controls.samplers import Dropped, Independent, ModesKept

LOST = "COV-002.lost_groups"


@pytest.fixture(scope="module")
def audit(sampled):
    """COV-002 on a planted sampler, once."""

    @cache
    def run(plan, people=150, modes=False, **options):
        return lost_modes(sampled(plan, people=people, modes=modes, **options))

    return run


def table(findings):
    """Name of each mode and subgroup -> what the table says of it."""
    rows = next(e for e in findings.exhibits if e.kind == "counts").data["rows"]
    return {row[0]: row[5] for row in rows}


def lost_attributes(findings):
    """Levels of attributes that are lost; `mode 7` is a cell of k-means, `mode CT at 33 mm` a level."""
    return {name for name, said in table(findings).items() if said == "LOST" and not name.split()[-1].isdigit()}


def test_positive_control_the_lost_one_of_ten_modes_is_named(audit, value_of):
    findings = audit(ModesKept(9), people=250, modes=True)

    name = f"mode {MODES[9].name}"
    assert lost_attributes(findings) == {name}
    cells = sum(said == "LOST" for said in table(findings).values()) - 1
    assert cells >= 1
    assert value_of(findings, LOST).value == 1 + cells
    assert value_of(findings, "COV-002.lost_modes").value == cells
    assert value_of(findings, f"COV-002.share_ratio[{name}]").value < 0.5
    assert any(note.startswith(f"Lost: {name}, 10.0% of the patients' images") for note in findings.notes)


def test_negative_control_with_all_ten_modes_none_is_lost(audit, value_of):
    findings = audit(Independent(), people=250, modes=True)

    assert value_of(findings, LOST).value == 0
    assert value_of(findings, "COV-002.smallest_detectable").value < 0.05


def test_positive_control_a_dropped_site_is_named_and_no_other_group(audit):
    assert lost_attributes(audit(Dropped(site="A"))) == {"site A"}


def test_positive_control_dropped_lesions_are_named_and_no_other_group(audit):
    lost = lost_attributes(audit(Dropped(radius=6.0)))

    assert lost
    assert all(name.startswith("lesion") and name != "lesion none" for name in lost)


def test_negative_control_no_group_of_other_patients_is_lost(audit, value_of):
    findings = audit(Independent())

    assert value_of(findings, LOST).value == 0
    assert "LOST" not in table(findings).values()


def test_groups_whose_loss_would_not_be_found_are_listed_and_not_passed_over(audit, value_of):
    findings = audit(Independent())

    unread = [name for name, said in table(findings).items() if said == "not readable"]
    assert "lesion 40 mm or more" in unread
    assert value_of(findings, "COV-002.unreadable_groups").value == len(unread)
    note = next(note for note in findings.notes if note.startswith("Not readable"))
    assert all(name in note for name in unread)


def test_real_images_that_no_sample_comes_near_are_of_the_lost_kind(audit, sampled):
    findings = audit(ModesKept(9), people=250, modes=True)

    kind = {c.case_id: c.attributes["mode"] for c in sampled(ModesKept(9), people=250, modes=True).reference.cases}
    panel = next(e for e in findings.exhibits if e.kind == "panels")
    shown = [kind[case["case_id"]] for case in panel.data["cases"]]
    assert shown.count(MODES[9].name) >= len(shown) - 1
    assert len({case["patient_id"] for case in panel.data["cases"]}) == len(shown)


def with_attribute(run, name, of):
    """The same run, whose real cases say `of(number)` of an attribute."""
    for side in ("reference", "train"):
        p = getattr(run, side)
        number = {patient: k for k, patient in enumerate(dict.fromkeys(p.patients))}
        cases = tuple(replace(c, attributes={name: of(number[c.patient_id])}) for c in p.cases)
        run.__dict__[side] = Pictures(p.images, p.names, p.patients, cases, p.masks, p.spacing_mm)
    return run


def test_training_images_that_are_mostly_of_one_age_are_said_to_be(sampled):
    # 72 of 100 patients are 8 to 14 years old, the others all over 0 to 18.
    def age(k):
        return str(8 + k % 7) if k % 25 < 18 else str((0, 3, 5, 7, 15, 16, 18)[k % 7])

    findings = lost_modes(with_attribute(sampled(Independent(), people=100, seed=11), "age", age))

    assert "72% of the training images have age 8 to 14, a third of the range 0 to 18." in findings.notes


def test_an_attribute_that_leaves_no_trace_is_said_to_be_unreadable(sampled):
    coin = np.random.default_rng(8).integers(2, size=200)
    run = with_attribute(sampled(Independent(), people=100, seed=12), "coin", lambda k: ("heads", "tails")[coin[k]])
    findings = lost_modes(run)

    assert table(findings)["coin heads"] == table(findings)["coin tails"] == "not readable"


def test_small_n_is_said_and_nothing_measured(sampled):
    for people, samples in ((59, 100), (60, 59), (1, 100)):
        findings = lost_modes(sampled(Independent(), people=people, samples=samples))

        assert "60 of each are needed" in findings.missing
        assert not findings.estimates


def test_too_few_images_for_the_smallest_mode_that_matters_are_no_pass(sampled):
    findings = lost_modes(sampled(Independent(), people=60), detectable=0.02)

    assert "2% is asked for" in findings.missing
    assert not findings.estimates


def test_without_a_train_partition_there_are_no_modes(sampled):
    assert "no train partition" in lost_modes(sampled(Independent(), people=60, train=False)).missing


def test_an_attribute_called_mode_is_no_mode(sampled, value_of):
    run = with_attribute(sampled(Independent(), people=100, seed=13), "mode", lambda k: str(1 + k % 2))
    findings = lost_modes(run)

    rows = [row[0] for row in next(e for e in findings.exhibits if e.kind == "counts").data["rows"]]
    assert rows.count("mode 1") == 2
    assert {f"COV-002.share_ratio[mode {k}]" for k in (1, 2)} <= {e.measurement.id for e in findings.estimates}


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=30))
def test_property_what_three_in_five_are_of_is_said(levels):
    said = _dominant([(Attribute("kind", ("a",)), Attribute("kind", tuple(levels)))])

    most = max(set(levels), key=levels.count)
    assert bool(said) == (levels.count(most) / len(levels) >= 0.6)
