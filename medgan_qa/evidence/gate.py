"""The gate: a retrained model's run beside the accepted one's, on the same cases.

A candidate passes if it meets the absolute criteria again, is not inferior for any criterion that gates and has a
margin, and loses no sentinel case. All of them have to hold, so each is tested at the whole error rate
(intersection-union test: R. L. Berger, Technometrics 24 (1982) 295-300).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from medgan_qa.digests import sha256
from medgan_qa.errors import ConfigurationError
from medgan_qa.evidence._changed_units import SHOWN
from medgan_qa.evidence._gate_changes import UNIT_COLUMNS, changed_units, changes, subgroups
from medgan_qa.evidence._gate_run import SAME, Run, load_run, require_unchanged, settle_differences
from medgan_qa.evidence.folder import RECORD, write_record
from medgan_qa.evidence.tables import table_csv
from medgan_qa.record import Change, Comparison, Record, Sentinel, Verdict

__all__ = ["SAME", "Run", "compare", "gated_record", "headline", "load_run", "write_gate"]

CANDIDATE_RECORD = "candidate-record.json"
"""The candidate's Record as its own run left it."""
CHANGED_UNITS = "exhibits/gate-units.csv"
"""Every unit whose result changed, one row each."""
WORDS = {Verdict.PASS: "met", Verdict.FAIL: "not met"}
UNKNOWN_SENTINEL = (
    "The baseline's criteria name this case and the candidate's do not, so what became of it was not asked."
)


def compare(candidate: Run, baseline: Run, *, allowed: Mapping[str, str], modification: str = "") -> Comparison:
    """Hold a candidate against a baseline.

    Args:
        candidate: the run of the retrained model.
        baseline: the run of the accepted one.
        allowed: the reason for each kind of difference (`SAME`) that does not refuse the comparison.
        modification: identifier of the modification, where the criteria name none.

    Raises:
        IntegrityError: the two runs differ in more than the model, and it is not allowed.
        ConfigurationError: something is allowed that does not differ, another modification is named than the criteria
            name, or the candidate is itself the outcome of a gate.
    """
    _require_single(candidate)
    settled = settle_differences(candidate, baseline, allowed)
    named = _modification(candidate.record, modification)
    identical = _identical(candidate.record, baseline.record)
    judged = changes(candidate, baseline, same_bytes=identical, same_data="data" not in allowed)
    kept = _sentinels(candidate.record.sentinels, baseline.record.sentinels)
    outcome = _outcome(judged, kept, _bytes_note(candidate, baseline, settled) if identical else "")
    return Comparison(
        verdict=outcome.verdict,
        reason=f"{_head(named, candidate.record, outcome.verdict)} {outcome.reason}",
        modification=named,
        baseline=_facts(baseline),
        candidate=_facts(candidate),
        identical=identical,
        allowed=settled,
        changes=judged,
        subgroups=subgroups(candidate, baseline, judged),
        sentinels=kept,
    )


class _Outcome(NamedTuple):
    verdict: Verdict
    reason: str


def _require_single(candidate: Run) -> None:
    if candidate.record.comparison is not None:
        raise ConfigurationError(
            "The candidate is itself the outcome of a gate.",
            expected="the folder of the candidate's own run",
            found="a Record that holds a comparison",
            where=candidate.folder,
            todo="Name the folder that `medgan-qa audit` wrote.",
        )


def _modification(record: Record, given: str) -> dict[str, str]:
    declared = record.context.get("modification")
    declared = declared if isinstance(declared, Mapping) else {}
    named = {key: str(declared.get(key, "")) for key in ("id", "description", "protocol")}
    if given and named["id"] and given != named["id"]:
        raise ConfigurationError(
            "Another modification is named than the one that the criteria were written for.",
            expected=named["id"],
            found=given,
            where="--modification",
            todo="Leave it out, or use the criteria of that modification.",
        )
    return {**named, "id": named["id"] or given}


