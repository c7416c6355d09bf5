"""COV-010 on a model that fails one group, on one that gives one image for all, and on faithful ones."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from scipy.stats import binom

from medgan_qa.audits import TranslationRun
from medgan_qa.audits._uneven_groups import Claim, Unit, contrast_of, gap_of
from medgan_qa.audits.subgroups import Attribute
from medgan_qa.audits.uneven_translation import uneven_translation
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Erase, Faithful, Insert, ThresholdDetector, planted_translator
from medgan_qa.controls.cycles import collapsed_translator, planted_where
from medgan_qa.engines import LocalEngine

# The package exports the function under the name of its module.
module = importlib.import_module("medgan_qa.audits.uneven_translation")

COVERAGE = "COV-010.clipped_coverage[pixels]"
UNEVEN = "COV-010.uneven_attributes"


@dataclass(frozen=True)
class Blur:
    name: str = "blur"

    def apply(self, reference, lesion, g):
        return ndimage.gaussian_filter(reference, 0.7)


@cache
def cohort(people):
    return BrainPhantoms(people=people)


@cache
def audited(subject, people=60, seed=0, level=0.56):
    data = cohort(people)
    detector = None if level is None else ThresholdDetector(level).subject()
    return uneven_translation(TranslationRun(subject(data), data, detector, LocalEngine(), seed))


@cache
def grouped(subject):
    """The groups alone, without features of images."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "target_coverage", lambda *given: None)
        return audited.__wrapped__(subject)


def faithful(data):
    return planted_translator(data, Faithful())


def blurred(data):
    return planted_translator(data, Blur())


def at_one_site(data):
    return planted_where(data, Erase(), lambda case: case.site == "A")


def in_one_sex(data):
    return planted_where(data, Erase(), lambda case: case.attributes["sex"] == "F")


def inserts_in_one_sex(data):
    return planted_where(data, Insert(), lambda case: case.attributes["sex"] == "F")


@pytest.mark.parametrize(
    ("subject", "claim", "attribute", "said"),
    [
        (at_one_site, "removal", "site", "Removal depends on site: 100% in A"),
        (in_one_sex, "removal", "sex", "Removal depends on sex: 100% in F, 0% in M"),
        (inserts_in_one_sex, "invention", "sex", "Invention depends on sex: 100% in F, 0% in M"),
    ],
)
def test_flags_the_group_that_the_model_fails(value_of, subject, claim, attribute, said):
    findings = grouped(subject)

    assert value_of(findings, UNEVEN).value == 1
    gap = value_of(findings, f"COV-010.{claim}_gap[{attribute}]")
    assert gap.value == 1.0
    assert gap.interval.low > 0.3
    assert value_of(findings, f"COV-010.{claim}_p[{attribute}]").value < 0.05
    assert any(note.startswith(said) for note in findings.notes)


def test_a_group_can_fail_while_all_patients_together_may_pass(value_of):
    """Two in five lesions of one sex are removed, a fifth of all."""
    findings = grouped(lambda data: planted_where(data, Erase(dose=0.4), lambda case: case.attributes["sex"] == "F"))

    overall = np.mean([row["removed"] for row in findings.rows if row["lesions_read"]])
    assert overall < 0.3
    assert value_of(findings, "COV-010.removal_p[sex]").value < 0.05


@pytest.mark.parametrize(("subject", "seed"), [(faithful, 0), (faithful, 1), (blurred, 0)])
def test_passes_faithful_models(value_of, subject, seed):
    findings = audited(subject, people=40, seed=seed)

    assert value_of(findings, UNEVEN).value == 0
    assert value_of(findings, COVERAGE).value > 0.8
    null = value_of(findings, "COV-010.clipped_coverage[pixels, real against real]")
    assert null.interval.low < 1 < null.interval.high


def test_a_collapsed_model_covers_next_to_nothing(value_of):
    findings = audited(collapsed_translator, people=40)

    for name in ("pixels", "radiomic"):
        for kind in ("clipped_coverage", "coverage"):
            assert value_of(findings, f"COV-010.{kind}[{name}]").interval.high < 0.25
    # It removes every lesion in everybody, which is no gap.
    assert value_of(findings, UNEVEN).value == 0


