"""Controls by name: what `medgan-qa audit control:NAME --suite S` runs on the suite's embedded cohort."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple

from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.errors import ConfigurationError
from medgan_qa.subjects.protocols import Subject


class NamedControl(NamedTuple):
    """A subject with a planted fault, or without one, that the command line knows by name."""

    title: str
    make: Callable[[Cohort], Subject]
    """The subject for a cohort.

    Raises:
        ConfigurationError: it cannot be made from this cohort.
    """


TABLES: dict[str, str] = {
    "augmentation": "medgan_qa.controls.labelled_samplers",
    "discriminator": "medgan_qa.controls.classifiers",
    "super-resolution": "medgan_qa.controls.super_resolvers",
    "synthesis": "medgan_qa.controls.samplers",
    "translation": "medgan_qa.controls.translators",
}
"""The module of each suite whose `CONTROLS` names its controls."""

MORE: dict[str, tuple[tuple[str, str], ...]] = {
    "augmentation": (("medgan_qa.controls.augmenting_samplers", "LABELLED"),),
    "synthesis": (("medgan_qa.controls.augmenting_samplers", "CONTROLS"),),
}
"""Further modules of a suite, and what its controls are called there."""


def controls(suite: str) -> Mapping[str, NamedControl]:
    """The controls of a suite, by name."""
    named: Mapping[str, NamedControl] = import_module(TABLES[suite]).CONTROLS
    for module, table in MORE.get(suite, ()):
        named = {**named, **getattr(import_module(module), table)}
    return named


def control_subject(name: str, suite: str, cohort: Cohort) -> Subject:
    """The control of a name, made for a cohort.

    Raises:
        ConfigurationError: the suite has no such control, or it cannot be made from this cohort.
    """
    there = controls(suite)
    if name not in there:
        raise ConfigurationError(
            f"The suite {suite} has no control of that name.",
            expected=f"one of {', '.join(there)}",
            found=name,
            todo="`medgan-qa list models` shows what there is.",
        )
    return there[name].make(cohort)
