"""From criteria to verdicts: of an audit, and of the run."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass
from typing import Any

from medgan_qa import quantities
from medgan_qa.audits import AUDITS, Audit, Findings
from medgan_qa.errors import MedganQAError
from medgan_qa.record import AuditResult, Criterion, IndexEntry, Measurement, Precondition, Sentinel, Verdict


@dataclass(frozen=True)
class Ran:
    """An audit and what came of it."""

    audit: Audit
    parameters: dict[str, Any]
    findings: Findings
    seconds: float
    error: Exception | None


def of_audit(judged: list[Criterion], code: str) -> list[Criterion]:
    """The criteria on measurements of one audit."""
    return [c for c in judged if c.measurement.split(".")[0] == code]


def audit_result(ran: Ran, criteria: list[Criterion], veto: str) -> AuditResult:
    """An audit as the Record holds it; `veto` holds back the passes of what copies flatter."""
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
        return criterion.model_copy(
            update={"verdict": Verdict.ERROR, "reason": f"The audit broke: {error_text(error)}"}
        )
    if findings.not_applicable:
        return criterion.model_copy(update={"verdict": Verdict.NOT_APPLICABLE, "reason": findings.not_applicable})
    return criterion.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": findings.missing})


def _held_back(criterion: Criterion, veto: str) -> Criterion:
    """Copies are near the real images because they are real images: a pass that they flatter is none."""
    if criterion.verdict is not Verdict.PASS:
        return criterion
    reason = f"The bound meets the limit, but copies flatter it, so this is no pass: {veto}"
    return criterion.model_copy(update={"verdict": Verdict.INCONCLUSIVE, "reason": reason})


def index_entry(declared: IndexEntry, results: Sequence[AuditResult]) -> IndexEntry:
    """A heading with the worst verdict among the audits that stand for it."""
    verdicts = [r.verdict for r in results if r.code in declared.audits]
    return declared.model_copy(update={"verdict": _worst(verdicts) if verdicts else None})


def error_text(error: Exception) -> str:
    """An error in words: as it was written for the user, or with its type."""
    return str(error) if isinstance(error, MedganQAError) else f"{type(error).__name__}: {error}"


def _audit_verdict(findings: Findings, criteria: list[Criterion], error: Exception | None) -> tuple[Verdict, str]:
    if error is not None:
        return Verdict.ERROR, error_text(error)
    if findings.missing:
        return Verdict.INCONCLUSIVE, findings.missing
    if findings.not_applicable:
        return Verdict.NOT_APPLICABLE, findings.not_applicable
    criteria = [c for c in criteria if c.severity == "gate"]
    if not criteria:
        return Verdict.NOT_APPLICABLE, "Reported without a criterion that gates, so there is nothing to judge."
    worst = _worst([c.verdict for c in criteria])
    return worst, " ".join(f"{c.id}: {c.reason}" for c in criteria if c.verdict is worst)


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    for verdict in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.PASS):
        if verdict in verdicts:
            return verdict
    return Verdict.NOT_APPLICABLE


def absent(judged: list[Criterion], codes: set[str]) -> list[AuditResult]:
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
            criteria=of_audit(judged, code),
            exhibits=[],
            notes=[],
        )
        for code in absent
    ]


def overall(
    results: Sequence[AuditResult],
    held: Sequence[Precondition] = (),
    sentinels: Sequence[Sentinel] = (),
    *,
    unasked: Set[str] = frozenset(),
) -> tuple[Verdict, str]:
    """The run's verdict and the sentence that says why.

    The worst of the criteria that gate, of the audits that broke, of the conditions on the data and of the sentinel
    cases. Without any pass it is no pass. Audits of the codes in `unasked` hold nothing back where they are
    inconclusive, unless a criterion that is not optional names them.
    """

    def is_open(result: AuditResult) -> bool:
        free = result.code in unasked and all(c.optional for c in result.criteria)
        return free and result.verdict is Verdict.INCONCLUSIVE

    gates = [(c, is_open(r)) for r in results for c in r.criteria if c.severity == "gate"]
    aside = [c for c, free in gates if _left_out(c) or (free and c.verdict is Verdict.INCONCLUSIVE)]
    criteria = [c for c, _ in gates if c not in aside]
    stopped = [r for r in results if r.verdict in (Verdict.ERROR, Verdict.INCONCLUSIVE) and not is_open(r)]
    beside: list[Precondition | Sentinel] = [*held, *sentinels]
    judged: list[Criterion | AuditResult] = [*criteria, *stopped]
    worst = _worst([part.verdict for part in [*judged, *beside]])
    left = ", ".join(c.id for c in criteria if c.verdict is Verdict.NOT_APPLICABLE)
    if worst is Verdict.PASS and not criteria:
        worst = Verdict.NOT_APPLICABLE
    if worst is Verdict.PASS and left:
        # Declared means asked for: a claim that was never tested is not carried by the others.
        return Verdict.INCONCLUSIVE, f"Inconclusive: {left} did not apply to this model and data, so it was not judged."
    also = " ".join(f"{_name(part)}: {part.reason}" for part in beside if part.verdict is worst)
    if worst is Verdict.PASS:
        besides = f" Optional, and not judged: {', '.join(map(_set_aside, aside))}." if aside else ""
        return worst, f"Every criterion passed ({', '.join(c.id for c in criteria)}).{besides}"
    if worst is Verdict.FAIL:
        return worst, " ".join(part for part in (_failures(results, criteria), also) if part)
    ids = ", ".join(c.id for c in criteria if c.verdict is worst)
    codes = ", ".join(f"{r.code} {r.title.lower()}" for r in stopped if r.verdict is worst)
    if worst is Verdict.ERROR:
        return worst, f"No verdict: a check did not run ({codes})."
    if worst is Verdict.INCONCLUSIVE:
        named = ", ".join(part for part in (ids, codes, *(_name(p) for p in beside if p.verdict is worst)) if part)
        sentence = f"Inconclusive: {named}. Nothing was shown, in either direction."
        return worst, f"{sentence} {also}".rstrip()
    return Verdict.INCONCLUSIVE, "Inconclusive: no criterion applied, so nothing was judged."


def _set_aside(criterion: Criterion) -> str:
    why = "does not apply" if criterion.verdict is Verdict.NOT_APPLICABLE else "inconclusive"
    return f"{criterion.id} ({why})"


def _left_out(criterion: Criterion) -> bool:
    """Declared for models and data that its audit applies to, and these are not such."""
    return criterion.optional and criterion.verdict is Verdict.NOT_APPLICABLE


def _name(part: Precondition | Sentinel) -> str:
    return part.id if isinstance(part, Precondition) else f"sentinel {part.case_id}"


def _failures(results: Sequence[AuditResult], criteria: Sequence[Criterion]) -> str:
    failed = [c for c in criteria if c.verdict is Verdict.FAIL]
    if not failed:
        return "The run failed."
    measured = {m.id: m for r in results for m in r.measurements}
    said = " ".join(_failure(c, measured[c.measurement]) for c in failed)
    return f"The model failed {len(failed)} of {len(criteria)} criteria. {said}"


def _failure(criterion: Criterion, measurement: Measurement) -> str:
    """A failed criterion in one sentence with its numbers, for the first page."""
    value, unit, limits = measurement.value, measurement.unit, criterion.limit
    estimate = "-" if value is None else quantities.against(value, limits.values(), unit)
    allowed = quantities.allowed(limits, unit)
    return f"{criterion.id}, {measurement.label.lower()}: {estimate}, where {allowed} is allowed."
