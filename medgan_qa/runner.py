"""Subject + Cohort + Suite + Criteria -> Record."""

from __future__ import annotations

import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from numpy.typing import NDArray

from medgan_qa import __version__, rng
from medgan_qa.audits import AUDITS, RUNS, Audit, Findings, Run
from medgan_qa.cohorts.cohort import Cohort, subset
from medgan_qa.criteria import Criteria, judge
from medgan_qa.engines import Engine
from medgan_qa.errors import ConfigurationError, DatasetError, InputError, MedganQAError, ModelError
from medgan_qa.record import AuditResult, Criterion, IndexEntry, Measurement, Record, Verdict
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import Suite

PACKAGES = ("torch", "numpy", "scipy", "pandas", "scikit-image", "weasyprint", "jinja2", "pydantic")


@dataclass
class RunResult:
    """A Record, with the tables and arrays that stand beside it."""

    record: Record
    rows: list[dict[str, Any]]
    """`cases.csv`: one row a case and audit."""
    arrays: dict[str, dict[str, NDArray[Any]]]
    """Contents of the exhibit files, by path in the run's folder."""
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Finer tables, by path in the run's folder."""
    exception: Exception | None = None
    """The first error that an audit broke with, for --debug."""


def run_audit(
    subject: Subject,
    cohort: Cohort,
    suite: Suite,
    criteria: Criteria,
    *,
    detector: Subject | None,
    engine: Engine,
    seed: int = 0,
    command: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> RunResult:
    """Run every audit of a suite and judge what it measured.

    Args:
        subject: the model under audit.
        cohort: the data; its test partition is used.
        suite: which audits.
        criteria: what is judged.
        detector: reads lesions, or None.
        engine: maps over images.
        seed: names every random stream of the run.
        command: the command line, for the Record.
        options: what the suite's run takes beside these (synthesis: `samples`, `extractors`, `resamples`, `store`,
            `discriminator`), in place of the suite's own.

    Raises:
        DatasetError: no test partition, or a file that cannot be read.
        ModelError: the model is for another task, or cannot be run on the first image.
        ConfigurationError: a parameter that an audit does not have.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    parameters = {audit.code: _parameters(audit, criteria) for audit in suite.audits}
    _require_task(subject, suite.task, suite.name)
    if detector is not None:
        _require_task(detector, "segmentation", "--detector")
    _require_test_partition(cohort)
    run: Run = RUNS[suite.task](subject, cohort, detector, engine, seed, **{**suite.options, **(options or {})})
    for partition in run.partitions:
        cohort.require_readable(partition)
    run.dry_run()

    ran = [_measure(audit, run, parameters[audit.code]) for audit in suite.audits]
    judged = judge(criteria, {e.measurement.id: e for r in ran for e in r.findings.estimates})
    veto = " ".join(r.findings.veto for r in ran if r.findings.veto)
    results = [_result(r, _of(judged, r.audit.code), veto) for r in ran]
    results += _absent(judged, {audit.code for audit in suite.audits})
    verdict, reason = _overall(results)
    record = Record(
        verdict=verdict,
        reason=reason,
        suite=suite.name,
        tool={"name": "medgan-qa", "version": __version__, "suite_title": suite.title},
        run={
            "id": f"{started:%Y%m%dT%H%M%SZ}-{rng.child_seed(seed, subject.sha256, cohort.digest()):016x}"[:25],
            "started_utc": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "finished_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "seconds": round(time.perf_counter() - clock, 2),
            "seed": seed,
            "device": subject.device,
            "command": list(command),
            **run.options,
        },
        subject={**subject.as_dict(), "detector": None if detector is None else detector.as_dict()},
        data=cohort.describe(),
        criteria_lock={
            "locked": False,
            "default": criteria.default,
            "file": criteria.file,
            "digest": criteria.digest(),
            "alpha": criteria.alpha,
            "multiplicity": criteria.multiplicity,
            "protocol": criteria.protocol,
        },
        environment=environment(),
        deviations=_deviations(run, criteria, ran),
        limitations=_limitations(suite, cohort),
        audits=results,
        index=[_index_entry(declared, results) for declared in suite.index],
    )
    return RunResult(
        record,
        rows=[{"audit": r.audit.code, **row} for r in ran for row in r.findings.rows],
        arrays={path: content for r in ran for path, content in r.findings.arrays.items()},
        tables={path: table for r in ran for path, table in r.findings.tables.items()},
        exception=next((r.error for r in ran if r.error is not None), None),
    )


@dataclass(frozen=True)
class _Ran:
    """An audit and what came of it."""

    audit: Audit
    parameters: dict[str, Any]
    findings: Findings
    seconds: float
    error: Exception | None


def _measure(audit: Audit, run: Run, parameters: dict[str, Any]) -> _Ran:
    began = time.perf_counter()
    findings, broken = Findings(), None
    try:
        findings = audit.run(run, parameters)
    except (ConfigurationError, InputError):
        # What was given is at fault, not the audit: nothing the run says would be about the model.
        raise
    except Exception as error:  # an audit that breaks must not take the others' results with it
        broken = error
    return _Ran(audit, parameters, findings, time.perf_counter() - began, broken)


def environment() -> dict[str, Any]:
    """What the run was computed with."""
    packages = {}
    for name in PACKAGES:
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            packages[name] = "not installed"
    return {"python": platform.python_version(), "platform": platform.platform(), "packages": packages}


def _parameters(audit: Audit, criteria: Criteria) -> dict[str, Any]:
    defaults = audit.parameters
    given = criteria.parameters.get(audit.code, {})
    unknown_codes = [code for code in criteria.parameters if code not in AUDITS]
    for kind, unknown, expected in (
        ("audit", unknown_codes, AUDITS),
        (f"parameter of {audit.code}", [k for k in given if k not in defaults], defaults),
    ):
        if unknown:
            raise ConfigurationError(
                f"Unknown {kind} {unknown[0]!r} in [parameters].",
                expected=f"one of {', '.join(expected)}",
                found=unknown[0],
                where=criteria.file,
                todo=f"`medgan-qa explain {audit.code}` lists the parameters.",
            )
    for name, value in given.items():
        _require_kind(audit.code, name, value, defaults[name], criteria.file)
    return {**defaults, **given}


def _require_kind(code: str, name: str, value: Any, default: Any, where: str) -> None:
    """A parameter must be of its default's kind (a whole number passes for a fraction) and not negative."""
    kinds = (int, float) if isinstance(default, float) else (type(default),)
    if isinstance(value, kinds) and not isinstance(value, bool) and not (isinstance(value, int | float) and value < 0):
        return
    raise ConfigurationError(
        f"The parameter {name} of {code} cannot be used.",
        expected=f"a value such as {default!r}, not negative",
        found=repr(value),
        where=where,
        todo=f"`medgan-qa explain {code}` lists the parameters.",
    )


def _require_task(subject: Subject, task: str, where: str) -> None:
    if subject.card.task != task:
        raise ModelError(
            "The model is for another task.",
            expected=f'task = "{task}" in its card',
            found=f'task = "{subject.card.task}"',
            where=f"{subject.path} (for {where})",
            todo="Choose another model or suite, or correct the card.",
        )


def _require_test_partition(cohort: Cohort) -> None:
    if not subset(cohort.cases, "test"):
        held = sorted({case.partition for case in cohort.cases})
        raise DatasetError(
            "The dataset has no test partition.",
            expected='at least one case with partition "test"',
            found=f"partitions {', '.join(held) or 'none'}, {len(cohort.cases)} cases",
            where=cohort.name,
            todo="Mark the held-out cases as test in the table.",
        )


def _of(judged: list[Criterion], code: str) -> list[Criterion]:
    return [c for c in judged if c.measurement.split(".")[0] == code]


def _result(ran: _Ran, criteria: list[Criterion], veto: str) -> AuditResult:
    findings = ran.findings
    if findings.missing or findings.not_applicable or ran.error is not None:
        criteria = [_unjudged(c, findings, ran.error) for c in criteria]
    elif veto and ran.audit.flattered:
        criteria = [_held_back(c, veto) for c in criteria]
    verdict, reason = _audit_verdict(findings, criteria, ran.error)
    return AuditResult(
        code=ran.audit.code,
        title=ran.audit.title,
        question=ran.audit.question,
        verdict=verdict,
        reason=reason,
        parameters=ran.parameters,
        seconds=round(ran.seconds, 2),
        measurements=[e.measurement for e in findings.estimates],
        criteria=criteria,
        exhibits=findings.exhibits,
        notes=findings.notes,
    )


def _unjudged(criterion: Criterion, findings: Findings, error: Exception | None) -> Criterion:
    if error is not None:
        return criterion.model_copy(update={"verdict": Verdict.ERROR, "reason": f"The audit broke: {_text(error)}"})
    if findings.not_applicable:
        return criterion.model_copy(update={"verdict": Verdict.NOT_APPLICABLE, "reason": findings.not_applicable})
    return criterion.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": findings.missing})


def _held_back(criterion: Criterion, veto: str) -> Criterion:
    """Copies are near the real images because they are real images: a pass that they flatter is none."""
    if criterion.verdict is not Verdict.PASS:
        return criterion
    reason = f"The bound meets the limit, but copies flatter it, so this is no pass: {veto}"
    return criterion.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def _index_entry(declared: IndexEntry, results: Sequence[AuditResult]) -> IndexEntry:
    verdicts = [r.verdict for r in results if r.code in declared.audits]
    return declared.model_copy(update={"verdict": _worst(verdicts) if verdicts else None})


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, MedganQAError) else f"{type(error).__name__}: {error}"


