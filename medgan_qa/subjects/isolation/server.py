"""The process that models' processes are forked from: it has torch imported once and opens no model itself.

It is a program of its own, started clean by the first model that an audit loads, because a process with threads, such
as an audit that uses torch, cannot be forked safely. It ends with the audit, however that ends, and takes every model's
process and its scratch folder along.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import importlib
import os
import pkgutil
import select
import shutil
import signal
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from medgan_qa.subjects.isolation import child, wire

PREFIX = "medgan-qa-models-"
LOCK = "lock"
KEPT_OUTPUT = 8192
"""Bytes of what a model printed, from the end."""
EXIT_WAIT_S = 2.0
ASKED_FOR_S = 60.0
EVERY_MS = 1000
EXPORTED = ("torch.export", "torch._export.serde.serialize")
"""What torch imports to read an exported program, in seconds; imported here once where one is to be read."""


@dataclass
class Model:
    """One model's process."""

    pid: int
    output: int
    scratch: Path
    told: bytes = b""
    status: int | None = None
    """As waitpid gives it."""
    ended: float | None = None
    """When it was seen to have ended, on the clock of `time.monotonic`."""


class Server:
    """Forks, watches and buries models' processes as an audit asks for it.

    Args:
        control: to the audit.
    """

    def __init__(self, control: socket.socket) -> None:
        self.control, self.parent = control, os.getppid()
        self.models: dict[int, Model] = {}
        self.root = scratch_root()

    def run(self) -> None:
        """Serve until the audit is gone."""
        try:
            while os.getppid() == self.parent:
                self._step()
        except (EOFError, BrokenPipeError, ConnectionResetError):
            pass
        finally:
            for number in list(self.models):
                self._bury(number)
            shutil.rmtree(self.root, ignore_errors=True)

    def _step(self) -> None:
        self._sweep()
        poll = select.poll()
        poll.register(self.control, select.POLLIN)
        outputs = {model.output: model for model in self.models.values() if model.output >= 0}
        for output in outputs:
            poll.register(output, select.POLLIN)
        ready = [file for file, _ in poll.poll(EVERY_MS)]
        for output in ready:
            if output in outputs:
                _listen(outputs[output])
        if self.control.fileno() in ready:
            self._answer(*wire.receive(self.control, most_files=1))

    def _answer(self, asked: dict[str, Any], files: list[int]) -> None:
        number = int(asked["number"])
        if asked["do"] == "fork":
            model = self._fork(number, files[0], asked["imports"])
            wire.send(self.control, {"pid": model.pid, "scratch": str(model.scratch)})
        elif asked["do"] == "kill":
            with contextlib.suppress(ProcessLookupError, KeyError):
                if self.models[number].status is None:
                    os.kill(self.models[number].pid, signal.SIGKILL)
            wire.send(self.control, {})
        else:
            wire.send(self.control, self._bury(number))

    def _fork(self, number: int, channel: int, imports: list[str]) -> Model:
        for name in imports:
            with contextlib.suppress(Exception):  # the model's process meets the same error, and says so
                importlib.import_module(name)
        scratch = Path(tempfile.mkdtemp(dir=self.root))
        heard, said = os.pipe()
        pid = os.fork()
        if pid == 0:
            child.serve(socket.socket(fileno=channel), said, scratch)
        os.close(said)
        os.close(channel)
        os.set_blocking(heard, False)
        self.models[number] = model = Model(pid, heard, scratch)
        return model

    def _sweep(self) -> None:
        """Forget models whose process ended because nobody wanted them any more."""
        now = time.monotonic()
        for number, model in list(self.models.items()):
            self._reap(model)
            if model.ended is None:
                continue
            shutil.rmtree(model.scratch, ignore_errors=True)
            # Whoever saw a model crash asks for the reason soon.
            if now - model.ended > ASKED_FOR_S:
                self._bury(number)

    def _reap(self, model: Model) -> None:
        if model.status is None:
            pid, status = os.waitpid(model.pid, os.WNOHANG)
            if pid:
                model.status = status
                model.ended = time.monotonic()

    def _bury(self, number: int) -> dict[str, Any]:
        """End a model's process, if it has not ended, and tell what became of it."""
        model = self.models.pop(number, None)
        if model is None:
            return {}
        until = time.monotonic() + EXIT_WAIT_S
        self._reap(model)
        while model.status is None and time.monotonic() < until:
            time.sleep(0.005)
            self._reap(model)
        if model.status is None:
            os.kill(model.pid, signal.SIGKILL)
            model.status = os.waitpid(model.pid, 0)[1]
        while model.output >= 0 and _listen(model):
            pass
        if model.output >= 0:
            os.close(model.output)
        shutil.rmtree(model.scratch, ignore_errors=True)
        return {"status": model.status, "told": wire.last_lines(model.told)}


def _listen(model: Model) -> bool:
    """Keep the end of what a model printed; whether there was anything."""
    try:
        part = os.read(model.output, 65536)
    except BlockingIOError:
        return False
    if not part:
        os.close(model.output)
        model.output = -1
        return False
    model.told = (model.told + part)[-KEPT_OUTPUT:]
    return True


def scratch_root() -> Path:
    """A folder for scratch folders, after those of servers that were killed are removed."""
    place = Path(tempfile.gettempdir())
    for left in place.glob(f"{PREFIX}*"):
        with contextlib.suppress(OSError):
            if left.is_symlink() or left.stat().st_uid != os.getuid():
                continue
            with (left / LOCK).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left, ignore_errors=True)
    root = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    # Held by this process and no other, until it ends.
    held = os.open(root / LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(held, fcntl.LOCK_EX)
    return root


def prepare() -> None:
    """Import what models' processes need, which may open neither this package's folder nor others like it."""
    import torch  # noqa: F401

    import medgan_qa.subjects as package

    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        with contextlib.suppress(ImportError):
            importlib.import_module(module.name)
    for point in entry_points(group="medgan_qa.architectures"):
        with contextlib.suppress(Exception):  # of another package; whoever names one of its networks meets the error
            point.load()()
    # What is imported stays shared between all models' processes.
    gc.freeze()


def main(control: int, path: list[str]) -> None:
    """Be the server.

    Args:
        control: the open socket to the audit.
        path: where the audit imports from.
    """
    sys.path[:] = path
    channel = socket.socket(fileno=control)
    prepare()
    server = Server(channel)
    wire.send(channel, {"ready": True})
    server.run()
