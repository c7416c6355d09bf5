"""The embedded cohort: what audits and Records are given of it."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from medgan_qa.cohorts.cohort import Cohort, patients, subset
from medgan_qa.cohorts.contrasts import CONTRASTS
from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.cohorts.phantom import EMBEDDED, MODES, BrainPhantoms, BrainSlices, phantom_cohort
from medgan_qa.errors import ConfigurationError


def complete(error: ConfigurationError) -> bool:
    return error.exit_code == 2 and all((error.problem, error.expected, error.found, error.todo))


@pytest.mark.parametrize("size", [32, 64])
def test_loads_what_an_audit_needs(size: int) -> None:
    cohort: Cohort = BrainPhantoms("T1", "CT", size=size, people=4)
    assert (cohort.source_domain, cohort.target_domain, cohort.lesion_in) == ("T1", "CT", ("source", "target"))
    for case in cohort.cases:
        images = cohort.load(case)
        assert images.target is not None
        assert images.lesion_mask is not None
        assert images.image.shape == images.target.shape == (1, size, size)
        assert images.image.dtype == images.target.dtype == np.float32
        assert images.lesion_mask.shape == (size, size)
        assert images.lesion_mask.dtype == np.bool_
        assert images.spacing_mm == (224 / size, 224 / size)


def test_cases_can_be_loaded_in_any_order() -> None:
    first, second = BrainPhantoms(people=4), BrainPhantoms(people=4)
    backwards = {case.case_id: second.load(case).image for case in reversed(second.cases)}
    for case in first.cases:
        np.testing.assert_array_equal(first.load(case).image, backwards[case.case_id])


def test_cases_say_whose_they_are_and_how_they_were_drawn() -> None:
    cohort = BrainPhantoms(people=8)
    assert len({case.case_id for case in cohort.cases}) == 16
    assert set(Counter(case.patient_id for case in cohort.cases).values()) == {2}
    assert {case.partition for case in cohort.cases} == {"test"}
    assert all(case.synthetic and case.annotated and case.has_target for case in cohort.cases)
    for case in cohort.cases:
        assert case.spec is not None
        assert case.spec["patient"]["patient_id"] == case.patient_id
        assert case.spec["patient"]["site"] == case.site
        assert case.attributes == {"sex": case.spec["patient"]["sex"], "age": str(case.spec["patient"]["age_years"])}


def test_the_shipped_cohort_has_a_hundred_patients_and_lesions_in_half_of_its_slices() -> None:
    described = phantom_cohort("phantom:brain").describe()
    json.dumps(described, allow_nan=False)
    assert (described["cases"], described["patients"], described["phantom"]) == (200, 100, True)
    counts = described["partitions"]["test"]
    assert (counts["with_lesions"], counts["annotated_lesion_free"], counts["unannotated"]) == (100, 100, 0)
    assert sum(described["sites"].values()) == 200


def test_describes_partitions_as_a_dataset_does(on_disk: Any) -> None:
    files, drawn = read_dataset(on_disk.save()).describe(), BrainPhantoms(people=4).describe()
    assert list(drawn["partitions"]["test"]) == list(files["partitions"]["test"])
    assert set(drawn["partitions"]) <= set(files["partitions"])
    assert set(files) - set(drawn) == {"file"}  # a drawn cohort has none
    assert set(drawn) - set(files) == {"anatomy", "seed"}
    assert set(drawn["spacing_mm"]) == set(files["spacing_mm"])
    counts = drawn["partitions"]["test"]
    assert counts["patients"] == drawn["patients"] == len(patients(BrainPhantoms(people=4).cases))


def test_digest_is_that_of_the_content() -> None:
    assert BrainPhantoms(people=4).digest() == BrainPhantoms(people=4).digest()


@pytest.mark.parametrize(
    "other",
    [
        lambda: BrainPhantoms(people=5),
        lambda: BrainPhantoms(people=4, size=128),
        lambda: BrainPhantoms(people=4, seed=1),
        lambda: BrainPhantoms("T1", people=4),
        lambda: BrainPhantoms("FLAIR", "T2", people=4),
    ],
)
def test_digest_follows_every_argument(other: Callable[[], BrainPhantoms]) -> None:
    assert other().digest() != BrainPhantoms(people=4).digest()


def test_digest_follows_one_number_of_one_patient() -> None:
    cohort = BrainPhantoms(people=4)
    before = cohort.digest()
    case_id, spec = next(iter(cohort._specs.items()))
    cohort._specs[case_id] = dataclasses.replace(
        spec, patient=dataclasses.replace(spec.patient, atrophy=spec.patient.atrophy + 1e-6)
    )
    assert cohort.digest() != before


def test_digest_follows_the_intensity_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    before = BrainPhantoms(people=4).digest()
    monkeypatch.setitem(CONTRASTS, "FLAIR", CONTRASTS["FLAIR"]._replace(oedema=0.7))
    assert BrainPhantoms(people=4).digest() != before


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no such embedded cohort") as caught:
        phantom_cohort("phantom:knee")
    assert complete(caught.value)
    for source, target in (("T3", "FLAIR"), ("T2", "flair")):
        with pytest.raises(ConfigurationError, match="no such contrast") as caught:
            BrainPhantoms(source, target)
        assert complete(caught.value)
        assert caught.value.found in (source, target)


def test_a_cohort_for_samplers_has_disjoint_partitions_and_one_contrast():
    cohort = BrainSlices(people=6)
    train, test = subset(cohort.cases, "train"), subset(cohort.cases, "test")

    assert len(train) == len(test) == 12
    assert {c.patient_id for c in train}.isdisjoint(c.patient_id for c in test)
    images = cohort.load(test[0])
    assert images.target is None
    assert images.image.shape == (1, 64, 64)
    described = cohort.describe()
    assert described["partitions"].keys() == {"train", "test"}
    assert described["partitions"]["train"]["patients"] == 6
    assert described["attributes"] == ["age", "sex"]


def test_the_single_contrast_is_the_target_of_the_pairs():
    pairs, slices = BrainPhantoms(people=3), BrainSlices(people=3)
    shared = {case.case_id: case for case in pairs.cases}

    for case in subset(slices.cases, "test"):
        np.testing.assert_array_equal(slices.load(case).image, pairs.load(shared[case.case_id]).target)


def test_modes_take_turns_and_differ_in_contrast_or_level():
    cohort = BrainSlices(people=20, modes=True)
    test = subset(cohort.cases, "test")

    assert [case.attributes["mode"] for case in test[:20:2]] == [mode.name for mode in MODES]
    assert len({mode.name for mode in MODES}) == 10
    spread = [cohort.load(case).image.std() for case in test[:20:2]]
    assert max(spread) > 1.5 * min(spread)


def test_embedded_cohorts_are_found_by_name():
    names = ("brain", "brain-flair", "brain-modes", "brain-lesions", "brain-token", "brain-sr", "brain-thick")
    assert set(EMBEDDED) == {f"phantom:{name}" for name in names}
    with pytest.raises(ConfigurationError, match="no such embedded cohort"):
        phantom_cohort("phantom:knee")
