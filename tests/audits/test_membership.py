"""MEM-004: a discriminator that remembers its training images is found; one that does not is let pass."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.membership import advantage, area_under_curve, membership
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject

Scores = np.ndarray


@cache
def brains(people: int) -> BrainSlices:
    cohort = BrainSlices(people=people, size=32)
    cohort.load = cache(cohort.load)  # type: ignore[method-assign]
    return cohort


def discriminator(score: Callable[[Scores], Scores]) -> Subject:
    card = Card(
        name="planted discriminator",
        version="1",
        task="discriminator",
        channels_in=1,
        channels_out=1,
        range_in=(0.0, 1.0),
        range_out=(0.0, 1.0),
    )
    return Subject(lambda x, seed: score(x), card, Path("planted"), "control", "0" * 64, "cpu")


def texture(x: Scores) -> Scores:
    """A score that knows the kind of image and no patient."""
    return (10 * np.abs(np.diff(x, axis=-1)).mean(axis=(1, 2, 3))).astype(np.float32)


def remembering(people: int, share: float) -> Subject:
    """Knows a share of the training images by their pixels and scores them higher."""
    train = [case for case in brains(people).cases if case.partition == "train"]
    known = {brains(people).load(case).image.tobytes() for case in train[: round(share * len(train))]}
    return discriminator(lambda x: texture(x) + np.array([5.0 * (image.tobytes() in known) for image in x], np.float32))


def audited(model: Subject | None, people: int = 60, **parameters: float) -> Findings:
    cohort = brains(people)
    sampler = planted_sampler(cohort, Independent())
    return membership(SynthesisRun(sampler, cohort, None, LocalEngine(), 0, discriminator=model), **parameters)


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"MEM-004.{name}").measurement


def test_a_discriminator_that_knows_no_patient_cannot_tell_them_apart() -> None:
    area = value(audited(discriminator(texture)), "membership_auc")
    assert area.interval.low < 0.5 < area.interval.high
    assert area.better == "lower"
    assert area.clusters == 60


@pytest.mark.parametrize("share", [1.0, 0.4])
def test_a_discriminator_that_remembers_is_found(share: float) -> None:
    findings = audited(remembering(60, share))
    area = value(findings, "membership_auc")
    assert area.value == pytest.approx(share + (1 - share) / 2, abs=0.06)
    assert area.interval.low > 0.5


def test_the_advantage_says_how_many_are_at_risk() -> None:
    findings = audited(remembering(100, 0.3), people=100)
    assert value(findings, "advantage").value == pytest.approx(0.3, abs=0.02)
    assert value(findings, "advantage").interval.low > 0.1
    assert value(audited(discriminator(texture), people=100), "advantage").value == pytest.approx(0, abs=0.03)


def test_too_few_held_out_patients_for_the_advantage_say_so() -> None:
    found = value(audited(discriminator(texture)), "advantage")
    assert found.value is None
    assert found.reason == "60 held-out patients; 100 are needed for 0.01 false positives"
    assert value(audited(discriminator(texture), false_positives=0.1), "advantage").value is not None


def test_few_patients_are_inconclusive() -> None:
    findings = audited(remembering(12, 1.0), people=12)
    assert findings.missing == "12 training patients and 12 test patients; 20 of each are needed."


def test_without_a_discriminator_it_does_not_apply() -> None:
    findings = audited(None)
    assert findings.not_applicable == "No discriminator was given."
    assert findings.missing is None


def test_without_a_train_partition_it_is_inconclusive() -> None:
    cohort = BrainSlices(people=30, size=32)
    cohort.cases = tuple(case for case in cohort.cases if case.partition == "test")
    run = SynthesisRun(
        planted_sampler(brains(60), Independent()), cohort, None, LocalEngine(), 0, discriminator=discriminator(texture)
    )
    assert "no train partition" in str(membership(run).missing)


def test_scores_that_are_no_numbers_stop_the_audit() -> None:
    with pytest.raises(NotFiniteError, match="NaN"):
        audited(discriminator(lambda x: np.full(len(x), np.nan, np.float32)))


def test_one_score_for_all_tells_nothing() -> None:
    findings = audited(discriminator(lambda x: np.ones(len(x), np.float32)), people=100)
    assert value(findings, "membership_auc").value == 0.5
    assert value(findings, "advantage").value == 0


def test_a_model_that_looks_at_its_batch_gains_nothing_from_it() -> None:
    # Scores differ from batch to batch and not within one: partitions scored one after the other would be told apart.
    calls: list[int] = []

    def by_batch(x: Scores) -> Scores:
        calls.append(len(x))
        return np.full(len(x), float(len(calls)), np.float32)

    area = value(audited(discriminator(by_batch)), "membership_auc")
    assert len(calls) == 4
    assert area.value == pytest.approx(0.5, abs=0.1)


def test_every_score_is_listed_under_its_case() -> None:
    findings = audited(remembering(60, 1.0))
    rows = findings.tables["exhibits/MEM-004-scores.csv"]
    by_case = {row["case_id"]: row for row in rows}
    assert len(rows) == len(by_case) == 240
    assert min(r["score"] for r in rows if r["partition"] == "train") > max(
        r["score"] for r in rows if r["partition"] == "test"
    )
    curve = findings.exhibits[0].data["series"][0]
    assert (curve["y"][0], curve["y"][-1]) == (1.0, 1.0)


finite = stn.arrays(np.float64, st.integers(1, 20), elements=st.integers(-3, 3).map(float))


@settings(max_examples=80, deadline=None)
@given(finite, finite)
def test_the_area_is_the_share_of_pairs(a: Scores, b: Scores) -> None:
    pairs = (a[:, None] > b).mean() + (a[:, None] == b).mean() / 2
    assert area_under_curve(a, b) == pytest.approx(pairs)
    assert area_under_curve(a, b) + area_under_curve(b, a) == pytest.approx(1)


@settings(max_examples=80, deadline=None)
@given(finite, finite, st.floats(0, 0.9))
def test_the_advantage_never_takes_more_false_positives_than_allowed(a: Scores, b: Scores, allowed: float) -> None:
    found = advantage(a, b, allowed)
    limits = [limit for limit in b if (b > limit).mean() <= allowed + 1e-12]
    best = max((a > limit).mean() - (b > limit).mean() for limit in limits)
    assert -allowed - 1e-12 <= found <= best + 1e-12


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("MEM-004", "", membership).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