def test_a_patients_own_target_does_not_make_his_output_look_covered(value_of):
    """Outputs that are the references themselves are no nearer to the population than other patients are."""
    findings = audited(lambda data: planted_translator(data, Faithful(noise=0.0)), people=40)

    for kind in ("clipped_coverage", "density", "coverage"):
        ours, null = (value_of(findings, f"COV-010.{kind}[pixels{x}]").value for x in ("", ", real against real"))
        assert ours == pytest.approx(null, abs=1e-9)


def test_small_groups_are_inconclusive_and_say_what_is_missing(value_of):
    findings = grouped(faithful)
    assert any("inconclusive for 20 to 30 (2)" in note and "at least 8" in note for note in findings.notes)

    few = audited(at_one_site, people=8, level=0.5)
    assert value_of(few, UNEVEN).value is None
    assert value_of(few, COVERAGE).value is None
    assert "24 of each are needed" in value_of(few, COVERAGE).reason


def test_without_a_detector_only_the_coverage_is_measured(value_of):
    findings = audited(faithful, people=30, level=None)

    assert value_of(findings, COVERAGE).value > 0.8
    assert value_of(findings, UNEVEN).value is None
    assert "--detector" in value_of(findings, UNEVEN).reason
    assert value_of(findings, "COV-010.removal_gap[sex]").value is None


def test_levels_are_reported_smallest_first_and_those_of_sites_left_to_the_pathology_audits():
    findings = grouped(faithful)
    ids = [e.measurement.id for e in findings.estimates]

    assert not any("rate[site" in name for name in ids)
    for claim, attribute in {(r["claim"], r["attribute"]) for r in findings.tables["exhibits/COV-010-groups.csv"]}:
        rows = findings.tables["exhibits/COV-010-groups.csv"]
        sizes = [r["patients"] for r in rows if (r["claim"], r["attribute"]) == (claim, attribute)]
        assert sizes == sorted(sizes)


def test_without_real_target_images_it_does_not_apply(unpaired):
    data = unpaired(cohort(8))
    findings = uneven_translation(TranslationRun(planted_translator(data, Faithful()), data, None, LocalEngine(), 0))

    assert "real image of the target domain" in findings.not_applicable


def made(counts):
    """A contrast of units (patient, level, event)."""
    case = Case("c", "p", "test", has_target=True, annotated=True, has_mask=False)
    units = [
        Unit(f"u{k}", replace(case, case_id=f"c{k}", patient_id=patient), event)
        for k, (patient, _, event) in enumerate(counts)
    ]
    levels = {f"c{k}": level for k, (_, level, _) in enumerate(counts)}
    claim = Claim("removal", "Removed", "lesion", units, None)
    return contrast_of(0, claim, Attribute("site", tuple(levels.values())), levels)


def test_bounds_of_the_gap_cover_with_clustered_patients():
    g, runs, covered = np.random.default_rng(11), 100, 0
    rates = {"a": 0.1, "b": 0.4, "c": 0.25}
    for _ in range(runs):
        counts = [
            (f"{level}{k}", level, event)
            for level, rate in rates.items()
            for k, event in enumerate(g.random(20) < rate)
            for _ in range(int(g.integers(1, 4)))
        ]
        interval = gap_of(made(counts)).measurement.interval
        covered += interval.low <= 0.3 <= interval.high

    assert covered >= binom.ppf(0.001, runs, 0.9)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), min_size=1, max_size=60))
def test_property_the_gap_lies_in_its_interval_and_is_none_with_small_groups(units):
    contrast = made([(f"p{k}", level, event) for k, (level, event) in enumerate(units)])
    gap = gap_of(contrast).measurement
    large = [at for at in "abc" if sum(level == at for level, _ in units) >= 8]

    assert (gap.value is None) == (len(large) < 2)
    if gap.value is not None:
        assert 0 <= gap.interval.low <= gap.value <= gap.interval.high <= 1
    else:
        assert "patients each" in gap.reason


def test_patients_at_several_levels_are_left_out_of_the_test():
    counts = [(f"p{k}", "a" if k < 20 else "b", k < 20) for k in range(40)]
    both = [(f"q{k}", level, False) for k in range(5) for level in "ab"]

    contrast = made(counts + both)
    assert contrast.several == 5
    assert contrast.p < 0.01
