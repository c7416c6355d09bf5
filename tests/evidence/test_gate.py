"""The gate: what refuses a comparison, what decides it, and what it leaves behind."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.digests import file_sha256, sha256
from medgan_qa.errors import ConfigurationError, IntegrityError, RecordError
from medgan_qa.evidence._changed_units import told
from medgan_qa.evidence.gate import Run, compare, gated_record, load_run, write_gate
from medgan_qa.evidence.observations import read_observations, write_observations
from medgan_qa.record import Comparison, Criterion, Interval, Measurement, Observations, Record, Sentinel, Verdict

RATE = "PAT-001.removal_rate"
Make = Callable[..., Any]


def shares(values: Sequence[int], patients: Sequence[str] | None = None) -> Observations:
    """Lesions `c1`, `c2`, ... that were lost (1) or kept (0), one a patient unless told otherwise."""
    units = [f"c{k + 1}" for k in range(len(values))]
    return Observations(
        statistic="share",
        units=units,
        patients=list(patients) if patients else [f"p{u}" for u in units],
        values=[float(v) for v in values],
    )


def measured(name: str, value: float | None, **changes: Any) -> Measurement:
    facts = {
        "id": name,
        "label": "Removed lesions",
        "value": value,
        "unit": "fraction",
        "n": 9,
        "unit_of_analysis": "lesion",
        "better": "lower",
        "reason": None if value is not None else "the detector is not qualified",
    }
    return Measurement(**{**facts, **changes})


def sentinel(case: str, verdict: str = "pass") -> Sentinel:
    found = "kept" if verdict == "pass" else "lost"
    return Sentinel(
        case_id=case, audit="PAT-001", found=found, verdict=Verdict(verdict), reason=f"The case is {found}."
    )


@pytest.fixture(scope="session")
def make_run(make_record: Make, make_audit: Make, make_criterion: Make) -> Callable[..., Run]:
    """Make a run in memory: shares by measurement, margins by measurement."""

    def make(
        observed: Mapping[str, Observations] | Sequence[int] = (),
        *,
        margins: Mapping[str, float | None] | None = None,
        measurements: Sequence[Measurement] = (),
        criteria: Sequence[Criterion] = (),
        model: str = "aa",
        folder: Path = Path("run"),
        better: str = "lower",
        **changes: Any,
    ) -> Run:
        seen = observed if isinstance(observed, Mapping) else {RATE: shares(observed)} if observed else {}
        margins = {RATE: 0.1} if margins is None else margins
        found = [
            measured(name, sum(o.values) / len(o.values), n=len(o.values), better=better)
            for name, o in seen.items()
            if name not in {m.id for m in measurements}
        ]
        judged = [
            make_criterion(f"AC-{k:02d}", measurement=name, margin=margin)
            for k, (name, margin) in enumerate(margins.items(), start=1)
        ]
        audit = make_audit(measurements=[*found, *measurements], criteria=[*judged, *criteria])
        facts: dict[str, Any] = {
            "audits": [audit],
            "subject": {"name": "brain", "version": "1", "sha256": model * 32, "card": {"scale": 1}},
            "criteria_lock": {"digest": "ef" * 32, "alpha": 0.05, "protocol": {"id": "VP-012", "revision": "B"}},
            "tool": {"name": "medgan-qa", "version": "0.4.0"},
            "run": {"id": f"run-{model}", "seed": 7},
        }
        record = make_record(
            changes.pop("verdict", "pass"), changes.pop("reason", "Every criterion passed."), **{**facts, **changes}
        )
        return Run(folder, record, seen, sha256(record.to_json().encode()))

    return make


def gate(candidate: Run, baseline: Run, **arguments: Any) -> Comparison:
    return compare(candidate, baseline, **{"allowed": {}, **arguments})


# What decides


def test_r1_one_lost_sentinel_fails_although_the_mean_improves(make_run: Make) -> None:
    before, after = [1] * 20 + [0] * 180, [0] * 20 + [1] + [0] * 179
    names = ["c20", "c21"]
    baseline = make_run(before, sentinels=[sentinel(c) for c in names])
    candidate = make_run(after, model="bb", sentinels=[sentinel("c20"), sentinel("c21", "fail")])
    found = gate(candidate, baseline)
    assert found.changes[0].verdict is Verdict.PASS
    assert found.changes[0].worsening == pytest.approx(-19 / 200)
    assert found.verdict is Verdict.FAIL
    assert found.reason.endswith(": not met. Sentinel c21 (PAT-001): lost.")
    assert found.sentinels[1].reason == "The case is lost. In the baseline: kept."
    # Without the lost one the same numbers open the gate.
    assert gate(make_run(after, model="bb", sentinels=[sentinel(c) for c in names]), baseline).verdict is Verdict.PASS


def test_r2_the_same_bytes_pass_with_a_note(make_run: Make) -> None:
    run = make_run([0, 0, 1])
    found = gate(run, run)
    assert found.identical
    assert found.verdict is Verdict.PASS
    assert "No change: candidate and baseline are the same bytes." in found.reason
    assert "deterministic" not in found.reason
    assert [c.verdict for c in found.changes] == [Verdict.PASS]
    # The run's own verdict still counts.
    failed = make_run([0, 0, 1], verdict="fail", reason="AC-01 failed.")
    record = gated_record(failed.record, gate(failed, run), {})
    assert record.verdict is Verdict.FAIL
    assert record.reason.endswith("The candidate's own run: AC-01 failed.")


def test_the_same_bytes_with_other_results_are_called_not_deterministic(make_run: Make) -> None:
    found = gate(make_run([0, 1, 1]), make_run([0, 0, 1]))
    assert found.verdict is Verdict.PASS
    assert f"differ all the same in 1 measurements ({RATE})" in found.reason
    assert "not deterministic" in found.reason
    other = make_run([0, 1, 1], data={"digest": "99" * 32})
    assert "not deterministic" not in gate(other, make_run([0, 0, 1]), allowed={"data": "new cases"}).reason


def test_the_same_bytes_under_another_card_are_another_model(make_run: Make) -> None:
    run = make_run([0, 0, 1])
    other = make_run([0, 0, 1], subject={**run.record.subject, "card": {"scale": 2}})
    assert not gate(other, run).identical
    assert gate(other, run).verdict is Verdict.INCONCLUSIVE
    nameless = make_run([0, 0, 1], subject={})
    assert not gate(nameless, nameless).identical


def test_small_n_is_inconclusive_and_says_how_many_are_missing(make_run: Make) -> None:
    found = gate(make_run([0] * 12, model="bb"), make_run([0] * 12))
    [change] = found.changes
    assert found.verdict is change.verdict is Verdict.INCONCLUSIVE
    assert change.worsening == 0.0
    assert "about 36 patients are needed, 24 more" in change.reason
    assert gate(make_run([0] * 36, model="bb"), make_run([0] * 36)).verdict is Verdict.PASS
    assert gate(make_run([0] * 35, model="bb"), make_run([0] * 35)).verdict is Verdict.INCONCLUSIVE


def test_a_worse_model_fails_and_names_what_it_lost(make_run: Make) -> None:
    found = gate(make_run([1] * 30 + [0] * 70, model="bb"), make_run([0] * 100))
    [change] = found.changes
    assert found.verdict is Verdict.FAIL
    assert change.interval is not None
    assert change.interval.low is not None
    assert change.interval.low > 0.1
    assert "Newly worse: 30 of 100 (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10 and 20 more); newly better: 0." in told(
        change
    )
    # The units stand with their criterion alone.
    assert found.reason == (
        "Comparison with the accepted model: not met. "
        f"AC-01 {RATE}: at least 17.6 percentage points worse, beyond the margin of 10 percentage points."
    )


def test_a_pass_names_what_it_lost_too(make_run: Make) -> None:
    found = gate(make_run([1] + [0] * 199, model="bb"), make_run([0] * 200))
    assert found.verdict is Verdict.PASS
    assert found.reason.endswith(f"Newly worse all the same: 1 in AC-01 {RATE}.")
    assert told(found.changes[0]) == "Newly worse: 1 of 200 (c1); newly better: 0."


def test_an_estimate_beyond_the_margin_asks_for_no_more_cases(make_run: Make) -> None:
    [change] = gate(make_run([1, 1, 1] + [0] * 12, model="bb"), make_run([0] * 15)).changes
    assert change.verdict is Verdict.INCONCLUSIVE
    assert "more cases alone will not carry this claim" in change.reason


def test_lesions_of_one_patient_count_as_one(make_run: Make) -> None:
    patients = ["p1"] * 200
    baseline, candidate = (make_run({RATE: shares([0] * 200, patients)}, model=m) for m in ("aa", "bb"))
    assert gate(candidate, baseline).verdict is Verdict.INCONCLUSIVE


def test_without_a_margin_the_absolute_criterion_decides_alone(make_run: Make) -> None:
    margins = {RATE: 0.1, "PAT-001.inverted": None}
    seen = {RATE: shares([0] * 60), "PAT-001.inverted": shares([0] * 60)}
    worse = {**seen, "PAT-001.inverted": shares([1] * 60)}
    found = gate(make_run(worse, margins=margins, model="bb"), make_run(seen, margins=margins))
    assert found.verdict is Verdict.PASS
    assert [c.verdict for c in found.changes] == [Verdict.PASS, Verdict.NOT_APPLICABLE]
    assert found.changes[1].worsening == 1.0
    assert found.changes[1].interval is not None
    assert "No margin declared: judged by the absolute criterion alone." in found.changes[1].reason


def test_a_gate_without_any_margin_does_not_open(make_run: Make) -> None:
    margins = {RATE: None}
    found = gate(make_run([0] * 60, margins=margins, model="bb"), make_run([0] * 60, margins=margins))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "No criterion that gates declares a margin" in found.reason


def test_a_criterion_that_only_reports_decides_nothing(make_run: Make, make_criterion: Make) -> None:
    seen, worse = ({RATE: shares([0] * 60), "PAT-001.other": shares([v] * 60)} for v in (0, 1))
    reported = make_criterion("AC-09", measurement="PAT-001.other", margin=0.1, severity="report")
    found = gate(make_run(worse, model="bb", criteria=[reported]), make_run(seen, criteria=[reported]))
    assert found.verdict is Verdict.PASS
    assert found.changes[1].verdict is Verdict.NOT_APPLICABLE
    assert found.changes[1].reason.startswith("Reported only (severity report), so it decides nothing. At least ")


def test_one_failed_criterion_of_several_fails(make_run: Make) -> None:
    margins = {RATE: 0.1, "PAT-001.b": 0.1}
    baseline = make_run({RATE: shares([0] * 60), "PAT-001.b": shares([0] * 60)}, margins=margins)
    candidate = make_run({RATE: shares([0] * 60), "PAT-001.b": shares([1] * 60)}, margins=margins, model="bb")
    found = gate(candidate, baseline)
    assert [c.verdict for c in found.changes] == [Verdict.PASS, Verdict.FAIL]
    assert found.verdict is Verdict.FAIL
    assert "AC-02" in found.reason
    assert "AC-01" not in found.reason


def test_a_unit_that_the_candidate_could_not_measure_keeps_it_from_passing(make_run: Make) -> None:
    whole, part = shares([0] * 100), shares([0] * 90)
    found = gate(make_run({RATE: part}, model="bb"), make_run({RATE: whole}))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the candidate has no value for 10 units that the baseline has one for" in found.reason
    assert "90 units are paired; 0 units are in the candidate's run alone, 10 in the baseline's." in found.reason
    # On other cases, allowed, this is as it has to be.
    other = make_run({RATE: part}, model="bb", data={"digest": "99" * 32})
    assert gate(other, make_run({RATE: whole}), allowed={"data": "ten were withdrawn"}).verdict is Verdict.PASS


# Directions and kinds of measurement


@pytest.mark.parametrize(("better", "verdict"), [("lower", "fail"), ("higher", "pass"), ("nearer_one", "pass")])
def test_worse_is_positive_whichever_way_is_better(make_run: Make, better: str, verdict: str) -> None:
    baseline, candidate = make_run([0] * 60, better=better), make_run([1] * 60, better=better, model="bb")
    [change] = gate(candidate, baseline).changes
    assert change.worsening == (1.0 if verdict == "fail" else -1.0)
    assert change.verdict == verdict


def of_kind(statistic: str, values: Sequence[float]) -> Observations:
    n = len(values)
    return Observations.model_validate(
        {
            "statistic": statistic,
            "units": [f"u{k}" for k in range(n)],
            "patients": [f"p{k}" for k in range(n)],
            "values": list(values),
        }
    )


def test_nearer_one_is_taken_unit_by_unit(make_run: Make) -> None:
    name = "PAT-003.contrast_recovery"

    def run(values: list[float], model: str) -> Run:
        m = measured(name, 1.0, better="nearer_one", unit="1")
        return make_run({name: of_kind("median", values)}, measurements=[m], margins={name: 0.05}, model=model)  # type: ignore[no-any-return]

    # From 0.9 to 1.1 is no worse; the median lesion stays as far from one as it was.
    level = gate(run([1.1] * 20, "bb"), run([0.9] * 20, "aa"))
    assert level.changes[0].worsening == pytest.approx(0.0)
    assert level.verdict is Verdict.PASS
    # Half the lesions too bright and half too dark: a median of 1 and every lesion worse.
    spread = gate(run([0.7] * 10 + [1.3] * 10, "bb"), run([1.0] * 20, "aa"))
    assert spread.changes[0].worsening == pytest.approx(0.3)
    assert spread.verdict is Verdict.FAIL


def test_means_are_paired_and_few_patients_have_no_bound(make_run: Make) -> None:
    name = "FID-010.psnr"

    def run(values: list[float], model: str) -> Run:
        m = measured(name, sum(values) / len(values), better="higher", unit="dB")
        return make_run({name: of_kind("mean", values)}, measurements=[m], margins={name: 0.5}, model=model)  # type: ignore[no-any-return]

    # Cases differ by 10 dB and the models by 0.2 dB: only pairing shows it.
    base = [20.0 + k for k in range(12)]
    found = gate(run([v - 0.2 - 0.01 * (k % 3) for k, v in enumerate(base)], "bb"), run(base, "aa"))
    assert found.verdict is Verdict.PASS
    assert found.changes[0].worsening == pytest.approx(0.21)
    few = gate(run(base[:7], "bb"), run(base[:7], "aa"))
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "7 patients are too few for a bound" in few.reason


def interval(low: float | None, high: float | None, level: float = 0.95) -> Interval:
    return Interval(low=low, high=high, level=level, method="half samples", sided=1)


@pytest.mark.parametrize(
    ("candidate", "baseline", "verdict", "said"),
    [
        (interval(0.9, 1.1), interval(0.9, 1.1), "pass", "within the margin of 0.3"),
        (interval(0.5, 1.6), interval(0.9, 1.1), "inconclusive", "the cases are not paired here"),
        (interval(None, None), interval(0.9, 1.1), "inconclusive", "no end on the side that is needed"),
        (
            None,
            interval(0.9, 1.1),
            "inconclusive",
            "no interval at one-sided level 0.95 was recorded for the candidate",
        ),
        (interval(0.9, 1.1), interval(0.9, 1.1, 0.9), "inconclusive", "was recorded for the baseline"),
    ],
)
def test_what_is_not_paired_takes_the_two_intervals(
    make_run: Make, candidate: Interval | None, baseline: Interval, verdict: str, said: str
) -> None:
    name = "FID-001.frechet_ratio"
    runs = [
        make_run(measurements=[measured(name, 1.0, unit="1", interval=i)], margins={name: 0.3}, model=m)
        for i, m in ((candidate, "bb"), (baseline, "aa"))
    ]
    [change] = gate(*runs).changes
    assert (change.verdict, change.paired) == (verdict, False)
    assert said in change.reason


def test_a_criterions_own_interval_serves_where_the_printed_one_is_too_narrow(
    make_run: Make, make_criterion: Make
) -> None:
    name = "FID-001.frechet_ratio"
    two_sided = {"statistics": {"bound": "two-sided"}}

    def run(model: str, at: Interval | None) -> Run:
        judged = make_criterion(measurement=name, margin=0.5, interval=at)
        m = measured(name, 1.0, unit="1", interval=interval(0.95, 1.05))
        return make_run(measurements=[m], margins={}, criteria=[judged], model=model, context=two_sided)  # type: ignore[no-any-return]

    [change] = gate(run("bb", None), run("aa", None)).changes
    assert "no interval at one-sided level 0.975" in change.reason
    [change] = gate(run("bb", interval(0.9, 1.1, 0.975)), run("aa", interval(0.9, 1.1, 0.975))).changes
    assert change.verdict is Verdict.PASS
    assert change.interval is not None
    assert (change.interval.level, change.interval.high) == (0.975, pytest.approx(0.1 * 2**0.5))


def test_distance_from_one_without_pairs(make_run: Make) -> None:
    name = "COV-003.vendi_ratio"

    def run(model: str, value: float, low: float, high: float) -> Run:
        m = measured(name, value, unit="1", better="nearer_one", interval=interval(low, high))
        return make_run(measurements=[m], margins={name: 0.1}, model=model)  # type: ignore[no-any-return]

    [change] = gate(run("bb", 0.6, 0.55, 0.65), run("aa", 1.1, 1.05, 1.15)).changes
    assert change.worsening == pytest.approx(0.3)
    assert change.verdict is Verdict.FAIL
    [change] = gate(run("bb", 1.02, 0.99, 1.05), run("aa", 0.98, 0.96, 1.01)).changes
    assert change.worsening == pytest.approx(0.0)
    assert change.verdict is Verdict.PASS


@pytest.mark.parametrize(("value", "verdict"), [(0, "pass"), (2, "pass"), (3, "fail")])
def test_counts_are_exact(make_run: Make, value: int, verdict: str) -> None:
    name = "MEM-001.copies"
    runs = [
        make_run(measurements=[measured(name, float(v), unit="count")], margins={name: 2.0}, model=m)
        for v, m in ((value, "bb"), (0, "aa"))
    ]
    [change] = gate(*runs).changes
    assert change.verdict == verdict
    assert change.interval is None


def test_an_optional_criterion_that_applies_to_neither_run_decides_nothing(
    make_run: Make, make_criterion: Make
) -> None:
    given = {"measurement": "CYC-001.error_ratio", "margin": 0.1, "optional": True}
    aside = make_criterion("AC-07", verdict=Verdict.NOT_APPLICABLE, **given)
    found = gate(make_run([0] * 60, model="bb", criteria=[aside]), make_run([0] * 60, criteria=[aside]))
    assert found.verdict is Verdict.PASS
    assert found.changes[1].reason == "Optional, and its audit applies to neither run."
    applied = make_criterion("AC-07", verdict=Verdict.PASS, **given)
    lost = gate(make_run([0] * 60, model="bb", criteria=[aside]), make_run([0] * 60, criteria=[applied]))
    assert lost.verdict is Verdict.INCONCLUSIVE


def test_what_was_not_measured_is_inconclusive(make_run: Make) -> None:
    whole, none = make_run([0] * 60), make_run(measurements=[measured(RATE, None)], model="bb")
    found = gate(none, whole)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "the candidate's run could not measure it (the detector is not qualified)" in found.reason
    absent = gate(make_run(model="bb"), whole)
    assert f"the candidate's run holds no {RATE}" in absent.reason
    directionless = [make_run([0] * 60, better="none", model=m) for m in ("bb", "aa")]
    assert "neither direction" in gate(*directionless).reason


# Subgroups


def test_subgroups_are_compared_worst_first(make_run: Make, make_criterion: Make) -> None:
    names = {stratum: f"{RATE}[{stratum}]" for stratum in ("site A", "site B", "site C")}

    def run(model: str, **lost: int) -> Run:
        seen = {RATE: shares([0] * 90)}
        for stratum, name in names.items():
            n = lost.get(stratum.replace(" ", "_"), 0)
            seen[name] = shares([1] * n + [0] * (30 - n))
        strata = [measured(name, sum(seen[name].values) / 30, stratum=stratum, n=30) for stratum, name in names.items()]
        return make_run(seen, measurements=strata, model=model)  # type: ignore[no-any-return]

    found = gate(run("bb", site_B=9), run("aa", site_C=6))
    assert [c.stratum for c in found.subgroups] == ["site B", "site A", "site C"]
    assert [c.worsening for c in found.subgroups] == pytest.approx([0.3, 0.0, -0.2])
    assert all(c.verdict is Verdict.NOT_APPLICABLE and c.criterion == "" for c in found.subgroups)
    assert all(c.interval is not None and c.paired for c in found.subgroups)
    assert found.verdict is Verdict.PASS

    judged = [make_criterion("AC-01", measurement=names["site B"], margin=0.1)]
    runs = [run("bb", site_B=30), run("aa")]
    for k, one in enumerate(runs):
        audit = one.record.audits[0]
        grown = audit.model_copy(update={"criteria": [*audit.criteria, *judged]})
        runs[k] = Run(one.folder, one.record.model_copy(update={"audits": [grown]}), one.observations, one.sha256)
    found = gate(*runs)
    assert (found.subgroups[0].stratum, found.subgroups[0].verdict) == ("site B", Verdict.FAIL)
    # One id for the whole and for a stratum: both are judged.
    assert [(c.criterion, c.verdict) for c in found.changes] == [("AC-01", Verdict.PASS), ("AC-01", Verdict.FAIL)]


# Sentinels


def test_a_sentinel_that_the_candidate_no_longer_names_is_not_forgotten(make_run: Make) -> None:
    baseline = make_run([0] * 60, sentinels=[sentinel("c1"), sentinel("c2")])
    found = gate(make_run([0] * 60, model="bb", sentinels=[sentinel("c1")]), baseline)
    assert [(s.case_id, s.verdict) for s in found.sentinels] == [("c1", "pass"), ("c2", "inconclusive")]
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "Sentinel c2" in found.reason


# Refusals


DIFFERING: dict[str, dict[str, Any]] = {
    "data": {"data": {"digest": "99" * 32}},
    "criteria": {"criteria_lock": {"digest": "88" * 32, "alpha": 0.05}},
    "suite": {"suite": "synthesis"},
    "tool": {"tool": {"name": "medgan-qa", "version": "0.5.0"}},
    "seed": {"run": {"id": "other", "seed": 8}},
    "options": {"run": {"id": "other", "seed": 7, "samples": 500}},
    "detector": {"subject": {"sha256": "bb" * 32, "detector": {"sha256": "dd" * 32}}},
}


@pytest.mark.parametrize("kind", DIFFERING)
def test_a_difference_refuses_and_can_be_allowed(make_run: Make, kind: str) -> None:
    baseline, candidate = make_run([0] * 60), make_run([0] * 60, model="bb", **DIFFERING[kind])
    with pytest.raises(IntegrityError) as caught:
        gate(candidate, baseline)
    assert caught.value.exit_code == 4
    assert str(caught.value.found).startswith(f"{kind}: ")
    assert "baseline " in str(caught.value.found)
    assert f"--allow {kind}=" in str(caught.value.todo)
    found = gate(candidate, baseline, allowed={kind: " as agreed in CR-7 "})
    assert found.verdict is Verdict.PASS
    assert len(found.allowed) == 1
    assert found.allowed[0].startswith(f"{kind}: ")
    assert found.allowed[0].endswith("; allowed: as agreed in CR-7")
    assert f"The gate allowed a difference. {found.allowed[0]}" in gated_record(candidate.record, found, {}).deviations


def test_every_difference_is_listed(make_run: Make, make_audit: Make) -> None:
    baseline = make_run([0] * 60)
    audit = baseline.record.audits[0].model_copy(update={"parameters": {"dilate_mm": 5.0}})
    candidate = make_run([0] * 60, model="bb", audits=[audit], suite="synthesis", data={"digest": "99" * 32})
    with pytest.raises(IntegrityError) as caught:
        gate(candidate, baseline, allowed={"suite": "renamed"})
    assert "data: baseline cdcd" in str(caught.value.found)
    assert "parameters: PAT-001: baseline {}, candidate {'dilate_mm': 5.0}" in str(caught.value.found)
    assert "suite" not in str(caught.value.found)


def test_criteria_that_were_dropped_or_moved_are_named(make_run: Make) -> None:
    lock = DIFFERING["criteria"]["criteria_lock"]
    baseline = make_run({RATE: shares([0] * 60), "PAT-001.b": shares([0] * 60)}, margins={RATE: 0.1, "PAT-001.b": 0.1})
    candidate = make_run([0] * 60, margins={RATE: 0.2}, model="bb", criteria_lock=lock)
    [text] = gate(candidate, baseline, allowed={"criteria": "revision C"}).allowed
    assert f"no longer declared: AC-02 PAT-001.b; changed: AC-01 {RATE}; allowed: revision C" in text


def test_two_runs_without_a_digest_are_not_alike(make_run: Make) -> None:
    runs = [make_run([0] * 60, data={}, model=m) for m in ("bb", "aa")]
    with pytest.raises(IntegrityError, match="differ in more than the model"):
        gate(*runs)


@pytest.mark.parametrize(
    ("allowed", "message"),
    [
        ({"data": "because"}, "there is none"),
        ({"date": "because"}, "No difference is called 'date'"),
        ({"seed": "  "}, "without a reason"),
    ],
)
def test_allowing_what_makes_no_sense_is_a_usage_error(make_run: Make, allowed: dict[str, str], message: str) -> None:
    candidate = make_run([0] * 60, model="bb", **DIFFERING["seed"])
    with pytest.raises(ConfigurationError, match=message) as caught:
        gate(candidate, make_run([0] * 60), allowed=allowed)
    assert caught.value.exit_code == 2


def test_the_outcome_of_a_gate_is_no_candidate_but_may_be_a_baseline(make_run: Make) -> None:
    baseline, candidate = make_run([0] * 60), make_run([0] * 60, model="bb")
    record = gated_record(candidate.record, gate(candidate, baseline), {})
    outcome = Run(Path("gate"), record, candidate.observations, "00" * 32)
    with pytest.raises(ConfigurationError, match="itself the outcome of a gate"):
        gate(outcome, baseline)
    assert gate(make_run([0] * 60, model="cc"), outcome).verdict is Verdict.PASS


# Words of a predetermined change control plan


def test_the_modification_is_named_with_its_protocol(make_run: Make) -> None:
    baseline, candidate = make_run([0] * 100), make_run([1] * 30 + [0] * 70, model="bb")
    found = gate(candidate, baseline, modification="MOD-2")
    head = "Modification MOD-2: performance evaluation under protocol VP-012 revision B: not met. "
    assert found.reason.startswith(head)
    assert found.modification == {"id": "MOD-2", "description": "", "protocol": ""}
    assert gate(candidate, baseline).reason.startswith("Comparison with the accepted model: not met. ")


def test_the_criteria_name_the_modification(make_run: Make) -> None:
    planned = {"modification": {"id": "MOD-2", "description": "more training data", "protocol": "VP-020"}}
    baseline, candidate = make_run([0] * 60), make_run([0] * 60, model="bb", context=planned)
    found = gate(candidate, baseline)
    assert found.modification == planned["modification"]
    assert found.reason.startswith("Modification MOD-2: performance evaluation under protocol VP-020: met. ")
    assert gate(candidate, baseline, modification="MOD-2") == found
    with pytest.raises(ConfigurationError, match="Another modification"):
        gate(candidate, baseline, modification="MOD-3")


# The Record


@pytest.mark.parametrize(
    ("own", "lost", "verdict"),
    [
        ("pass", 0, "pass"),
        ("pass", 60, "fail"),
        ("fail", 0, "fail"),
        ("inconclusive", 0, "inconclusive"),
        ("error", 0, "error"),
        ("error", 60, "fail"),
        ("not_applicable", 0, "inconclusive"),
    ],
)
def test_the_worse_of_the_two_verdicts_counts(make_run: Make, own: str, lost: int, verdict: str) -> None:
    candidate = make_run([1] * lost + [0] * (60 - lost), model="bb", verdict=own)
    record = gated_record(candidate.record, gate(candidate, make_run([0] * 60)), {})
    assert record.verdict == verdict


def test_a_baseline_that_did_not_pass_is_noted(make_run: Make) -> None:
    candidate = make_run([0] * 60, model="bb")
    record = gated_record(candidate.record, gate(candidate, make_run([0] * 60, verdict="fail")), {})
    assert "The baseline's own verdict is fail." in record.deviations


# Properties

units = st.lists(st.tuples(st.booleans(), st.booleans(), st.sampled_from("abcdefghijklmnop")), min_size=1, max_size=40)
statistics = st.sampled_from(["share", "mean", "median"])


def two_runs(make_run: Make, drawn: list[tuple[Any, Any, str]], statistic: str, better: str) -> tuple[Run, Run]:
    names = [f"u{k}" for k in range(len(drawn))]
    runs = []
    for column, model in ((0, "bb"), (1, "aa")):
        seen = Observations.model_validate(
            {
                "statistic": statistic,
                "units": names,
                "patients": [row[2] for row in drawn],
                "values": [float(row[column]) for row in drawn],
            }
        )
        runs.append(make_run({RATE: seen}, better=better, model=model))
    return runs[0], runs[1]


@given(units, statistics, st.sampled_from(["lower", "higher", "nearer_one"]))
@settings(max_examples=60)
def test_prop_swapping_the_runs_turns_the_worsening_round(
    make_run: Make, drawn: Any, statistic: str, better: str
) -> None:
    candidate, baseline = two_runs(make_run, drawn, statistic, better)
    [one], [other] = gate(candidate, baseline).changes, gate(baseline, candidate).changes
    assert one.worsening is not None
    assert other.worsening is not None
    assert one.worsening == pytest.approx(-other.worsening)
    assert one.interval is not None
    assert other.interval is not None
    ends = [None if end is None else -end for end in (other.interval.high, other.interval.low)]
    assert [one.interval.low, one.interval.high] == pytest.approx(ends)
    # Not both can be beyond a margin that is not negative.
    assert {one.verdict, other.verdict} != {Verdict.FAIL}


@given(units, statistics, st.sampled_from(["lower", "higher", "nearer_one"]))
@settings(max_examples=60)
def test_prop_a_candidate_equal_unit_by_unit_never_fails(
    make_run: Make, drawn: Any, statistic: str, better: str
) -> None:
    equal = [(after, after, patient) for after, _, patient in drawn]
    candidate, baseline = two_runs(make_run, equal, statistic, better)
    assert gate(candidate, baseline).verdict is not Verdict.FAIL


@given(units, st.sets(st.integers(0, 39)))
@settings(max_examples=60)
def test_prop_more_lost_lesions_never_turn_a_fail_into_a_pass(make_run: Make, drawn: Any, lost: set[int]) -> None:
    candidate, baseline = two_runs(make_run, drawn, "share", "lower")
    more = [(True, row[1], row[2]) if k in lost else row for k, row in enumerate(drawn)]
    worse, _ = two_runs(make_run, more, "share", "lower")
    if gate(candidate, baseline).verdict is Verdict.FAIL:
        assert gate(worse, baseline).verdict is not Verdict.PASS


# Folders


def on_disk(run: Run, folder: Path) -> Path:
    """Write a run as its audit would have left it."""
    (folder / "exhibits").mkdir(parents=True)
    (folder / "cases.csv").write_text("audit,case_id\nPAT-001,c1\n")
    (folder / "exhibits" / "a.csv").write_text("x\n1\n")
    write_observations(folder, run.observations)
    names = ("cases.csv", "exhibits/a.csv", "observations.csv")
    files = {name: file_sha256(folder / name) for name in names if (folder / name).exists()}
    (folder / "record.json").write_text(
        run.record.model_copy(update={"files": files}).to_json() + "\n", encoding="utf-8"
    )
    return folder


def test_a_run_is_read_back(make_run: Make, tmp_path: Path) -> None:
    run = make_run([0, 1, 0])
    read = load_run(on_disk(run, tmp_path / "run"), {"name": "brain"})
    assert read.observations == run.observations
    assert read.sha256 == file_sha256(tmp_path / "run" / "record.json")
    assert read.accepted == {"name": "brain"}


@pytest.mark.parametrize("name", ["cases.csv", "observations.csv", "exhibits/a.csv"])
@pytest.mark.parametrize("missing", [True, False])
def test_evidence_that_changed_is_refused(make_run: Make, tmp_path: Path, name: str, missing: bool) -> None:
    folder = on_disk(make_run([0, 1, 0]), tmp_path / "run")
    if missing:
        (folder / name).unlink()
    else:
        (folder / name).write_text((folder / name).read_text() + " ")
    with pytest.raises(IntegrityError, match="not the one that the run wrote") as caught:
        load_run(folder)
    assert str(caught.value.where).endswith(name)


def test_observations_that_the_record_does_not_name_are_refused(make_run: Make, tmp_path: Path) -> None:
    folder = on_disk(make_run([0, 1, 0]), tmp_path / "run")
    record = Record.from_json((folder / "record.json").read_text())
    (folder / "record.json").write_text(record.model_copy(update={"files": {}}).to_json())
    with pytest.raises(IntegrityError, match="not among those that the Record names"):
        load_run(folder)


def test_the_outcome_is_a_run_of_its_own(make_run: Make, tmp_path: Path) -> None:
    candidate = load_run(on_disk(make_run([1] * 30 + [0] * 30, model="bb"), tmp_path / "b"))
    baseline = load_run(on_disk(make_run([0] * 60), tmp_path / "a"))
    stage = tmp_path / "gate"
    stage.mkdir()
    comparison = gate(candidate, baseline)
    written = write_gate(stage, candidate, baseline, comparison)
    outcome = load_run(stage)  # every digest holds
    assert outcome.record == written
    assert outcome.record.verdict is Verdict.FAIL
    assert outcome.record.comparison == comparison
    assert (stage / "candidate-record.json").read_bytes() == (tmp_path / "b" / "record.json").read_bytes()
    assert outcome.record.comparison.candidate["record_sha256"] == file_sha256(stage / "candidate-record.json")
    assert comparison.baseline["record_sha256"] == baseline.sha256
    with (stage / "exhibits" / "gate-units.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["unit"] for row in rows] == [f"c{k}" for k in range(1, 31)]
    assert {(row["baseline"], row["candidate"], row["worsening"]) for row in rows} == {("0.0", "1.0", "1.0")}
    assert json.loads(outcome.record.to_json())["comparison"]["verdict"] == "fail"


# observations.csv

names = st.text(min_size=1, max_size=8)


@given(
    st.dictionaries(
        names,
        st.dictionaries(names, st.tuples(names, st.floats(allow_nan=False, allow_infinity=False)), min_size=1),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=60)
def test_prop_observations_come_back(tmp_path_factory: pytest.TempPathFactory, drawn: Any) -> None:
    folder = tmp_path_factory.mktemp("observations")
    seen = {
        name: Observations(
            statistic="mean",
            units=list(rows),
            patients=[patient for patient, _ in rows.values()],
            values=[value for _, value in rows.values()],
        )
        for name, rows in drawn.items()
    }
    write_observations(folder, seen)
    assert read_observations(folder) == seen


def test_no_observations_are_no_file(tmp_path: Path) -> None:
    write_observations(tmp_path, {})
    assert list(tmp_path.iterdir()) == []
    assert read_observations(tmp_path) == {}


def test_an_observation_must_be_finite(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be finite"):
        write_observations(tmp_path, {RATE: of_kind("mean", [1.0, float("inf")])})


HEAD = "measurement,statistic,unit,patient_id,value\n"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "the columns"),
        ("measurement,unit\n", "the columns measurement, unit"),
        (HEAD + "a,share,u,p,0.5\n", "values other than 0 and 1"),
        (HEAD + "a,mean,u,p,nan\n", "not finite"),
        (HEAD + "a,mean,u,p,x\n", "could not convert"),
        (HEAD + "a,mode,u,p,1\n", "validation error"),
        (HEAD + "a,mean,u,p,1\na,mean,u,p,2\n", "stands there twice"),
        (HEAD + "a,mean,u,p,1\nb,mean,u,p,2\na,mean,v,p,2\n", "do not stand together"),
    ],
)
def test_damaged_observations_are_refused(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "observations.csv").write_text(text)
    with pytest.raises(RecordError) as caught:
        read_observations(tmp_path)
    assert found in str(caught.value.found)
