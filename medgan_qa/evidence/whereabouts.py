"""Where the files of a run lie on this machine: paths that a Record does not hold, for a later run like it.

A path may name a patient, so a Record keeps file names alone. What a gate needs to run a candidate as its baseline was
run, and `verify` to find the ledger, lies in the user's key folder instead: a folder a run, readable by its owner
alone, with a file for each path. Where it is missing (another machine, another user), paths have to be given again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from medgan_qa.errors import OutputError
from medgan_qa.key_folder import keys_folder, make_folder
from medgan_qa.new_file import replace

FOLDER = "whereabouts"
"""In the key folder."""

_RUN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{0,63}")


def remember(run_id: str, paths: Mapping[str, str | Path | None]) -> None:
    """Note where files of a run lie, in place of what was noted of them before.

    A run does not fail for it: where the folder cannot be written, nothing is noted.

    Args:
        run_id: the Record's `run.id`.
        paths: by what they are (`data`, `criteria`, `lock`, `detector`, `ledger`). Paths of files are made absolute,
            other names (`phantom:brain`) stay; None is left out.
    """
    if _RUN.fullmatch(run_id) is None:
        return
    try:
        folder = make_folder() / FOLDER / run_id
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for kind, path in paths.items():
            if path is not None:
                replace(folder / kind, str(_absolute(path)).encode("utf-8", "surrogateescape"), 0o600)
    except (OSError, OutputError):
        return


def _absolute(path: str | Path) -> str | Path:
    return Path(path).absolute() if Path(path).exists() else path


def recall(run_id: str) -> dict[str, str]:
    """What was noted of a run on this machine; empty where nothing was, or it cannot be read."""
    if _RUN.fullmatch(run_id) is None:
        return {}
    try:
        noted = [path for path in (keys_folder() / FOLDER / run_id).iterdir() if not path.name.startswith(".")]
        return {path.name: path.read_bytes().decode("utf-8", "surrogateescape") for path in noted}
    except (OSError, OutputError):
        return {}
