"""One model's process, as seen from the audit."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medgan_qa.errors import ConfigurationError, MedganQAError
from medgan_qa.subjects.isolation import confine, wire
from medgan_qa.subjects.isolation.client import ANSWER_S, START_S, and_told, server, signal_name
from medgan_qa.subjects.isolation.errors import crashed, from_words
from medgan_qa.subjects.isolation.job import Job
from medgan_qa.subjects.isolation.limits import MB, OUTPUT_MB, Limits
from medgan_qa.subjects.isolation.wire import printable
from medgan_qa.subjects.networks import Float, out_of_memory

LEAST_BUFFER = 1 << 20


class Process:
    """One model's process.

    Args:
        job: what it is to open.
        limits: what it may take.

    Raises:
        MedganQAError: the model cannot be opened; as the reader of its format says.
        ModelCrashError: opening it took the process down, too long or too much memory.
    """

    def __init__(self, job: Job, limits: Limits) -> None:
        self.limits, self.server, self.scratch_mb = limits, server(), job.scratch_mb
        self.calls = 0
        self.number = next(self.server.numbers)
        self.channel, theirs = socket.socketpair()
        self.files: dict[str, tuple[int, int]] = {}
        try:
            with theirs:
                answer = self._forked(theirs.fileno(), _imports(job))
            self.pid, self.scratch = int(answer["pid"]), str(answer["scratch"])
            self.inherited = self._held()
            """Bytes that it has from the process that it was forked from."""
            self.opened = self._open(job)
        except BaseException:
            self.close()
            raise
        self.base = confine.status("VmRSS", self.pid) or 0
        """Bytes in memory before it ran the model."""

    def _forked(self, channel: int, imports: list[str]) -> dict[str, Any]:
        asked = {"do": "fork", "number": self.number, "imports": imports}
        return self.server.ask(asked, [channel], START_S if imports else ANSWER_S)

    def _open(self, job: Job) -> dict[str, Any]:
        # Said before the model is opened, so that the model has no part in it.
        facts = self._ask({"open": job.as_dict()}, (), ANSWER_S, "before its file was read")
        self.confined = {key: printable(facts.get(key)) for key in ("network", "files", "memory")}
        seconds = self.limits.reading_s(job.size, slow=job.slow)
        answer = self._ask({"read": True}, (), seconds, "while its file was read")
        if "error" in answer:
            raise from_words(answer)
        return answer

    def run(self, x: Float, seed: int, *, measure: bool = False) -> tuple[Float, int | None]:
        """Run the model on a batch.

        Args:
            x: (N, ...) images or latent vectors.
            seed: fixes what is random inside.
            measure: whether to find out how much memory it takes.

        Returns:
            What it returned, and the most bytes that it had meanwhile.

        Raises:
            MedganQAError: the model raised.
            ModelCrashError: it took its process down, too long or too much memory.
        """
        given = self._room(x)
        wire.put(self.files["in"][0], x)
        asked = {"shape": list(x.shape), "seed": seed, "room": self.files["out"][1], "measure": measure}
        seconds, when = self.limits.batch_s(len(x)), f"on {len(x)} image{'s' * (len(x) != 1)} of shape {x.shape[1:]}"
        sent = [self.files[name][0] for name in given]
        answer = self._ask({"run": asked, "files": given}, sent, seconds, when)
        if "error" in answer:
            raise from_words(answer)
        shape = self._shape(answer)
        if "needs" in answer:
            self._make("out", 4 * _count(shape))
            again = self._ask({"out": True}, [self.files["out"][0]], seconds, when)
            if self._shape(again) != shape:
                raise self._gone("It changed its answer.", when)
        peak = self._peak(answer) if measure else None
        return self._took(shape, when), peak

    def _room(self, x: Float) -> list[str]:
        """Make buffers that are large enough; which of them are new."""
        wanted = {"in": x.nbytes, "out": 2 * x.nbytes}
        new = [name for name, size in wanted.items() if name not in self.files or size > self.files[name][1]]
        for name in new:
            self._make(name, wanted[name])
        return new

    def _make(self, name: str, size: int) -> None:
        size = max(LEAST_BUFFER, 1 << (size - 1).bit_length()) if size else LEAST_BUFFER
        if name in self.files:
            os.close(self.files.pop(name)[0])
        self.files[name] = wire.memory(size), size

    def _shape(self, answer: dict[str, Any]) -> tuple[int, ...]:
        try:
            return wire.checked_shape(answer.get("shape"), OUTPUT_MB * MB)
        except wire.ProtocolError as error:
            raise self._gone(f"It sent back {error}.", "") from error

    def _took(self, shape: tuple[int, ...], when: str) -> Float:
        try:
            return wire.take(self.files["out"][0], shape)
        except wire.ProtocolError as error:
            raise self._gone(f"It sent back {error}.", when) from error

    def _peak(self, answer: dict[str, Any]) -> int | None:
        on_device = answer.get("device_bytes")
        if isinstance(on_device, int):
            return on_device
        return confine.status("VmHWM", self.pid)

    def _ask(
        self, message: Mapping[str, Any], files: list[int] | tuple[int, ...], seconds: float, when: str
    ) -> dict[str, Any]:
        wait = wire.until(self.channel, time.monotonic() + seconds, lambda: self._watch(when))
        self.calls += 1
        try:
            wire.send(self.channel, {**message, "call": self.calls}, files)
            answer = wire.receive(self.channel, wait)[0]
            if answer.get("call") != self.calls:
                raise wire.ProtocolError("an answer to something else")
            return answer
        except wire.SilenceError as error:
            raise self._too_long(seconds, when) from error
        except wire.ProtocolError as error:
            raise self._gone(f"It sent back {error}.", when) from error
        except (EOFError, OSError) as error:
            raise self._ended(when) from error

    def _watch(self, when: str) -> None:
        """Stop a model that has more than it may; the kernel's own limit does not count all kinds of memory."""
        if self._held() - self.inherited > self.limits.memory_mb * MB:
            self._end()
            raise out_of_memory(f"more than {self.limits.memory_mb} MB {when}; it was stopped")
        if _written(self.scratch) > self.scratch_mb * MB:
            self._end()
            raise crashed("The model filled its scratch folder, and was stopped.", f"{self.scratch_mb} MB {when}")

    def _held(self) -> int:
        """Bytes in memory that are its own, beside images that it shares with the audit."""
        known = [confine.status(key, self.pid) for key in ("RssAnon", "RssShmem")]
        return sum(part or 0 for part in known) - sum(size for _, size in self.files.values())

    def _too_long(self, seconds: float, when: str) -> MedganQAError:
        told = self._end()
        return crashed(
            "The model did not answer in time, and was stopped.",
            and_told(f"no answer after {seconds:g} s {when}", told.get("told", "")),
            expected=f"an answer within {seconds:g} s",
            todo="If it is slow and not stuck, allow it more time with MEDGAN_QA_MODEL_TIMEOUT (seconds a batch).",
        )

    def _gone(self, what: str, when: str) -> MedganQAError:
        self._end()
        return crashed("The model's process gave no proper answer.", f"{what[:1].lower()}{what[1:-1]} {when}".strip())

    def _ended(self, when: str) -> MedganQAError:
        told = self._end(kill=False)
        status, said = told.get("status"), str(told.get("told", ""))
        number = os.WTERMSIG(status) if isinstance(status, int) and os.WIFSIGNALED(status) else None
        if number == signal.SIGKILL or any(word in said.lower() for word in ("bad_alloc", "allocate memory")):
            return out_of_memory(and_told(f"its process was ended for want of memory {when}", said))
        how = "an exit of its own" if number is None else signal_name(number)
        return crashed("The model crashed.", and_told(f"its process ended with {how} {when}", said))

    def _end(self, *, kill: bool = True) -> dict[str, Any]:
        """Have the process ended; what became of it."""
        self._let_go()
        try:
            if kill:
                self.server.ask({"do": "kill", "number": self.number}, [])
            return self.server.ask({"do": "bury", "number": self.number}, [])
        except ConfigurationError:
            return {}

    def _let_go(self) -> None:
        self.channel.close()
        for file, _ in self.files.values():
            os.close(file)
        self.files = {}

    def close(self) -> None:
        """Let the process end."""
        self._let_go()


def _written(folder: str) -> int:
    total = 0
    with contextlib.suppress(OSError):
        for place, _, names in os.walk(folder):
            total += sum(Path(place, name).lstat().st_size for name in names)
    return total


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count


def _imports(job: Job) -> list[str]:
    from medgan_qa.subjects.isolation.server import EXPORTED

    if job.kind == "bundle":
        return ["monai.networks.nets"]
    return list(EXPORTED) if job.model.lower().endswith(".pt2") else []
