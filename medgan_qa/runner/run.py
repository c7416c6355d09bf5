"""Running the audits of a suite, and putting the Record together."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from medgan_qa import __version__, rng
from medgan_qa.audits import RUNS, Audit, Findings, Run
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.criteria import Criteria, hazards, judge, preconditions, sentinel_results
from medgan_qa.engines import Engine
from medgan_qa.errors import ConfigurationError, InputError, ModelCrashError
from medgan_qa.record import Observations, Record
from medgan_qa.runner.data import accounting, data_facts
from medgan_qa.runner.parameters import parameters
from medgan_qa.runner.requirements import require_declared, require_task, require_test_partition
from medgan_qa.runner.subjects import unprotected
from medgan_qa.runner.verdicts import Ran, absent, audit_result, error_text, index_entry, of_audit, overall
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import Suite


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What the Record says of the circumstances of a run."""

    command: Sequence[str] = ()
    """The command line, without secrets."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    """What the run was computed with."""
    lock: Mapping[str, Any] = field(default_factory=dict)
    """Facts of the lock that the criteria and the data were held against; empty where there is none."""
    notes: Sequence[str] = ()
    """What was known before the run and belongs among its deviations."""
    data: str = ""
    """How the data was named: a dataset's file, or an embedded cohort."""
    document: Mapping[str, Any] = field(default_factory=dict)
    """The report as a controlled document: `id`, `revision`."""


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
    observations: dict[str, Observations] = field(default_factory=dict)
    """What measurements were computed from, by measurement id."""
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
    setting: Setting | None = None,
    options: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
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
        setting: what the Record says of the circumstances.
        options: what the suite's run takes beside these (synthesis: `samples`, `extractors`, `resamples`, `store`,
            `discriminator`), in place of the suite's own.
        context: what audits may use and the run has no other way to know; it stands in `run.shared` (`loader`: the
            data loader of the training; `history`: what the ledger shows of the data).

    Raises:
        DatasetError: no test partition, or a file that cannot be read.
        ModelError: the model is for another task, or cannot be run on the first image.
        ConfigurationError: a parameter that an audit does not have, or criteria for another suite or seed.
    """
    started, clock = datetime.now(UTC), time.perf_counter()
    setting = setting or Setting()
    settled = {audit.code: parameters(audit, criteria) for audit in suite.audits}
    require_declared(criteria, suite.name, seed)
    require_task(subject, suite.task, suite.name)
    if detector is not None:
        require_task(detector, "segmentation", "--detector")
    require_test_partition(cohort)
    run: Run = RUNS[suite.name](subject, cohort, detector, engine, seed, **{**suite.options, **(options or {})})
    run.shared.update(context or {})
    for partition in run.partitions:
        cohort.require_readable(partition)
    # A model that crashes takes only the audits along that need it.
    with contextlib.suppress(ModelCrashError):
        run.dry_run()

    ran = [_measure(audit, run, settled[audit.code]) for audit in suite.audits]
    rows = [{"audit": r.audit.code, **row} for r in ran for row in r.findings.rows]
    estimates = [e for r in ran for e in r.findings.estimates]
    measured = {e.measurement.id: e for e in estimates}
    judged = judge(criteria, measured)
    veto = " ".join(r.findings.veto for r in ran if r.findings.veto)
    results = [audit_result(r, of_audit(judged, r.audit.code), veto) for r in ran]
    results += absent(judged, {audit.code for audit in suite.audits})
    held = preconditions(criteria, data_facts(cohort, rows))
    sentinels = sentinel_results(criteria, rows, measured)
    verdict, reason = overall(results, held, sentinels, unasked=suite.beside)
    finished = datetime.now(UTC)
    record = Record(
        verdict=verdict,
        reason=reason,
        suite=suite.name,
        tool={"name": "medgan-qa", "version": __version__, "suite_title": suite.title},
        run={
            "id": f"{started:%Y%m%dT%H%M%SZ}-{rng.child_seed(seed, subject.sha256, cohort.digest()):016x}"[:25],
            "started_utc": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "finished_utc": f"{finished:%Y-%m-%dT%H:%M:%SZ}",
            "seconds": round(time.perf_counter() - clock, 2),
            "seed": seed,
            "device": subject.device,
            "command": list(setting.command),
            **({"data": setting.data} if setting.data else {}),
            **_options(run),
        },
        subject={**subject.as_dict(), "detector": None if detector is None else detector.as_dict()},
        data=cohort.describe(),
        criteria_lock=_lock(criteria, setting.lock),
        environment=dict(setting.environment),
        deviations=_deviations(run, criteria, ran, setting),
        limitations=_limitations(suite, cohort),
        audits=results,
        index=[index_entry(declared, results) for declared in suite.index],
        document=dict(setting.document),
        context=criteria.context_facts(),
        preconditions=held,
        sentinels=sentinels,
        hazards=hazards(criteria),
        accounting=accounting(cohort, ran),
    )
    return RunResult(
        record,
        rows=rows,
        arrays={path: content for r in ran for path, content in r.findings.arrays.items()},
        tables={path: table for r in ran for path, table in r.findings.tables.items()},
        observations={e.measurement.id: e.observations for e in estimates if e.observations is not None},
        exception=next((r.error for r in ran if r.error is not None), None),
    )


def _options(run: Run) -> dict[str, Any]:
    try:
        return run.options
    except ModelCrashError:  # how many images a sampler drew is not known where it drew none
        return {}


def _measure(audit: Audit, run: Run, settled: dict[str, Any]) -> Ran:
    began = time.perf_counter()
    findings, broken = Findings(), None
    try:
        findings = audit.run(run, settled)
    except (ConfigurationError, InputError):
        # What was given is at fault, not the audit: nothing the run says would be about the model.
        raise
    except Exception as error:  # an audit that breaks must not take the others' results with it
        broken = error
    return Ran(audit, settled, findings, time.perf_counter() - began, broken)


def _lock(criteria: Criteria, lock: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "locked": bool(lock),
        "default": criteria.default,
        "file": Path(criteria.file).name,
        "digest": criteria.digest(),
        "alpha": criteria.alpha,
        "multiplicity": criteria.multiplicity,
        "protocol": criteria.protocol,
        **lock,
    }


def _deviations(run: Run, criteria: Criteria, ran: Sequence[Ran], setting: Setting) -> list[str]:
    found = [] if setting.lock else ["The criteria were not locked before the run."]
    found += setting.notes
    found += [f"{d.id} has no rationale." for d in criteria.declared if not d.rationale]
    found += [f"{r.audit.code} did not run: {error_text(r.error).splitlines()[0]}" for r in ran if r.error is not None]
    found += unprotected(run.subject, run.detector)
    with contextlib.suppress(ModelCrashError):  # told above, as the reason of an audit that did not run
        found += run.deviations()
    return found


def _limitations(suite: Suite, cohort: Cohort) -> list[str]:
    phantom = ["The images are phantoms: no evidence of clinical performance."] if cohort.phantom else []
    return [*phantom, *suite.limitations]
