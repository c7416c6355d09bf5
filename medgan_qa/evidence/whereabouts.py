"""Where the files of a run lie on this machine: paths that a Record does not hold, for a later run like it.

A path may name a patient, so a Record keeps file names alone. What a gate needs to run a candidate as its baseline was
run lies in the user's key folder instead, one file a run, readable by its owner alone. Where it is missing (another
machine, another user), the paths have to be given again.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from medgan_qa.errors import OutputError
from medgan_qa.key_folder import keys_folder, make_folder
from medgan_qa.new_file import write_new

FOLDER = "whereabouts"
"""In the key folder."""

_RUN = re.compile(r"[0-9A-Za-z-]{8,64}")


def remember(run_id: str, paths: Mapping[str, str]) -> bool:
    """Note where the files of a run lie; what is noted already stays as it is.

    Args:
        run_id: the Record's `run.id`.
        paths: by what they are (`data`, `criteria`, `lock`, `detector`); made absolute by the caller.

    Returns:
        False where it was not noted, because it was already, or because the folder cannot be written. A run does not
        fail for it.
    """
    if _RUN.fullmatch(run_id) is None:
        return False
    try:
        folder = make_folder() / FOLDER
        folder.mkdir(mode=0o700, exist_ok=True)
        return write_new(folder / f"{run_id}.json", json.dumps(dict(paths), indent=2).encode(), 0o600)
    except (OSError, OutputError):
        return False


def recall(run_id: str) -> dict[str, str]:
    """What was noted of a run on this machine; empty where nothing was, or it cannot be read."""
    if _RUN.fullmatch(run_id) is None:
        return {}
    try:
        noted = json.loads((keys_folder() / FOLDER / f"{run_id}.json").read_text("utf-8"))
    except (OSError, ValueError, OutputError):
        return {}
    return {str(k): v for k, v in noted.items() if isinstance(v, str)} if isinstance(noted, dict) else {}
