"""Reading a model of any kind: a file, a bundle, a team's own code. It happens in the model's process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from medgan_qa.errors import ModelError

if TYPE_CHECKING:
    from medgan_qa.subjects.formats import Loaded


def read(kind: str, model: str, weights: str | None, device: str) -> tuple[str, Loaded]:
    """Read a model.

    Args:
        kind: `file`, `bundle` or `code`.
        model: a path, or `package.module:build`.
        weights: a file for a team's own code.
        device: where it is to run.

    Returns:
        The format's name; network, card and number of parameters.

    Raises:
        ModelError: it cannot be read, or is unsafe.
        MissingDependencyError: it needs a package that is not installed.
    """
    if kind == "code":
        from medgan_qa.subjects.factory import build

        return "Python factory", build(model, None if weights is None else Path(weights), device)
    from medgan_qa.subjects.formats import reader_of

    path = Path(model)
    try:
        format_, reader = reader_of(path)
        return format_, reader(path, device)
    except OSError as error:
        raise ModelError(
            "The model file cannot be read.",
            expected="a file that may be read",
            found=str(error),
            where=path,
            todo="Correct its permissions, or copy it again.",
        ) from error


def origin_of(kind: str, model: str, weights: str | None) -> dict[str, Any]:
    """Which code and weights stand behind a model that is made by code; nothing for others.

    Raises:
        OSError: a file of it cannot be read any more.
    """
    if kind != "code":
        return {}
    from medgan_qa.subjects.factory import origin

    return origin(model, None if weights is None else Path(weights))
