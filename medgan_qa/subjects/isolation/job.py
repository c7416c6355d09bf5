"""What the audit tells a model's process to open."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Job:
    """One model to be opened, in words that fit a JSON message."""

    model: str
    """The file or folder; or `package.module:build`."""
    device: str
    kind: str = "file"
    """`file`, `bundle` (a folder) or `code` (a team's own)."""
    weights: str | None = None
    folder: str | None = None
    """The working directory, for a team's own code."""
    threads: int | None = None
    """Of torch in the process of the audit, where that was set."""
    size: int = 0
    """Bytes of the model."""
    memory_mb: int = 0
    reading_mb: int = 0
    scratch_mb: int = 0

    @property
    def slow(self) -> bool:
        """Whether libraries beside torch have to be imported for it."""
        return self.kind != "file" or self.model.lower().endswith(".zip")

    @property
    def code(self) -> bool:
        """Whether it is a team's own code."""
        return self.kind == "code"

    def as_dict(self) -> dict[str, Any]:
        """For a message."""
        return asdict(self)
