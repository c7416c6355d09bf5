"""HYG-006: what the test partition shares with the others, whether its independence is as declared, and its balance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from medgan_qa.audits._balance import Balance, Compared, balance, estimates_of
from medgan_qa.audits._partitions import PartitionedRun
from medgan_qa.audits._shared_factors import FACTORS, Shared, acquired_late, holder_of, shared
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.history import History
from medgan_qa.audits.numbers import count
from medgan_qa.cohorts.cohort import Case, subset
from medgan_qa.cohorts.declared import Independence
from medgan_qa.criteria import Estimate
from medgan_qa.quantities import counted

CODE = "HYG-006"
NOTHING = (
    "The dataset holds the test partition alone and declares no independence ([independence] in the dataset file), so "
    "there is nothing that it could be dependent on."
)
ALWAYS = ("patients", "studies", "volumes")
"""What a test partition must not share with the others, whether that is declared or not."""


@dataclass(frozen=True)
class Held:
    """One thing that was declared, or that holds without saying."""

    words: str
    declared: bool
    holds: bool | None
    """None: the table does not say."""
    found: str


def dependent_partitions(run: PartitionedRun, *, alpha: float = 0.05, tolerance: float = 0.25) -> Findings:
    """Dependence of the test partition on the others.

    Question. Is the test partition as independent of the data of the development as it is declared to be?

    What it measures. Patients, studies, volumes, sites, scanners and days of acquisition that the test partition shares
    with the others. Patients, studies and volumes have to be its own; the rest is held against the table
    `[independence]` of the dataset file: what is declared disjoint, the day after which every test image was acquired,
    since when the partition is sequestered and how often it was used, the last two against the ledger of runs. Where
    there are other partitions, the distribution of label, site, scanner and every attribute over the patients of test
    and train is compared, as a standardised difference with its interval and a test corrected for their number (Holm).

    Why it matters. A model that was tested on the sites, scanners or weeks that it was trained on is not shown to hold
    elsewhere. A test partition that was looked at before has been tuned to, whoever did it; what its secrecy is worth
    stands in the ledger and not in a declaration. And a test partition of other composition than the training data
    answers another question.

    Known limits. Identifiers are taken as they are: a patient, site or scanner under two names counts as two (HYG-001
    looks at the pixels). The ledger knows the runs of this tool that were entered in it, and data by their digest; who
    looked at the images otherwise, it does not know. Dates are compared as finely as the table gives them. A difference
    in composition that is not found is not shown to be absent: `imbalance` has an upper end, and few patients leave it
    wide. That two partitions differ can be by design.

    Method and source. Counts. Balance by patient: Austin 2009 (standardised differences; below 0.1 small, `tolerance`
    0.25 as in Stuart 2010), rank-sum test for numbers, Fisher's exact test, chi-square or its permutation for levels,
    adjusted after Holm 1979 at `alpha`. Sequestration as in FDA, "Clinical Performance Assessment: Considerations for
    Computer-Assisted Detection Devices" (2022), and AAMI CR34971:2022 on test data independent of training data.
    """
    findings = Findings()
    cases, declared = run.cohort.cases, _declared(run)
    test = subset(cases, "test")
    others = tuple(case for case in cases if case.partition != "test")
    history: History | None = run.shared.get("history")
    found = {name: shared(name, test, others) for name in FACTORS}
    held = _held(found, test, bool(others), declared, history)
    findings.estimates = _estimates(found, held, declared, test, history)
    findings.rows = _rows(test, others, found, declared)
    if declared is None and not others:
        findings.not_applicable = NOTHING
        findings.notes = _of_history(history)
        return findings
    findings.notes = [*_of_held(held), *_of_factors(found, others), *_of_history(history)]
    train = subset(cases, "train")
    if train:
        skipped = {name for name in ("sites", "scanners") if declared is not None and getattr(declared, name)}
        compared = balance(run, test, train, skipped, alpha)
        findings.estimates += estimates_of(CODE, compared)
        findings.notes += _of_balance(compared, tolerance, alpha)
        if compared.compared:
            findings.tables[f"exhibits/{CODE}-balance.csv"] = [
                _balance_row(one, tolerance) for one in compared.compared
            ]
    return findings


def _declared(run: PartitionedRun) -> Independence | None:
    found: Independence | None = getattr(getattr(run.cohort, "description", None), "independence", None)
    return found


def _held(
    found: dict[str, Shared], test: Sequence[Case], others: bool, declared: Independence | None, history: History | None
) -> list[Held]:
    """Everything that has to hold, and whether it does."""
    held = []
    for name in FACTORS:
        said = declared is not None and bool(getattr(declared, name, False))
        if said or (name in ALWAYS and others and found[name].known):
            held.append(_disjoint(name, found[name], said, others))
    if declared is None:
        return held
    if declared.test_acquired_after is not None:
        held.append(_after(test, declared.test_acquired_after))
    if declared.earlier_uses is not None:
        held.append(_uses(declared.earlier_uses, history))
    if declared.sequestered_since is not None:
        held.append(_since(declared.sequestered_since, history))
    return held


def _disjoint(name: str, found: Shared, declared: bool, others: bool) -> Held:
    words = f"{name} of the test partition are in no other partition"
    if found.values:
        return Held(words, declared, False, f"{len(found.values)} of {found.of} are")
    if not others:
        return Held(words, declared, None, "the table holds no other partition")
    if not found.known or found.unknown:
        what = f"{found.unknown} cases do not say theirs" if found.known else "the table does not give them"
        return Held(words, declared, None, what)
    return Held(words, declared, True, f"none of {found.of} is")


def _after(test: Sequence[Case], day: str) -> Held:
    late = [acquired_late(case.acquired, day) for case in test]
    early, unknown = late.count(False), late.count(None)
    words = f"every test image was acquired after the declared day in {day[:4]}"
    if early:
        return Held(words, True, False, f"{early} of {len(late)} were not")
    if unknown:
        return Held(words, True, None, f"{unknown} of {len(late)} do not say so exactly")
    return Held(words, True, True, f"all {len(late)} were")


def _uses(uses: int, history: History | None) -> Held:
    words = f"the test partition was used {uses} times before"
    if history is None:
        return Held(words, True, None, "no ledger was looked into")
    return Held(words, True, history.runs <= uses, f"the ledger shows {history.runs} earlier runs")


def _since(day: str, history: History | None) -> Held:
    words = f"the test partition is sequestered since {day}"
    if history is None:
        return Held(words, True, None, "no ledger was looked into")
    # A use on the very day may have been before or after.
    before = sum(run < day for run in history.days)
    if before:
        return Held(words, True, False, f"the ledger shows {before} runs before that day, the first on {history.first}")
    return Held(words, True, True, "the ledger shows no run before that day")


def _count(name: str, label: str, value: int, n: int, unit: str) -> Estimate:
    return count(f"{CODE}.{name}", label, value, n=n, unit_of_analysis=unit, better="lower")


def _estimates(
    found: dict[str, Shared],
    held: Sequence[Held],
    declared: Independence | None,
    test: Sequence[Case],
    history: History | None,
) -> list[Estimate]:
    broken, unknown = (sum(h.holds is kind for h in held) for kind in (False, None))
    made = [
        _count("violations", "Conditions of independence that do not hold", broken, len(held), "condition"),
        _count("unverifiable", "Declared conditions that the data do not decide", unknown, len(held), "condition"),
    ]
    made += [
        _count(
            f"shared_{name}", f"{name.capitalize()} of test that other partitions hold too", len(s.values), s.of, unit
        )
        for (name, s), unit in zip(found.items(), FACTORS.values(), strict=True)
        if s.known
    ]
    if declared is not None and declared.test_acquired_after is not None:
        early = sum(acquired_late(case.acquired, declared.test_acquired_after) is False for case in test)
        made.append(
            _count("acquired_early", "Test images not acquired after the declared day", early, len(test), "test image")
        )
    if history is not None:
        made.append(
            _count("earlier_runs", "Earlier runs on these data in the ledger", history.runs, history.runs, "run")
        )
    return made


def _rows(
    test: Sequence[Case], others: Sequence[Case], found: dict[str, Shared], declared: Independence | None
) -> list[Row]:
    """One row a test case that breaks a condition."""
    asked = [name for name in FACTORS if name in ALWAYS or (declared is not None and getattr(declared, name, False))]
    day = None if declared is None else declared.test_acquired_after
    rows = []
    for case in test:
        shares = [FACTORS[name] for name in asked if holder_of(name, case) in found[name].values]
        early = day is not None and acquired_late(case.acquired, day) is False
        if shares or early:
            rows.append(
                {
                    "case_id": case.case_id,
                    "patient_id": case.patient_id,
                    "shares": ", ".join(shares),
                    "acquired": "not after the declared day" if early else "",
                }
            )
    return rows


def _of_held(held: Sequence[Held]) -> list[str]:
    said = {True: "holds", False: "does not hold", None: "cannot be told"}
    return [
        f"{'Declared' if h.declared else 'Not declared, and asked of any test partition'}: {h.words}. "
        f"That {said[h.holds]}: {h.found}."
        for h in held
        if h.declared or h.holds is False
    ]


def _of_factors(found: dict[str, Shared], others: Sequence[Case]) -> list[str]:
    if not others:
        return ["The table holds no other partition than test."]
    absent = [name for name, one in found.items() if not one.known]
    said = [f"{name.capitalize()}: {len(one.values)} of {one.of} shared." for name, one in found.items() if one.known]
    return [" ".join(said), *([f"The table does not give {', '.join(absent)}."] if absent else [])]


def _of_history(history: History | None) -> list[str]:
    if history is None:
        return ["No ledger was looked into, so earlier uses of these data are not known."]
    if not history.runs:
        said = "The ledger shows no earlier run on these data."
    else:
        said = (
            f"The ledger shows {counted(history.runs, 'earlier run')} on these data, of "
            f"{counted(history.models, 'model')}, the first on {history.first}."
        )
    if history.same_name:
        said += f" {history.same_name} more were made on data of the same name and another digest."
    return [said]


def _of_balance(found: Balance, tolerance: float, alpha: float) -> list[str]:
    names = {"different": [], "alike": [], "not shown": []}  # type: dict[str, list[str]]
    for one in found.compared:
        names[one.verdict(tolerance)].append(one.name)
    said = [
        f"Composition of test and train, {found.patients[0]} and {found.patients[1]} patients: "
        + "; ".join(
            f"{words} {', '.join(listed)}"
            for words, listed in (
                (f"different (p < {alpha:g} after Holm) in", names["different"]),
                (f"shown alike (difference below {tolerance:g}) in", names["alike"]),
                ("neither shown, for too few patients or a difference in between, in", names["not shown"]),
            )
            if listed
        )
        + "."
    ]
    return [*(said if found.compared else []), *found.notes]


def _balance_row(one: Compared, tolerance: float) -> Row:
    return {
        "property": one.name,
        "test_patients": one.found.counts[0],
        "train_patients": one.found.counts[1],
        "standardised_difference": round(one.found.difference, 4) if math.isfinite(one.found.difference) else None,
        "standard_error": round(one.found.error, 4),
        "level": one.shown_level,
        "p": round(one.found.p, 5),
        "p_holm": round(one.adjusted, 5),
        "test": one.found.test,
        "result": one.verdict(tolerance),
    }
