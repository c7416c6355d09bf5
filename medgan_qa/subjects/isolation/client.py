"""The process that models' processes are forked from, as seen from the audit."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medgan_qa.errors import ConfigurationError
from medgan_qa.subjects.isolation import confine, wire

START_S = 180.0
"""For importing torch from a slow disk."""
ANSWER_S = 30.0
PROGRAM = "import json, sys; p = json.loads(sys.argv[2]); sys.path[:] = p; " + (
    "from medgan_qa.subjects.isolation.server import main; main(int(sys.argv[1]), p)"
)


class Server:
    """The process that models' processes are forked from, as seen from the audit."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        path = [str(Path(entry).absolute()) for entry in sys.path]
        # Without a name, and read only where the server ends before its time.
        self.said = tempfile.TemporaryFile()  # noqa: SIM115
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM, str(theirs.fileno()), json.dumps(path)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self.said,
                env=confine.handed_down(os.environ),
                # Keys that interrupt the audit are the audit's business, which ends the server.
                start_new_session=True,
            )
        self.control, self.lock, self.numbers = ours, threading.Lock(), itertools.count()
        self.owner, self.ready = os.getpid(), False

    def alive(self) -> bool:
        """Whether it can be asked, and by this process."""
        return self.owner == os.getpid() and self.process.poll() is None

    def ask(self, message: Mapping[str, Any], files: list[int], seconds: float = ANSWER_S) -> dict[str, Any]:
        """Send a message and wait for the answer.

        Raises:
            ConfigurationError: the server ended, or does not answer.
        """
        with self.lock:
            try:
                self._until_ready()
                wire.send(self.control, message, files)
                return self._answer(seconds)
            except (OSError, EOFError, wire.ProtocolError, wire.SilenceError) as error:
                raise ConfigurationError(
                    "No process for a model could be started.",
                    expected="a Python that imports torch and can be forked",
                    found=self._ending(error),
                    todo="Run again; `--trust` runs a model that you trust without a process of its own.",
                ) from error

    def _until_ready(self) -> None:
        if not self.ready:
            self._answer(START_S)
            self.ready = True

    def _answer(self, seconds: float) -> dict[str, Any]:
        wait = wire.until(self.control, time.monotonic() + seconds, lambda: None)
        return wire.receive(self.control, wait)[0]

    def _ending(self, error: Exception) -> str:
        if isinstance(error, wire.SilenceError):
            self.process.kill()
            return "no answer from it"
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(2)
        self.process.kill()
        status = self.process.wait()
        self.said.seek(0)
        how = signal_name(-status) if status < 0 else f"exit code {status}"
        return and_told(f"it ended with {how}", wire.last_lines(self.said.read(), 1))

    def stop(self) -> None:
        """End it, with every model's process."""
        if self.owner != os.getpid():
            return
        if not self.ready and not select.select([self.control], [], [], 0)[0]:
            # It is still importing torch, and nobody is going to need it.
            self.process.kill()
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        self.said.close()


def signal_name(number: int) -> str:
    """The name of a signal, such as SIGSEGV."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


_starting = threading.Lock()
_server: Server | None = None


def server() -> Server:
    """The server of this process, started if there is none.

    Raises:
        ConfigurationError: this system cannot fork processes.
    """
    global _server
    if not hasattr(os, "fork") or not hasattr(socket, "send_fds"):
        raise ConfigurationError(
            "This system cannot run a model in a process of its own.",
            expected="Linux or macOS",
            found=sys.platform,
            todo="Run a model that you trust with --trust.",
        )
    with _starting:
        if _server is None or not _server.alive():
            _server = Server()
            atexit.register(_server.stop)
        return _server


def and_told(found: str, told: Any) -> str:
    """What was found, and what was printed last where anything was."""
    return f"{found}; the last it printed: {told}" if told else found
