"""How much memory and time a model may take, by default and as set in the environment."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from medgan_qa.errors import ConfigurationError

TIMEOUT, MEMORY = "MEDGAN_QA_MODEL_TIMEOUT", "MEDGAN_QA_MODEL_MEMORY_MB"
"""Environment variables: seconds for one step (reading the file, one batch), and megabytes."""
MB = 1 << 20
LEAST_MEMORY_MB = 256
READING_S, READING_SLOWLY_S = 25.0, 300.0
"""For reading a file; for a bundle and a team's own code, whose libraries are imported then."""
READING_MB_PER_S = 10.0
READING_MEMORY_MB, READING_SHARE = 2048, 8
"""Memory for reading a file: this, and so many times its size."""
CALL_S, IMAGE_S = 120.0, 60.0
"""For one batch, and for each of its images beside: a diffusion model on a CPU takes minutes for one."""
SCRATCH_MB = 256
"""What a model may write into its scratch folder, beside what it unpacks of itself."""
OUTPUT_MB = 4096
"""What a model may return for one batch."""


@dataclass(frozen=True)
class Limits:
    """Limits of one model's process."""

    memory_mb: int
    step_s: float | None = None
    """Seconds for each step where the environment says so; else as `reading_s` and `batch_s` work them out."""

    def reading_s(self, size: int, *, slow: bool) -> float:
        """Seconds for reading a model of `size` bytes; `slow` where libraries have to be imported for it."""
        return self.step_s or (READING_SLOWLY_S if slow else READING_S) + size / MB / READING_MB_PER_S

    def batch_s(self, images: int) -> float:
        """Seconds for one batch."""
        return self.step_s or CALL_S + IMAGE_S * images

    def reading_mb(self, size: int, *, code: bool) -> int:
        """Megabytes for reading a model of `size` bytes, or a team's own code; never more than `memory_mb`."""
        wanted = READING_MEMORY_MB + READING_SHARE * -(-size // MB)
        return self.memory_mb if code else min(self.memory_mb, wanted)

    def scratch_mb(self, size: int) -> int:
        """Megabytes that a model of `size` bytes may write into its scratch folder."""
        return SCRATCH_MB + -(-size // MB)

    def as_dict(self) -> dict[str, Any]:
        """What the Record says of them."""
        each = f"{CALL_S:g} s a batch and {IMAGE_S:g} s for each of its images"
        return {
            "memory_limit_mb": self.memory_mb,
            "time_limit": each if self.step_s is None else f"{self.step_s:g} s a batch ({TIMEOUT})",
        }


def limits() -> Limits:
    """The limits as the environment sets them: half of the machine's memory where it does not.

    Raises:
        ConfigurationError: a variable is no positive number, or leaves too little memory.
    """
    memory = _number(MEMORY, LEAST_MEMORY_MB)
    seconds = _number(TIMEOUT, 0.1)
    return Limits(int(memory) if memory else max(LEAST_MEMORY_MB, machine_mb() // 2), seconds)


def _number(name: str, least: float) -> float | None:
    given = os.environ.get(name, "").strip()
    if not given:
        return None
    with contextlib.suppress(ValueError):
        if least <= float(given) < float("inf"):
            return float(given)
    raise ConfigurationError(
        f"The limit {name} cannot be used.",
        expected=f"a number of {'seconds' if name == TIMEOUT else 'megabytes'}, at least {least:g}",
        found=repr(given),
        where=f"environment variable {name}",
        todo="Correct it, or unset it for the default.",
    )


def machine_mb() -> int:
    """The memory of the machine, or of the container where that has less."""
    known = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for place in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):
            known.append(int(Path(place).read_text()))
    return min(known) // MB