def headline(record: Record) -> str:
    """The outcome of a gate in one sentence, without what it rests on."""
    comparison = record.comparison
    return "" if comparison is None else _head(comparison.modification, record, comparison.verdict)


def _head(modification: Mapping[str, Any], record: Record, verdict: Verdict) -> str:
    word = WORDS.get(verdict, "not shown")
    if not modification["id"]:
        return f"Comparison with the accepted model: {word}."
    declared = record.criteria_lock.get("protocol")
    declared = declared if isinstance(declared, Mapping) else {}
    own = " revision ".join(str(declared[key]) for key in ("id", "revision") if declared.get(key))
    protocol = modification["protocol"] or own
    under = f" under protocol {protocol}" if protocol else ""
    return f"Modification {modification['id']}: performance evaluation{under}: {word}."


def _identical(candidate: Record, baseline: Record) -> bool:
    """The same bytes, read in the same way: the card says how numbers go in and come out."""
    after, before = candidate.subject, baseline.subject
    return bool(after.get("sha256")) and all(after.get(key) == before.get(key) for key in ("sha256", "card"))


def _bytes_note(candidate: Run, baseline: Run, settled: Iterable[str]) -> str:
    note = "No change: candidate and baseline are the same bytes."
    moved = [name for name, m in candidate.measurements.items() if _value(baseline, name) != m.value]
    moved += [name for name in baseline.measurements if name not in candidate.measurements]
    if not moved:
        return note
    named = ", ".join(moved[:3]) + (", ..." if len(moved) > 3 else "")
    said = f"{note} Their results differ all the same in {len(moved)} measurements ({named}): "
    return said + (
        "the two runs differ in what was allowed."
        if any(settled)
        else "the model or its computation is not deterministic."
    )


def _value(run: Run, name: str) -> float | None:
    return run.measurements[name].value if name in run.measurements else None


def _sentinels(candidate: list[Sentinel], baseline: list[Sentinel]) -> list[Sentinel]:
    """The candidate's sentinels, with what became of each in the baseline, and those that it no longer names."""
    before = {(s.case_id, s.audit): s for s in baseline}
    named = {(s.case_id, s.audit) for s in candidate}
    found = [_beside(s, before.get((s.case_id, s.audit))) for s in candidate]
    dropped = {"found": "not asked", "verdict": Verdict.INCONCLUSIVE, "reason": UNKNOWN_SENTINEL}
    return found + [s.model_copy(update=dropped) for key, s in before.items() if key not in named]


def _beside(sentinel: Sentinel, before: Sentinel | None) -> Sentinel:
    if sentinel.verdict is Verdict.PASS or before is None:
        return sentinel
    return sentinel.model_copy(update={"reason": f"{sentinel.reason} In the baseline: {before.found}."})


def _outcome(judged: list[Change], sentinels: list[Sentinel], same: str) -> _Outcome:
    margins = [c for c in judged if c.verdict is not Verdict.NOT_APPLICABLE]
    worst = _worst([*(c.verdict for c in margins), *(s.verdict for s in sentinels)])
    if worst in (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE):
        open_ = [c for c in margins if c.verdict is worst]
        said = [_named([s for s in sentinels if s.verdict is worst], worst)]
        said += [f"{c.criterion} {c.measurement}: {_lowered(c.reason)}" for c in open_]
        return _Outcome(worst, " ".join(part for part in (same, *said) if part))
    if same:
        return _Outcome(Verdict.PASS, same)
    if not margins:
        nothing = "No criterion that gates declares a margin, so nothing says how much worse a retrained model may be."
        return _Outcome(Verdict.INCONCLUSIVE, nothing)
    names = ", ".join(dict.fromkeys(c.criterion for c in margins))
    kept = f" and {_all_kept(len(sentinels))}" if sentinels else ""
    return _Outcome(Verdict.PASS, f"Not inferior within the margin of {names}{kept}. {_lost(margins)}".rstrip())


