"""Errors of a model's process in words, and from words back to errors."""

from __future__ import annotations

from typing import Any

from medgan_qa.errors import ConfigurationError, MedganQAError, MissingDependencyError, ModelCrashError, ModelError
from medgan_qa.subjects.isolation.wire import printable
from medgan_qa.subjects.networks import OutOfMemoryError, is_out_of_memory, out_of_memory

KINDS: dict[str, type[MedganQAError]] = {
    "model": ModelError,
    "configuration": ConfigurationError,
    "dependency": MissingDependencyError,
    "memory": OutOfMemoryError,
}
PARTS = ("expected", "found", "where", "todo")
LONGEST = 2000
"""Characters of one part of an error."""


def in_words(error: Exception) -> dict[str, Any]:
    """An error as a message."""
    if not isinstance(error, MedganQAError) and is_out_of_memory(error):
        error = out_of_memory(_one_line(error))
    if isinstance(error, MedganQAError):
        kind = next((name for name, known in KINDS.items() if isinstance(error, known)), "model")
        return {"error": kind, "problem": error.problem, **{part: getattr(error, part) for part in PARTS}}
    return {
        "error": "model",
        "problem": "The model could not be used.",
        "expected": "a model that can be read and run",
        "found": f"{type(error).__name__}: {_one_line(error)}",
        "todo": "Export or copy the model again.",
    }


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def from_words(message: dict[str, Any]) -> MedganQAError:
    """An error out of a message of a process that is not trusted: one of a few kinds, its texts cleaned and cut."""
    kind = message.get("error")
    known = KINDS.get(kind, ModelError) if isinstance(kind, str) else ModelError
    told = {part: printable(message[part], LONGEST) for part in PARTS if message.get(part) is not None}
    return known(printable(message.get("problem"), LONGEST) or "The model could not be used.", **told)


def again(error: MedganQAError, also: str = "") -> MedganQAError:
    """A new error that says the same, for whoever meets it next."""
    found = f"{error.found or ''}{also}" or None
    parts = {"expected": error.expected, "found": found, "where": error.where, "todo": error.todo}
    return type(error)(error.problem, **parts)


def crashed(
    problem: str, found: str, *, expected: str = "an answer for every image", todo: str = ""
) -> ModelCrashError:
    """The error of a model that took its process down."""
    said = todo or "Run the model on these images by itself to see why. `--trust` runs it without a process of its own."
    return ModelCrashError(problem, expected=expected, found=found, todo=said)
