"""DIS-004 on classifiers that fail in one group, and on one that does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.uneven_calls import uneven_calls
from medgan_qa.controls.classifiers import BlindAtSite, Faithful, planted_classifier
from medgan_qa.engines import LocalEngine


class Changed:
    """A cohort whose cases were changed."""

    def __init__(self, cohort, change):
        self._cohort = cohort
        self.cases = tuple(change(case) for case in cohort.cases)

    def __getattr__(self, name):
        return getattr(self._cohort, name)

    def load(self, case):
        return self._cohort.load(next(c for c in self._cohort.cases if c.case_id == case.case_id))


def on(slices, change, classifier=None, people=40, **card):
    cohort = Changed(slices(people), change)
    return ClassificationRun(planted_classifier(classifier or Faithful(), **card), cohort, None, LocalEngine(), 0)


def by_name(findings, name):
    return {e.measurement.stratum: e.measurement for e in findings.estimates if f".{name}[" in e.measurement.id}


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_a_site_at_which_lesions_are_overlooked(classified, slices, value_of, seed):
    findings = uneven_calls(classified(BlindAtSite(slices(200)), people=200, seed=seed))

    assert value_of(findings, "DIS-004.uneven_attributes").value == 1
    assert value_of(findings, "DIS-004.sensitivity_p[site]").value <= 0.01
    assert value_of(findings, "DIS-004.sensitivity_p[sex]").value > 0.05
    sensitivity = by_name(findings, "sensitivity")
    assert sensitivity["site C"].value < 0.75 < sensitivity["site A"].value
    gap = value_of(findings, "DIS-004.sensitivity_gap[site]")
    assert gap.interval.low > 0.05
    assert any("Sensitivity depends on site" in note and "in C" in note for note in findings.notes)


@pytest.mark.parametrize("seed", range(3))
def test_negative_control_a_faithful_one_is_even(classified, value_of, seed):
    findings = uneven_calls(classified(people=160, seed=seed))
    assert value_of(findings, "DIS-004.uneven_attributes").value == 0
    assert value_of(findings, "DIS-004.uneven_attributes").n == 3


def test_groups_come_smallest_first_with_all_three_measures(classified):
    findings = uneven_calls(classified())
    for name in ("auc", "sensitivity", "specificity"):
        sites = [m for key, m in by_name(findings, name).items() if key.startswith("site")]
        assert len(sites) == 3
        assert [m.n for m in sites] == sorted(m.n for m in sites)
    assert {e.id for e in findings.exhibits} == {"DIS-004-auc", "DIS-004-sensitivity", "DIS-004-specificity"}


def test_sensitivity_by_lesion_size_is_reported_and_not_tested(classified):
    findings = uneven_calls(classified())
    sizes = {key: m for key, m in by_name(findings, "sensitivity").items() if key.startswith("lesion")}
    assert set(sizes) == {"lesion under 20 mm", "lesion 20-40 mm", "lesion 40 mm or more"}
    assert sum(m.n for m in sizes.values()) == 100
    assert sizes["lesion under 20 mm"].value < sizes["lesion 20-40 mm"].value
    assert not any("[lesion]" in e.measurement.id for e in findings.estimates)
    assert all(row["attribute"] != "lesion" for row in findings.tables["exhibits/DIS-004-groups.csv"])


def test_groups_that_are_too_small_are_named_and_not_compared(slices, value_of):
    rare = {"test-0000", "test-0001", "test-0002"}
    run = on(slices, lambda c: replace(c, site="rare" if c.patient_id in rare else "big", attributes={}))
    findings = uneven_calls(run)

    assert value_of(findings, "DIS-004.uneven_attributes").value is None
    assert "rare has" in value_of(findings, "DIS-004.uneven_attributes").reason
    assert value_of(findings, "DIS-004.sensitivity[site rare]").n > 0
    assert value_of(findings, "DIS-004.sensitivity_gap[site]").value is None
    three = on(slices, lambda c: replace(c, site="rare" if c.patient_id in rare else "AB"[hash_of(c) % 2]))
    assert any("inconclusive for rare (3)" in note for note in uneven_calls(three).notes)


def hash_of(case):
    return int(case.patient_id[-4:])


def test_without_groups_it_is_inconclusive(slices):
    findings = uneven_calls(on(slices, lambda c: replace(c, site=None, attributes={}), people=20))
    assert "no attribute" in findings.missing
    assert not findings.estimates


def test_without_a_threshold_only_areas_are_compared(classified, value_of):
    findings = uneven_calls(classified(threshold=None))
    assert value_of(findings, "DIS-004.sensitivity[site A]").value is None
    assert value_of(findings, "DIS-004.auc_p[site]").value is not None
    assert value_of(findings, "DIS-004.uneven_attributes").value == 0
    assert [e.id for e in findings.exhibits] == ["DIS-004-auc"]


def test_a_patient_in_two_groups_is_left_out_of_the_test_and_said(slices):
    run = on(slices, lambda c: replace(c, attributes={"scanner": "AB"[int(c.case_id[-1]) if hash_of(c) < 6 else 0]}))
    findings = uneven_calls(run)
    assert any("6 patients have cases at several levels of scanner" in note for note in findings.notes)


def test_an_identifier_is_no_group(slices):
    run = on(slices, lambda c: replace(c, attributes={"mrn": f"x{c.patient_id}"}))
    assert any("no grouping: mrn" in note for note in uneven_calls(run).notes)


def test_holm_counts_every_attribute_and_measure(classified, value_of):
    findings = uneven_calls(classified())
    table = findings.tables["exhibits/DIS-004-groups.csv"]
    assert len({(row["measure"], row["attribute"]) for row in table}) == 9
    adjusted = [e.measurement.value for e in findings.estimates if "_p[" in e.measurement.id]
    assert all(0 < p <= 1 for p in adjusted)


class Reversed:
    """A cohort with its cases the other way round."""

    def __init__(self, cohort):
        self._cohort, self.cases = cohort, cohort.cases[::-1]

    def __getattr__(self, name):
        return getattr(self._cohort, name)


def test_p_values_repeat_themselves_and_depend_on_no_order(slices):
    run = on(slices, lambda c: c)
    turned = on(slices, lambda c: c)
    turned.cohort = Reversed(turned.cohort)
    first, again, other = (
        {e.measurement.id: e.measurement.value for e in uneven_calls(r).estimates} for r in (run, run, turned)
    )
    assert first == again
    for name, value in first.items():
        if "_p[" not in name:
            assert other[name] == pytest.approx(value), name


def test_rows_carry_the_groups(classified):
    rows = uneven_calls(classified()).rows
    assert {"group_age", "group_sex", "site", "status"} <= set(rows[0])
    assert {row["group_sex"] for row in rows} == {"F", "M"}
    assert np.unique([row["case_id"] for row in rows]).size == 200
