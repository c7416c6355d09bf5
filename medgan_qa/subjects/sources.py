"""What a command-line argument means as a model: a file, a bundle, or a team's own code; its digest and size."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Literal

from medgan_qa.errors import ConfigurationError, ModelError

Kind = Literal["file", "bundle", "code"]


@dataclass(frozen=True)
class Source:
    """A model before it is opened."""

    model: str
    """As it was named, or the shipped file's path."""
    kind: Kind
    path: Path
    """The file that stands for it: itself, the weights of a team's own code, else the file of the code."""
    weights: Path | None = None

    @property
    def opened(self) -> str:
        """What a process in another folder has to be told."""
        return self.model if self.kind == "code" else str(self.path.absolute())

    def digest(self) -> str:
        """SHA-256 of the file, or of the digests of all that belongs to the model.

        Raises:
            OSError: a file cannot be read.
        """
        if self.kind == "file":
            return file_sha256(self.path)
        parts = "".join(f"{name} {file_sha256(path)}\n" for name, path in self._parts())
        return hashlib.sha256(parts.encode()).hexdigest()

    def size(self) -> int:
        """Bytes of all that belongs to the model.

        Raises:
            OSError: a file cannot be read.
        """
        if self.kind == "file":
            return self.path.stat().st_size
        return sum(path.stat().st_size for _, path in self._parts())

    def _parts(self) -> Iterator[tuple[str, Path]]:
        if self.kind == "bundle":
            files = sorted(path for path in self.path.rglob("*") if path.is_file())
            yield from ((path.relative_to(self.path).as_posix(), path) for path in files)
            return
        yield "code", code_file(self.model)
        if self.weights is not None:
            yield "weights", self.weights


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def code_file(model: str) -> Path:
    """The file that holds `package.module` of `package.module:build`, found without running any of it.

    Raises:
        ModelError: there is no such module in the working directory or among the installed packages.
    """
    module = model.partition(":")[0]
    places: list[str] | None = [str(Path.cwd()), *sys.path]
    found = None
    for part in module.split("."):
        found = PathFinder.find_spec(part, places) if places else None
        places = None if found is None else list(found.submodule_search_locations or ())
    if found is None or not found.origin or not Path(found.origin).is_file():
        raise ModelError(
            "The module of the model's factory does not exist.",
            expected=f"{module} in the working directory or among the installed packages",
            found="no such module",
            where=model,
            todo="Run the command where `python -c 'import MODULE'` works, or correct the name.",
        )
    return Path(found.origin)


def no_weights_for(model: str) -> ConfigurationError:
    """The error of weights that nothing would read."""
    return ConfigurationError(
        "Weights belong to a model that is made by code.",
        expected="--weights with package.module:build only",
        found=f"--weights with {model}",
        where="--weights",
        todo="Leave it out: the file holds its own weights.",
    )
