"""The exception tree. Each class knows the exit code of the command line that it ends in.

    MedganQAError
    ├── ConfigurationError       exit 2   a flag, a criteria file, a suite
    ├── InputError               exit 2   a file that was given
    │   ├── DatasetError                  dataset table, image or mask
    │   ├── ModelError                    model file or card
    │   └── RecordError                   a Record that cannot be read
    ├── ModelCrashError          exit 3   a model that crashed, hung, or asked for too much memory
    ├── OutputError              exit 2   a folder that cannot be written
    ├── MissingDependencyError   exit 2   an optional package or weights file
    └── IntegrityError           exit 4   something changed after it was fixed

Every message says what was expected, what was found, where, and what to do about it.
"""

from __future__ import annotations

from pathlib import Path


class MedganQAError(Exception):
    """Base of every error that a user can act on.

    Args:
        problem: one sentence naming the problem.
        expected: what would have been right.
        found: what was there instead.
        where: the file, row, case or flag concerned.
        todo: what the user can do about it.
    """

    exit_code = 5

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        found: str | None = None,
        where: str | Path | None = None,
        todo: str | None = None,
    ) -> None:
        self.problem = problem
        self.expected = expected
        self.found = found
        self.where = None if where is None else str(where)
        self.todo = todo
        super().__init__(problem)

    def __str__(self) -> str:
        lines = [self.problem]
        for label, text in (
            ("expected", self.expected),
            ("found", self.found),
            ("where", self.where),
            ("what to do", self.todo),
        ):
            if text is not None:
                lines.append(f"  {label}: {text}")
        return "\n".join(lines)


class ConfigurationError(MedganQAError):
    """A flag, a criteria file or a suite says something that cannot be done."""

    exit_code = 2


class InputError(MedganQAError):
    """A file that was given cannot be used."""

    exit_code = 2


class DatasetError(InputError):
    """The dataset description, its table, an image or a mask cannot be used."""


class ModelError(InputError):
    """The model file or its card cannot be used."""


class RecordError(InputError):
    """A Record cannot be read back."""


class ModelCrashError(MedganQAError):
    """The model took its process down, ran past its time, or asked for more memory than it may have.

    Nothing is known of what it would have returned, so the audit that met it did not run: the exit code is that of a
    check that did not run, not that of a wrong file.
    """

    exit_code = 3


class OutputError(MedganQAError):
    """The output folder cannot be written."""

    exit_code = 2


class MissingDependencyError(MedganQAError):
    """An optional package or a weights file is not there."""

    exit_code = 2


class IntegrityError(MedganQAError):
    """Something changed after it was fixed, or a file does not match its digest."""

    exit_code = 4
