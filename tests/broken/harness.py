"""Reads broken inputs in worker processes and keeps what became of each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.broken.mutants import Mutant

ROOT = Path(__file__).parent.parent.parent
WORKER = Path(__file__).parent / "worker.py"


class Outcome(NamedTuple):
    """What became of one file."""

    outcome: str
    """`refused`, `read`, `traceback`, or `ended` where the process went with it."""
    said: str
    seconds: float
    megabytes: float


class Worker:
    """A process that reads one file after the other; begun again where a file ends it.

    Args:
        work: the folder that it runs in.
        torch: it is asked for models.
    """

    def __init__(self, work: Path, *, torch: bool = False) -> None:
        self._work, self._options = work, ["--torch"] if torch else []
        self._process: subprocess.Popen[str] | None = None
        # Beside the folder, in which nothing may be left.
        self._errors = work.with_name(f"{work.name}-{'models' if torch else 'files'}.txt")

    def read(self, kind: str, path: Path) -> Outcome:
        """What becomes of a file."""
        process = self._process or self._begun()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"kind": kind, "path": str(path)}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if line:
            answer: dict[str, Any] = json.loads(line)
            return Outcome(answer["outcome"], answer["said"], answer["seconds"], answer["megabytes"])
        self.close()
        last = self._errors.read_text(encoding="utf-8", errors="replace")[-300:].strip()
        return Outcome("ended", f"the process ended with {process.returncode}: {last}", 0.0, 0.0)

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.communicate()

    def _begun(self) -> subprocess.Popen[str]:
        with self._errors.open("w", encoding="utf-8") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(WORKER), *self._options],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                cwd=self._work,
                env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            )
        return self._process


def outcomes(found: Iterable[Mutant], paths: Mapping[str, Path], work: Path) -> dict[str, Outcome]:
    """Read every mutant; models in a worker of their own, as torch takes long to import."""
    every = list(found)
    results: dict[str, Outcome] = {}
    for torch in (False, True):
        worker = Worker(work, torch=torch)
        results |= {one.name: worker.read(one.kind, paths[one.name]) for one in every if (one.kind == "model") == torch}
        worker.close()
    return results