def _audit_verdict(findings: Findings, criteria: list[Criterion], error: Exception | None) -> tuple[Verdict, str]:
    if error is not None:
        return Verdict.ERROR, _text(error)
    if findings.missing:
        return Verdict.INCONCLUSIVE, findings.missing
    if findings.not_applicable:
        return Verdict.NOT_APPLICABLE, findings.not_applicable
    if not criteria:
        return Verdict.NOT_APPLICABLE, "Reported without a criterion, so there is nothing to judge."
    worst = _worst([c.verdict for c in criteria])
    return worst, " ".join(f"{c.id}: {c.reason}" for c in criteria if c.verdict is worst)


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS):
        if verdict in verdicts:
            return verdict
    return Verdict.NOT_APPLICABLE


def _absent(judged: list[Criterion], codes: set[str]) -> list[AuditResult]:
    """A place in the Record for criteria on audits that the suite does not run: inconclusive, not forgotten."""
    absent = dict.fromkeys(c.measurement.split(".")[0] for c in judged if c.measurement.split(".")[0] not in codes)
    return [
        AuditResult(
            code=code,
            title=AUDITS[code].title if code in AUDITS else "No such audit",
            question="Not asked: the audit is not part of this suite.",
            verdict=Verdict.INCONCLUSIVE,
            reason=f"A criterion asks for {code}, which this suite does not run.",
            parameters={},
            seconds=0.0,
            measurements=[],
            criteria=_of(judged, code),
            exhibits=[],
            notes=[],
        )
        for code in absent
    ]


