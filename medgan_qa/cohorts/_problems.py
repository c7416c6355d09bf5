"""Gathering everything that is wrong with a dataset's files into one error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from medgan_qa.errors import DatasetError

_SHOWN = 10  # findings that one error spells out; the rest is counted


def collected(problem: str, findings: Sequence[str], *, expected: str, where: Path | str, todo: str) -> DatasetError:
    """One error that counts `findings` and shows the first ten."""
    shown = [f"{len(findings)} in all:", *findings[:_SHOWN]]
    if len(findings) > _SHOWN:
        shown.append(f"and {len(findings) - _SHOWN} more")
    return DatasetError(problem, expected=expected, found="\n    ".join(shown), where=where, todo=todo)


def unknown(names: Iterable[str], known: Sequence[str], kind: str) -> Iterator[str]:
    """A finding for each of `names` that is not `known`, with the nearest known one."""
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            yield f"unknown {kind} {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def is_absolute(name: str) -> bool:
    """Whether a path is absolute on any system, whichever this one is."""
    return PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).anchor)
