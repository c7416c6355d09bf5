"""`medgan-qa lock`: fix criteria and data before a run."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from medgan_qa.cli.options import debug_option
from medgan_qa.errors import ConfigurationError

if TYPE_CHECKING:
    from medgan_qa.cohorts.cohort import Cohort
    from medgan_qa.criteria import Criteria
    from medgan_qa.evidence.lock import Written


@click.command("lock")
@click.argument("criteria_file", metavar="CRITERIA", type=click.Path(path_type=Path))
@click.option("--data", required=True, help="Dataset file (.toml), its folder, or embedded phantoms (phantom:brain).")
@click.option("--suite", "suite_name", help="Suite of audits [the criteria's: [context] suite].")
@click.option("--by", "who", help="Who locks them [the login name].")
@click.option("--reason", default="", help="Why another lock takes the place of the one there is.")
@click.option("--out", type=click.Path(path_type=Path), help="The lock's file [criteria.lock.json beside CRITERIA].")
@click.option("--json", "as_json", is_flag=True, help="Print what was locked as JSON on stdout.")
@debug_option
def command(
    criteria_file: Path,
    data: str,
    suite_name: str | None,
    who: str | None,
    reason: str,
    out: Path | None,
    as_json: bool,
) -> None:
    """Fix CRITERIA and data before a run.

    Writes the criteria, the digest of every row and file of the data, the tool's version, who and when. An audit with
    these criteria is then refused (exit code 4) when any of it changed.
    """
    from medgan_qa.cli._running import read_cohort
    from medgan_qa.criteria import read_criteria
    from medgan_qa.evidence.lock import LOCK, check_for_lock, make_lock, write_lock
    from medgan_qa.evidence.provenance import checkout
    from medgan_qa.suites import suite as read_suite

    criteria = read_criteria(criteria_file)
    suite = read_suite(_suite(suite_name, criteria))
    path = out or criteria_file.parent / LOCK
    cohort = read_cohort(data)
    check_for_lock(criteria, suite, cohort)
    cohort.require_readable(None)
    lock = make_lock(
        criteria,
        suite.name,
        cohort,
        data,
        who or _login_name(),
        datetime.now(UTC),
        folder=path.parent,
        reason=reason,
        commit=checkout()["commit"],
    )
    written = write_lock(lock, path)
    notes = _short(criteria, cohort)
    for note in notes:
        click.echo(f"Note: {note}", err=True)
    if as_json:
        click.echo(json.dumps({**_facts(written), "notes": notes}, indent=2, ensure_ascii=False))
    else:
        _show(written)


def _suite(given: str | None, criteria: Criteria) -> str:
    name = given or criteria.suite
    if name is None:
        raise ConfigurationError(
            "The criteria do not say which suite they are for.",
            expected="[context] suite in the criteria file, or --suite",
            found="neither",
            where=criteria.file,
            todo="Give --suite; `medgan-qa list suites` shows what there is.",
        )
    return name


def _login_name() -> str:
    try:
        return f"{getpass.getuser()} (login name)"
    # What it raises where there is no such user depends on the version of Python.
    except (KeyError, OSError, ImportError) as error:
        raise ConfigurationError(
            "Who locks the criteria is not known.",
            expected="a login name, or --by",
            found=str(error),
            where="--by",
            todo="Give your name with --by.",
        ) from error


def _short(criteria: Criteria, cohort: Cohort) -> list[str]:
    """Conditions on the data that do not hold, while something can still be done about it; lesions need a run."""
    from medgan_qa.cohorts.cohort import subset
    from medgan_qa.criteria import DataFacts, preconditions

    test = subset(cohort.cases, "test")
    other = [case for part in ("train", "val") for case in cohort.cases if case.partition == part]
    facts = DataFacts(
        test_patients=frozenset(case.patient_id for case in test),
        test_sites=frozenset(case.site for case in test if case.site),
        other_patients=frozenset(case.patient_id for case in other),
        other_sites=frozenset(case.site for case in other if case.site),
        lesions=None,
        sites_known=all(case.site for case in cohort.cases),
    )
    held = [condition for condition in preconditions(criteria, facts) if condition.id != "DATA-lesions"]
    return [f"{c.id}: {c.reason} No run can pass." for c in held if c.verdict != "pass"]


def _facts(written: Written) -> dict[str, Any]:
    lock = written.lock
    return {
        "lock": str(lock.path),
        "sha256": lock.sha256,
        "changed": written.changed,
        "suite": lock.suite,
        "criteria": {"file": lock.criteria.file, "digest": lock.criteria.digest},
        "data": {
            "name": lock.data.name,
            "digest": lock.data.digest,
            "cases": len(lock.data.rows),
            "files": len(lock.data.files),
        },
        "locked_utc": lock.locked_utc,
        "locked_by": lock.locked_by,
        "previous": lock.previous,
        "kept": None if written.kept is None else str(written.kept),
    }


def _show(written: Written) -> None:
    lock = written.lock
    data = lock.data
    if not written.changed:
        click.echo("Locked already, and nothing changed since; the lock stands as it is.")
    rows = {
        "lock": f"{lock.path}, SHA-256 {lock.sha256}",
        "criteria": f"{lock.criteria.file}, digest {lock.criteria.digest}",
        "suite": lock.suite,
        "data": f"{data.name}, {len(data.rows)} cases, {len(data.files)} files, digest {data.digest}",
        "by": f"{lock.locked_by}, {lock.locked_utc}",
    }
    if lock.previous:
        rows["replaces"] = f"{lock.previous_file}, SHA-256 {lock.previous}"
    if lock.reason:
        rows["reason"] = lock.reason
    for name, text in rows.items():
        click.echo(f"{name}: {text}")