def _overall(results: list[AuditResult]) -> tuple[Verdict, str]:
    """The run's verdict: the worst of the criteria and of the audits that broke. Without any pass it is no pass."""
    criteria = [c for r in results for c in r.criteria]
    verdicts = [c.verdict for c in criteria] + [
        r.verdict for r in results if r.verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE)
    ]
    worst = _worst(verdicts)
    left = ", ".join(c.id for c in criteria if c.verdict is Verdict.NOT_APPLICABLE)
    if worst is Verdict.PASS and left:
        # Declared means asked for: a claim that was never tested is not carried by the others.
        return Verdict.INCONCLUSIVE, f"Inconclusive: {left} did not apply to this model and data, so it was not judged."
    ids = ", ".join(c.id for c in criteria if c.verdict is worst)
    codes = ", ".join(f"{r.code} {r.title.lower()}" for r in results if r.verdict is worst)
    if worst is Verdict.PASS:
        return worst, f"Every criterion passed ({ids})."
    if worst is Verdict.FAIL:
        measured = {m.id: m for r in results for m in r.measurements}
        said = [_failure(c, measured[c.measurement]) for c in criteria if c.verdict is worst]
        return worst, f"The model failed {len(said)} of {len(criteria)} criteria. {' '.join(said)}"
    if worst is Verdict.ERROR:
        return worst, f"No verdict: a check did not run ({codes})."
    if worst is Verdict.INCONCLUSIVE:
        return (
            worst,
            f"Inconclusive: {', '.join(t for t in (ids, codes) if t)}. Nothing was shown, in either direction.",
        )
    return Verdict.INCONCLUSIVE, "Inconclusive: no criterion applied, so nothing was judged."


def _failure(criterion: Criterion, measurement: Measurement) -> str:
    """A failed criterion in one sentence with its numbers, for the first page."""

    def show(value: float) -> str:
        if measurement.unit == "fraction":
            return f"{value:.0%}"
        return f"{value:.4g}" if measurement.unit == "count" or abs(value) >= 100 else f"{value:.2f}"

    limit = " and ".join(f"{'at most' if k == 'max' else 'at least'} {show(v)}" for k, v in criterion.limit.items())
    estimate = "-" if measurement.value is None else show(measurement.value)
    return f"{criterion.id}, {measurement.label.lower()}: {estimate}, where {limit} is allowed."


def _deviations(run: Run, criteria: Criteria, ran: Sequence[_Ran]) -> list[str]:
    found = ["The criteria were not locked before the run."]
    found += [f"{d.id} has no rationale." for d in criteria.declared if not d.rationale]
    found += [f"{r.audit.code} did not run: {_text(r.error).splitlines()[0]}" for r in ran if r.error is not None]
    found += run.deviations()
    return found


def _limitations(suite: Suite, cohort: Cohort) -> list[str]:
    phantom = ["The images are phantoms: no evidence of clinical performance."] if cohort.phantom else []
    return [*phantom, *suite.limitations]
