"""Conditions on the data: what was declared, and whether it held. Only counts are told, never an identifier."""

from __future__ import annotations

from dataclasses import dataclass

from medgan_qa.criteria.content import Criteria
from medgan_qa.criteria.train_manifest import TrainManifest, read_train_manifest
from medgan_qa.record import Precondition, Verdict

UNITS = {"patient": "patients", "site": "sites"}
NO_SITES = "The dataset does not name the site of every case (column site)."


@dataclass(frozen=True)
class DataFacts:
    """What the conditions are held against."""

    test_patients: frozenset[str]
    """Patients of the test partition."""
    test_sites: frozenset[str]
    other_patients: frozenset[str]
    """Patients of the train and val partitions; those of the training manifest are added by `preconditions`."""
    other_sites: frozenset[str]
    lesions: int | None
    """Lesions in the test partition; None where no audit counted them."""
    sites_known: bool
    """Every case of every partition names its site."""


def preconditions(criteria: Criteria, facts: DataFacts) -> list[Precondition]:
    """Hold what criteria declare of the data against what there is.

    A number that is short is `inconclusive`, with what is missing; so is a condition that cannot be checked. A unit
    that the test data shares with the training data is a `fail`: the declared independence is disproved.

    Raises:
        InputError: the training manifest cannot be used.
    """
    manifest = read_train_manifest(criteria)
    counts = [_enough(kind, least, facts) for kind, least in criteria.minimum.items()]
    return [*counts, *(_independent(unit, facts, manifest) for unit in criteria.independence_by)]


def _enough(kind: str, least: int, facts: DataFacts) -> Precondition:
    name = f"DATA-{kind}"
    required = f"at least {_number(least, kind)} in the test partition"
    counted = {"patients": len(facts.test_patients), "lesions": facts.lesions, "sites": len(facts.test_sites)}[kind]
    if counted is None:
        reason = "No audit of this run counted lesions, so their number is not known."
        return _precondition(name, required, "not counted", Verdict.INCONCLUSIVE, reason)
    found = _number(counted, kind)
    if counted >= least:
        return _precondition(name, required, found, Verdict.PASS, f"{found}, and {least} are required.")
    reason = f"{counted} of {least} {kind}; {least - counted} more."
    if kind == "sites" and not facts.sites_known:
        reason += f" {NO_SITES}"
    return _precondition(name, required, found, Verdict.INCONCLUSIVE, reason)


def _independent(unit: str, facts: DataFacts, manifest: TrainManifest | None) -> Precondition:
    name, units = f"INDEPENDENCE-{unit}", UNITS[unit]
    required = f"no {unit} of the test partition in the training data"
    test, other = (
        (facts.test_patients, facts.other_patients | (manifest.patients if manifest else frozenset()))
        if unit == "patient"
        else (facts.test_sites, facts.other_sites | (manifest.sites if manifest else frozenset()))
    )
    shared = len(test & other)
    if shared:
        found = f"{shared} of {_number(len(test), units)} shared"
        reason = (
            f"{_number(shared, units)} of the test partition {'is' if shared == 1 else 'are'} in the training data too."
        )
        return _precondition(name, required, found, Verdict.FAIL, reason)
    if unit == "site" and not facts.sites_known:
        return _precondition(name, required, "not known", Verdict.INCONCLUSIVE, NO_SITES)
    if not other:
        reason = (
            f"No {unit} of the training data is known: the dataset has no train or val case, and no train_manifest "
            "lists any, so there is nothing to compare with."
        )
        return _precondition(name, required, "not known", Verdict.INCONCLUSIVE, reason)
    found = f"none of {_number(len(test), units)} shared"
    reason = f"{_number(len(test), units)} of the test partition, {len(other)} of the training data, none in common."
    return _precondition(name, required, found, Verdict.PASS, reason)


def _number(count: int, units: str) -> str:
    return f"{count} {units.removesuffix('s') if count == 1 else units}"


def _precondition(name: str, required: str, found: str, verdict: Verdict, reason: str) -> Precondition:
    return Precondition(id=name, requirement=required, found=found, verdict=verdict, reason=reason)