def _named(sentinels: list[Sentinel], verdict: Verdict) -> str:
    """Sentinels that were not kept, in one sentence; the reason of each stands with it."""
    if not sentinels:
        return ""
    more = f" and {len(sentinels) - SHOWN} more" if len(sentinels) > SHOWN else ""
    names = ", ".join(f"{s.case_id} ({s.audit})" for s in sentinels[:SHOWN])
    what = "lost" if verdict is Verdict.FAIL else "not judged"
    return f"{'Sentinel' if len(sentinels) == 1 else 'Sentinels'} {names}{more}: {what}."


def _lowered(text: str) -> str:
    return text[:1].lower() + text[1:]


def _all_kept(n: int) -> str:
    return "the sentinel case was kept" if n == 1 else f"all {n} sentinel cases were kept"


def _lost(margins: list[Change]) -> str:
    """How many units each criterion lost although it passed."""
    said = [f"{c.worsened} in {c.criterion} {c.measurement}" for c in margins if c.worsened]
    return f"Newly worse all the same: {', '.join(said)}." if said else ""


def _worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Nothing but passes makes a pass."""
    present = set(verdicts)
    ranked = (Verdict.FAIL, Verdict.ERROR, Verdict.INCONCLUSIVE, Verdict.NOT_APPLICABLE)
    return next((verdict for verdict in ranked if verdict in present), Verdict.PASS)


def _facts(run: Run) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "run": run.record.run.get("id", ""),
        "name": run.record.subject.get("name", ""),
        "version": run.record.subject.get("version", ""),
        "model_sha256": run.record.subject.get("sha256", ""),
        "record_sha256": run.sha256,
        "verdict": run.record.verdict.value,
    }
    return {**facts, "accepted": dict(run.accepted)} if run.accepted else facts


def gated_record(candidate: Record, comparison: Comparison, files: Mapping[str, str]) -> Record:
    """The candidate's Record with the comparison; its verdict is the worse of the run's own and of the comparison.

    Args:
        candidate: as its own run left it.
        comparison: the outcome of `compare`.
        files: SHA-256 of the evidence files, by path.
    """
    verdict = _worst([candidate.verdict, comparison.verdict])
    notes = [f"The gate allowed a difference. {text}" for text in comparison.allowed]
    if comparison.baseline["verdict"] != Verdict.PASS:
        notes.append(f"The baseline's own verdict is {comparison.baseline['verdict']}.")
    return candidate.model_copy(
        update={
            "verdict": Verdict.INCONCLUSIVE if verdict is Verdict.NOT_APPLICABLE else verdict,
            "reason": f"{comparison.reason} The candidate's own run: {candidate.reason}",
            "run": {**candidate.run, "gate_utc": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"},
            "deviations": [*candidate.deviations, *notes],
            "comparison": comparison,
            "files": dict(files),
        }
    )


def write_gate(stage: Path, candidate: Run, baseline: Run, comparison: Comparison) -> Record:
    """Write a gate's outcome into a staged folder: the candidate's evidence, what changed, and the Record.

    A failed gate is written like a passed one.

    Args:
        stage: a staged folder.
        candidate: the run that was compared.
        baseline: what it was compared with.
        comparison: the outcome of `compare`.

    Returns:
        The Record with the comparison, as it was written.

    Raises:
        IntegrityError: an evidence file changed since the run was read.
    """
    for path, digest in candidate.record.files.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(candidate.folder / path, stage / path)
        require_unchanged(stage, path, digest)
    added = {
        CANDIDATE_RECORD: (candidate.folder / RECORD).read_bytes(),
        CHANGED_UNITS: table_csv(changed_units(candidate, baseline), UNIT_COLUMNS).encode(),
    }
    for path, content in added.items():
        (stage / path).parent.mkdir(parents=True, exist_ok=True)
        (stage / path).write_bytes(content)
    files = {**candidate.record.files, **{path: sha256(content) for path, content in added.items()}}
    record = gated_record(candidate.record, comparison, dict(sorted(files.items())))
    write_record(stage, record)
    return record
