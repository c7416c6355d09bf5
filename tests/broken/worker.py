"""A process that reads broken inputs one after the other, with limits on memory and time. Run as a file of its own.

It takes lines of JSON, `{"kind", "path"}`, and answers each with `{"outcome", "said", "seconds", "megabytes"}`. The
outcome is `refused` for an error of medgan-qa's own tree, `read` where there was none, and `traceback` for any other. A
line that takes too long ends the process by a signal.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from medgan_qa.errors import MedganQAError

SECONDS = 30
"""A file that takes longer hangs."""
GIGABYTES = 4
"""Memory beyond what the process has before it reads its first file."""


def read_images(path: Path) -> None:
    """As an image, or slice by slice; that masks and headers are read or refused is looked at on the way."""
    from medgan_qa.cohorts.readers import open_volume, read_image, read_mask, read_spacing

    for also in (read_mask, read_spacing):
        with suppress(MedganQAError):
            also(path)
    try:
        read_image(path)
    except MedganQAError as error:
        volume = open_volume(path)
        if volume is None:
            raise error
        for index in range(min(len(volume), 3)):
            volume.read(index)
            volume.read_mask(index)


def read_cohort(path: Path) -> None:
    """As an audit reads a dataset."""
    from medgan_qa.cohorts.dataset import read_dataset

    cohort = read_dataset(path)
    cohort.require_readable()
    for case in cohort.cases[:3]:
        cohort.load(case)


def read_card(path: Path) -> None:
    """As the card beside a model."""
    from medgan_qa.subjects.load import _card

    model = path.with_name("model.pt")
    model.write_bytes(b"no model")
    _card(model, "")


def read_criteria_file(path: Path) -> None:
    """Criteria."""
    from medgan_qa.criteria import read_criteria

    read_criteria(path)


def read_lock_file(path: Path) -> None:
    """A lock."""
    from medgan_qa.evidence._lock_file import read_lock

    read_lock(path)


def read_record(path: Path) -> None:
    """A Record."""
    from medgan_qa.evidence.records import load_record

    load_record(path.read_bytes(), path)


def read_model(path: Path) -> None:
    """A network, by its content; what is not refused has not been run."""
    from medgan_qa.subjects.formats import reader_of

    _, read = reader_of(path)
    read(path, "cpu")


READERS: dict[str, Callable[[Path], None]] = {
    "image": read_images,
    "dataset": read_cohort,
    "card": read_card,
    "criteria": read_criteria_file,
    "lock": read_lock_file,
    "record": read_record,
    "model": read_model,
}


def attempt(kind: str, path: Path) -> tuple[str, str]:
    """The outcome, and what was said."""
    try:
        READERS[kind](path)
    except MedganQAError as error:
        return "refused", str(error)
    except BaseException as error:  # whatever it is, it would have ended a run with a traceback
        last = traceback.extract_tb(error.__traceback__)[-6:]
        frames = " < ".join(f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in reversed(last))
        return "traceback", f"{type(error).__name__}: {str(error)[:200]} at {frames}"
    return "read", ""


def megabytes(name: str) -> float:
    """A line of /proc/self/status."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition(f"{name}:")[2].split()[0]) / 1024


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # What a library prints is no answer.
    os.dup2(2, 1)
    warnings.simplefilter("ignore")
    if "--torch" in sys.argv:
        import torch

        import medgan_qa.subjects.formats  # noqa: F401

        torch.set_num_threads(1)
    limit = int(megabytes("VmSize") * 2**20) + GIGABYTES * 2**30
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for line in sys.stdin:
        task: dict[str, Any] = json.loads(line)
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        before, began = megabytes("VmRSS"), time.perf_counter()
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        outcome, said = attempt(task["kind"], Path(task["path"]))
        signal.setitimer(signal.ITIMER_REAL, 0)
        seconds, most = time.perf_counter() - began, megabytes("VmHWM") - before
        answer: dict[str, Any] = {
            "outcome": outcome,
            "said": said,
            "seconds": round(seconds, 3),
            "megabytes": round(most, 1),
        }
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
