"""The corpus, written and read once."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.broken.corpus import build, corpus
from tests.broken.harness import Outcome, outcomes
from tests.broken.mutants import Mutant


class Read(NamedTuple):
    """Every mutant, where it lies, and what became of it."""

    mutants: tuple[Mutant, ...]
    paths: dict[str, Path]
    outcomes: dict[str, Outcome]
    folder: Path


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> tuple[tuple[Mutant, ...], dict[str, Path], Path]:
    """Every mutant, and where it lies."""
    folder = tmp_path_factory.mktemp("broken")
    found = corpus(folder / "seeds")
    return found, build(folder / "files", found), folder


@pytest.fixture(scope="session")
def read(everything: tuple[tuple[Mutant, ...], dict[str, Path], Path]) -> Read:
    """Every mutant, read."""
    found, paths, folder = everything
    (folder / "work").mkdir()
    return Read(found, paths, outcomes(found, paths, folder / "work"), folder)
