"""What must hold before anything is measured."""

from __future__ import annotations

from medgan_qa.cohorts.cohort import Cohort, subset
from medgan_qa.criteria import Criteria, read_train_manifest
from medgan_qa.errors import ConfigurationError, DatasetError, ModelError
from medgan_qa.subjects.protocols import Subject


def require_task(subject: Subject, task: str, where: str) -> None:
    """Refuse a model that is for another task.

    Raises:
        ModelError: its card names another task.
    """
    if subject.card.task != task:
        raise ModelError(
            "The model is for another task.",
            expected=f'task = "{task}" in its card',
            found=f'task = "{subject.card.task}"',
            where=f"{subject.path} (for {where})",
            todo="Choose another model or suite, or correct the card.",
        )


def require_test_partition(cohort: Cohort) -> None:
    """Refuse a cohort without held-out cases.

    Raises:
        DatasetError: no case is in the test partition.
    """
    if not subset(cohort.cases, "test"):
        held = sorted({case.partition for case in cohort.cases})
        raise DatasetError(
            "The dataset has no test partition.",
            expected='at least one case with partition "test"',
            found=f"partitions {', '.join(held) or 'none'}, {len(cohort.cases)} cases",
            where=cohort.name,
            todo="Mark the held-out cases as test in the table.",
        )


def require_declared(criteria: Criteria, suite: str, seed: int) -> None:
    """Refuse a run that is not the one that the criteria were written for.

    Raises:
        ConfigurationError: another suite or another seed is declared, or the list of what the model was trained on
            cannot be read.
    """
    read_train_manifest(criteria)
    declared = {"suite": (criteria.suite, suite), "seed": (criteria.seed, seed)}
    for name, (wanted, found) in declared.items():
        if wanted is not None and wanted != found:
            raise ConfigurationError(
                f"The criteria are for another {name}.",
                expected=f"{name} = {wanted!r}",
                found=f"{name} = {found!r}",
                where=criteria.file,
                todo=f"Run with --{name} {wanted}, or use criteria that were written for this run.",
            )
