"""A network that runs in a process of its own."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

from medgan_qa.errors import IntegrityError, MedganQAError, ModelCrashError
from medgan_qa.subjects.isolation.errors import again
from medgan_qa.subjects.isolation.job import Job
from medgan_qa.subjects.isolation.limits import Limits
from medgan_qa.subjects.isolation.process import Process
from medgan_qa.subjects.isolation.wire import printable
from medgan_qa.subjects.networks import Float, OutOfMemoryError

MOST_WORDS = 500
"""Entries of a table that a model's process tells."""
RESTARTS = 3
"""How often a model that crashed is started again before it counts as broken."""


class IsolatedNetwork:
    """A network behind the call of any other, in a process that it may take down.

    After a crash the next call starts a new process, up to `RESTARTS` times; a model that crashed before it ever
    answered, or once more than that, is broken, and every further call says so at once.

    Args:
        job: what is to be opened.
        limits: what it may take.
        digest: works out the model's digest.
        sha256: what that was, and must be when it is opened again.

    Raises:
        MedganQAError: the model cannot be opened.
        ModelCrashError: opening it took its process down.
    """

    def __init__(self, job: Job, limits: Limits, digest: Callable[[], str], sha256: str) -> None:
        self.job, self.limits, self._digest, self.sha256 = job, limits, digest, sha256
        self.crashes, self._answered = 0, False
        self._broken: MedganQAError | None = None
        self._process: Process | None = None
        self._lock = threading.Lock()
        self._end: weakref.finalize[..., Any] | None = None
        process = self._start()
        opened = process.opened
        self.format = printable(opened.get("format"), 100)
        self.card = str(opened.get("card") or "").encode(errors="surrogateescape")
        """As TOML; empty where the model holds none."""
        self.parameters = _whole(opened.get("parameters"))
        """How many trainable numbers, where the format tells."""
        self.origin = _words(opened.get("origin"))
        """Which code stands behind it, where that is code."""
        self.device_mb = _whole(opened.get("device_mb"))
        """Memory of the accelerator; None where there is none."""
        self.facts = {"process": "a process of its own", **process.confined, **limits.as_dict()}
        """What stands between the model and the audit."""
        threads = _whole(opened.get("threads"))
        if threads is not None:
            self.facts["threads"] = threads

    def __call__(self, x: Float, seed: int) -> Float:
        """Run the network on a batch; `seed` fixes whatever is random inside.

        Raises:
            ModelError: the network raised; its message is kept.
            OutOfMemoryError: the batch does not fit into memory.
            ModelCrashError: it crashed or hung, or did so too often before.
        """
        return self._run(x, seed, measure=False)[0]

    def measured(self, x: Float, seed: int) -> tuple[Float, int | None]:
        """Run the network as a call does, and say how many bytes it took beyond what the model has at rest."""
        return self._run(x, seed, measure=True)

    @property
    def memory_mb(self) -> int:
        """What a batch has to fit into."""
        return self.limits.memory_mb if self.device_mb is None else self.device_mb

    def _run(self, x: Float, seed: int, *, measure: bool) -> tuple[Float, int | None]:
        with self._lock:
            if self._broken is not None:
                raise again(self._broken)
            try:
                process = self._process or self._start_again()
                y, peak = process.run(x, seed, measure=measure)
            except OutOfMemoryError:
                self._lost()
                raise
            except ModelCrashError as error:
                self._crashed(error)
                raise
            self._answered = True
            return y, None if peak is None else max(0, peak - (process.base if self.device_mb is None else 0))

    def _start(self) -> Process:
        process = Process(self.job, self.limits)
        if self._end is not None:
            self._end()
        self._process, self._end = process, weakref.finalize(self, process.close)
        return process

    def _start_again(self) -> Process:
        found = self._digest()
        if found != self.sha256:
            raise IntegrityError(
                "The model changed while it was audited.",
                expected=f"SHA-256 {self.sha256}",
                found=found,
                where=self.job.weights or self.job.model,
                todo="Run again, and leave its files alone meanwhile.",
            )
        return self._start()

    def _lost(self) -> None:
        """Forget a process that ended; one that caught the error itself lives on."""
        if self._process is not None and not self._process.files:
            self._process = None

    def _crashed(self, error: ModelCrashError) -> None:
        self.crashes, self._process = self.crashes + 1, None
        self.facts["crashes"] = self.crashes
        if not self._answered:
            self._broken = error
        elif self.crashes > RESTARTS:
            self._broken = again(error, f"; it crashed {self.crashes} times and was not started again")


def _whole(given: Any) -> int | None:
    return given if type(given) is int and 0 <= given < 1 << 62 else None


def _words(given: Any) -> dict[str, Any]:
    """A table of texts, or of tables of texts, from another process."""
    if not isinstance(given, dict):
        return {}
    told = list(given.items())[:MOST_WORDS]
    return {printable(key, 200): _words(item) if isinstance(item, dict) else printable(item, 200) for key, item in told}
