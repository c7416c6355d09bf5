"""What a gate compares: two runs, read from their folders, and what must be the same in both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from medgan_qa.digests import file_sha256
from medgan_qa.errors import ConfigurationError, IntegrityError
from medgan_qa.evidence._run_files import file_problem
from medgan_qa.evidence.folder import RECORD, read_record
from medgan_qa.evidence.observations import OBSERVATIONS, read_observations
from medgan_qa.record import Criterion, Measurement, Observations, Record


@dataclass(frozen=True)
class Run:
    """A finished run."""

    folder: Path
    record: Record
    observations: Mapping[str, Observations]
    """By measurement id."""
    sha256: str
    """SHA-256 of `record.json`, which names the run."""
    accepted: Mapping[str, Any] = field(default_factory=dict)
    """The acceptance, for a baseline that was named; empty otherwise."""

    @cached_property
    def criteria(self) -> dict[tuple[str, str], Criterion]:
        """Every criterion of the run, by id and measurement: one id may stand for several strata."""
        return {(c.id, c.measurement): c for audit in self.record.audits for c in audit.criteria}

    @cached_property
    def measurements(self) -> dict[str, Measurement]:
        """Every measurement of the run, by id."""
        return {m.id: m for audit in self.record.audits for m in audit.measurements}


def load_run(folder: Path, accepted: Mapping[str, Any] | None = None) -> Run:
    """Read a run's folder, and hold its evidence files against the digests in its Record.

    Raises:
        RecordError: there is no Record, or a table that cannot be read.
        IntegrityError: an evidence file is missing, changed, or not named in the Record.
    """
    record = read_record(folder)
    for path, digest in record.files.items():
        require_unchanged(folder, path, digest)
    if (folder / OBSERVATIONS).exists() and OBSERVATIONS not in record.files:
        raise IntegrityError(
            "An evidence file is not among those that the Record names.",
            expected=f"{OBSERVATIONS} among the files of {RECORD}",
            found=f"{len(record.files)} files, and not this one",
            where=folder / OBSERVATIONS,
            todo="Name the folder as the audit left it, or run the audit again.",
        )
    return Run(folder, record, read_observations(folder), file_sha256(folder / RECORD), accepted or {})


def require_unchanged(folder: Path, path: str, digest: str) -> None:
    """Refuse an evidence file that is not the one that the Record names.

    Raises:
        IntegrityError: the file is missing, has another digest, or lies outside the folder.
    """
    problem = file_problem(folder, path, digest)
    if problem:
        raise IntegrityError(
            "An evidence file is not the one that the run wrote.",
            expected=f"SHA-256 {digest}",
            found=problem,
            where=folder / path,
            todo="Restore the run's folder, or run the audit again.",
        )


def _parameters(record: Record) -> Any:
    return {audit.code: audit.parameters for audit in record.audits}


def _detector(record: Record) -> Any:
    return (record.subject.get("detector") or {}).get("sha256", "none")


def _options(record: Record) -> Any:
    return {name: record.run[name] for name in ("samples", "extractors", "resamples") if name in record.run}


SAME: dict[str, Callable[[Record], Any]] = {
    "data": lambda record: record.data.get("digest"),
    "criteria": lambda record: record.criteria_lock.get("digest"),
    "suite": lambda record: record.suite,
    "tool": lambda record: record.tool.get("version"),
    "parameters": _parameters,
    "options": _options,
    "seed": lambda record: record.run.get("seed"),
    "detector": _detector,
}
"""What has to be the same in two runs that are compared, by the name under which a difference can be allowed."""


def differences(candidate: Run, baseline: Run) -> dict[str, str]:
    """What is not the same in the two runs, in words, by kind."""
    found = {}
    for kind, of in SAME.items():
        after, before = of(candidate.record), of(baseline.record)
        # Two runs that both lack a digest have not been shown to be alike.
        if after != before or after is None:
            found[kind] = _said(kind, after, before)
    if "criteria" in found:
        found["criteria"] += _criteria(candidate, baseline)
    return found


def _said(kind: str, after: Any, before: Any) -> str:
    if isinstance(after, dict) and isinstance(before, dict):
        changed = [key for key in sorted({*after, *before}) if after.get(key) != before.get(key)]
        parts = [f"{key}: baseline {before.get(key)!r}, candidate {after.get(key)!r}" for key in changed]
        return f"{kind}: {'; '.join(parts)}"
    before, after = ("not recorded" if value is None else value for value in (before, after))
    return f"{kind}: baseline {before}, candidate {after}"


def _criteria(candidate: Run, baseline: Run) -> str:
    after, before = candidate.criteria, baseline.criteria
    gone = [name for name in before if name not in after]
    new = [name for name in after if name not in before]
    moved = [name for name in after if name in before and _declared(after[name]) != _declared(before[name])]
    named = {"no longer declared": gone, "new": new, "changed": moved}
    return "".join(f"; {what}: {', '.join(' '.join(n) for n in names)}" for what, names in named.items() if names)


def _declared(criterion: Criterion) -> Any:
    return (criterion.limit, criterion.judged_on, criterion.severity, criterion.margin)


def settle_differences(candidate: Run, baseline: Run, allowed: Mapping[str, str]) -> list[str]:
    """Refuse two runs that differ in more than the model, but for what is allowed.

    Args:
        candidate: the run of the retrained model.
        baseline: the run of the accepted one.
        allowed: the reason for each kind of difference that is allowed.

    Returns:
        Each difference that was allowed, with the reason.

    Raises:
        IntegrityError: a difference that is not allowed; all of them are listed.
        ConfigurationError: something is allowed that does not exist, does not differ, or for no reason.
    """
    found = differences(candidate, baseline)
    _require_sensible(allowed, found)
    refused = [text for kind, text in found.items() if kind not in allowed]
    if refused:
        raise IntegrityError(
            "The two runs differ in more than the model, so their results cannot be compared.",
            expected=f"the same {', '.join(SAME)}",
            found="\n    ".join(refused),
            where=f"{candidate.folder} against {baseline.folder}",
            todo="Run the candidate as the baseline was run, or allow each difference with its reason: "
            + " ".join(f'--allow {kind}="..."' for kind in found if kind not in allowed),
        )
    return [f"{text}; allowed: {allowed[kind].strip()}" for kind, text in found.items()]


def _require_sensible(allowed: Mapping[str, str], found: Mapping[str, str]) -> None:
    for kind, reason in allowed.items():
        problem = None
        if kind not in SAME:
            problem = f"No difference is called {kind!r}."
        elif kind not in found:
            problem = f"A difference of {kind} is allowed, and there is none."
        elif not reason.strip():
            problem = f"A difference of {kind} is allowed without a reason."
        if problem:
            raise ConfigurationError(
                problem,
                expected=f"KIND=REASON with one of {', '.join(SAME)}",
                found=f"--allow {kind}={reason}",
                where="--allow",
                todo=f"The two runs differ in: {', '.join(found) or 'nothing'}.",
            )
