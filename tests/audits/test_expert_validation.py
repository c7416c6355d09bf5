"""UTL-003: nothing is shown without a reading of this very model, and every reader has to accept."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits import AUDITS, HEADINGS
from medgan_qa.audits.augmentation import AugmentationRun
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.expert_validation import CODE, NO_READING, expert_validation
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.labelled_samplers import Faithful, labelled_sampler
from medgan_qa.criteria import judge, parse_criteria
from medgan_qa.criteria.expert_reading import ExpertReading, Reader, ReaderResult
from medgan_qa.engines import LocalEngine
from medgan_qa.record import Measurement
from medgan_qa.stats import clopper_pearson
from medgan_qa.suites import suite


@cache
def subject() -> Any:
    return labelled_sampler(BrainSlices(people=2), Faithful())


def reading(*accepted: int, seen: int = 60, real: int = 0, sha: str | None = None) -> ExpertReading:
    results = tuple(
        ReaderResult(
            reader=f"R{k}",
            synthetic_seen=seen,
            accepted=hits,
            unrealistic=seen - hits,
            label_wrong=0,
            **(
                {"synthetic_called_real": 40, "real_seen": real, "real_accepted": real, "real_called_real": real // 2}
                if real
                else {}
            ),
        )
        for k, hits in enumerate(accepted)
    )
    return ExpertReading(
        file="experts.toml",
        sha256="cd" * 32,
        model_sha256=subject().sha256 if sha is None else sha,
        question="Would you train on it?",
        protocol="RP-004 A",
        date="2026-03-01",
        readers=tuple(Reader(r.reader, "radiologist", 10.0) for r in results),
        synthetic=seen,
        real=real,
        blinded=bool(real),
        results=results,
    )


def run_of(experts: ExpertReading | None) -> AugmentationRun:
    return AugmentationRun(subject(), BrainSlices(people=2), None, LocalEngine(), 0, experts=experts)


def audited(experts: ExpertReading | None) -> Findings:
    return expert_validation(run_of(experts))


def measured(findings: Findings, name: str) -> Measurement:
    return next(e.measurement for e in findings.estimates if e.measurement.id == f"{CODE}.{name}")


def verdicts(findings: Findings) -> list[str]:
    """Of the suite's own criteria on this audit."""
    defaults = suite("augmentation").criteria
    mine = tuple(d for d in defaults.declared if d.measurement.startswith(CODE))
    assert len(mine) == 2
    judged = judge(replace(defaults, declared=mine), {e.measurement.id: e for e in findings.estimates})
    return [str(c.verdict) for c in judged]


def test_without_a_reading_nothing_is_shown():
    findings = audited(None)

    assert findings.missing == NO_READING
    assert "--experts" in NO_READING
    assert findings.estimates == []


def test_a_reading_of_another_model_shows_nothing():
    findings = audited(reading(60, 60, sha="00" * 32))

    assert findings.missing is not None
    assert "is of another model" in findings.missing
    assert findings.estimates == []


def test_two_experts_who_accept_pass():
    findings = audited(reading(58, 57, real=60))

    assert verdicts(findings) == ["pass", "pass"]
    assert {e.measurement.id.split("[")[0] for e in findings.estimates} == {
        f"{CODE}.{name}" for name in AUDITS[CODE].measures
    }
    assert measured(findings, "readers").value == 2
    assert measured(findings, "images_seen").value == 120
    lowest = measured(findings, "lowest_accepted_rate")
    assert lowest.value == 57 / 60
    assert lowest.interval.low == pytest.approx(clopper_pearson(57, 60, 0.05)[0])
    assert lowest.interval.high == pytest.approx(clopper_pearson(57, 60, 0.025)[1])
    assert measured(findings, "accepted_rate[reader R0]").value == 58 / 60
    # Two readers say little about all readers.
    assert measured(findings, "accepted_rate").interval.low < 0.5
    assert measured(findings, "accepted_rate[real images]").value == 1
    assert measured(findings, "detected_rate").value == 20 / 60
    assert measured(findings, "detected_rate[real images]").value == 0.5
    assert any(findings.tables)
    assert "did not know" in findings.notes[-1]


def test_one_expert_who_does_not_accept_fails_whatever_the_others_say():
    findings = audited(reading(60, 60, 60, 20))

    assert verdicts(findings)[1] == "fail"
    assert measured(findings, "accepted_rate").value > 0.8


def test_one_expert_or_few_images_do_not_pass():
    assert verdicts(audited(reading(60)))[0] == "fail"
    assert verdicts(audited(reading(5, 5, seen=5)))[1] == "inconclusive"
    assert "knew which" in audited(reading(5, 5, seen=5)).notes[-1]


def test_the_reading_stands_in_the_record():
    options = AugmentationRun.options.fget  # type: ignore[attr-defined]
    run = run_of(reading(58, 57))
    run.sampled = [0] * 5  # type: ignore[misc,assignment]

    assert options(run)["experts"]["sha256"] == "cd" * 32
    assert options(run)["experts"]["protocol"] == "RP-004 A"


@given(st.lists(st.integers(0, 60), min_size=1, max_size=5))
def test_prop_the_bound_is_that_of_the_least_accepting_reader(accepted):
    lowest = measured(audited(reading(*accepted)), "lowest_accepted_rate")

    assert lowest.value == min(accepted) / 60
    assert lowest.interval.low <= lowest.value <= lowest.interval.high
    assert lowest.interval.low == pytest.approx(clopper_pearson(min(accepted), 60, 0.05)[0])


def test_a_criterion_on_it_is_judged_at_its_own_level():
    content = {
        "schema": "medgan-qa/criteria/1",
        "alpha": 0.01,
        "criterion": [
            {"id": "A", "measurement": f"{CODE}.lowest_accepted_rate", "limit": {"min": 0.8}, "judged_on": "lower"}
        ],
    }
    estimates = {e.measurement.id: e for e in audited(reading(57, 57)).estimates}
    judged = judge(parse_criteria(content, "c.toml"), estimates)[0]

    assert judged.value == pytest.approx(clopper_pearson(57, 60, 0.01)[0])


def test_its_document_has_the_headings():
    positions = [AUDITS[CODE].document.index(heading) for heading in HEADINGS]
    assert positions == sorted(positions)
