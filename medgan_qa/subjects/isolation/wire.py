"""What goes between the audit and a model's process: small JSON messages, and images in shared memory.

The model's process is not trusted, so nothing that comes from it is ever unpickled: a message has a length limit and is
read as JSON, images are read as the bytes of float32 numbers once their shape was checked. Images lie in files in
memory without a name, which the system frees with the last process that holds them, however it ends.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import select
import socket
import struct
import tempfile
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]

READ_AT_ONCE = 1 << 16
MOST_BYTES = 4 << 20
"""Of one message; a card is the longest thing in one."""
ENCODER = json.JSONEncoder(separators=(",", ":"))
LENGTH = struct.Struct("=I")
MOST_AXES, LONGEST_AXIS = 8, 1 << 31


class ProtocolError(Exception):
    """The other side said something that is no answer."""


class SilenceError(Exception):
    """No answer came in time."""


def send(channel: socket.socket, message: Mapping[str, Any], files: Sequence[int] = ()) -> None:
    """Send one message, with open files.

    Raises:
        OSError: nobody listens any more.
    """
    content = ENCODER.encode(message).encode()
    frame = LENGTH.pack(len(content)) + content
    # The files travel with the first bytes.
    sent = socket.send_fds(channel, [frame], list(files)) if files else channel.send(frame)
    channel.sendall(frame[sent:])


def receive(
    channel: socket.socket, wait: Callable[[], None] | None = None, most_files: int = 0
) -> tuple[dict[str, Any], list[int]]:
    """Receive one message, with open files.

    Args:
        channel: where from.
        wait: called before every read; returns when there is something to be read.
        most_files: how many files the other side may send; what it sends beyond is closed unseen.

    Raises:
        EOFError: the other side is gone.
        ProtocolError: it is too long, or no JSON object.
        OSError: it cannot be read.
    """
    content, files, wanted = bytearray(), [], LENGTH.size
    try:
        while len(content) < wanted:
            if wait is not None:
                wait()
            # One question, one answer: nothing can follow the message yet, so that it is read in one go.
            if most_files:
                part, given, _, _ = socket.recv_fds(channel, READ_AT_ONCE, most_files)
                files += given
            else:
                part = channel.recv(READ_AT_ONCE)
            if not part:
                raise EOFError
            content += part
            if len(content) >= LENGTH.size:
                wanted = LENGTH.size + LENGTH.unpack_from(content)[0]
            if max(len(content), wanted) > LENGTH.size + MOST_BYTES:
                raise ProtocolError(f"a message of {wanted - LENGTH.size} bytes")
        if len(content) > wanted:
            raise ProtocolError("more than one message")
        return _parse(bytes(content[LENGTH.size :])), files
    except BaseException:
        for file in files:
            os.close(file)
        raise


def _parse(content: bytes) -> dict[str, Any]:
    try:
        message = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ProtocolError("a message that is no JSON") from error
    if not isinstance(message, dict):
        raise ProtocolError("a message that is no JSON object")
    return message


def memory(size: int) -> int:
    """A file in memory without a name, of a size that cannot be changed where the system can see to that."""
    if hasattr(os, "memfd_create"):
        import fcntl

        made = os.memfd_create("images", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(made, size)
        fcntl.fcntl(made, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return made
    with tempfile.TemporaryFile() as stream:  # has no name once it is open
        made = os.dup(stream.fileno())
    os.ftruncate(made, size)
    return made


def put(file: int, x: Float) -> None:
    """Write images to the beginning of a file."""
    left = np.ascontiguousarray(x, np.float32).data.cast("B") if x.size else memoryview(b"")
    at = 0
    while at < len(left):
        at += os.pwrite(file, left[at:], at)


def take(file: int, shape: tuple[int, ...]) -> Float:
    """Copy images from the beginning of a file; no longer shared with whoever wrote it.

    Raises:
        ProtocolError: the file holds less.
    """
    found = np.empty(shape, np.float32)
    left = found.data.cast("B") if found.size else memoryview(b"")
    at = 0
    while at < len(left):
        read = os.preadv(file, [left[at:]], at)
        if not read:
            raise ProtocolError(f"{at} of {len(left)} bytes of images")
        at += read
    return found


class Shared:
    """A file of images, as they lie there.

    Args:
        file: open for reading and writing; it is closed with this.
    """

    def __init__(self, file: int) -> None:
        self.file = file
        self._bytes = mmap.mmap(file, os.fstat(file).st_size)

    def array(self, shape: Sequence[int]) -> Float:
        """The images at the beginning.

        Raises:
            ValueError: the file holds less.
        """
        count = int(np.prod(shape, dtype=np.int64))
        return np.frombuffer(self._bytes, np.float32, count).reshape(shape) if count else np.empty(shape, np.float32)

    def close(self) -> None:
        """Close the file; it stays in memory as long as somebody holds its images."""
        os.close(self.file)


def checked_shape(given: Any, most_bytes: int) -> tuple[int, ...]:
    """A shape that another process named.

    Raises:
        ProtocolError: it is none, or that of more than `most_bytes` of float32.
    """
    if not isinstance(given, list) or len(given) > MOST_AXES:
        raise ProtocolError("something else than a shape")
    if not all(type(length) is int and 0 <= length < LONGEST_AXIS for length in given):
        raise ProtocolError("a shape that is none")
    bytes_ = 4
    for length in given:
        bytes_ *= length
    if bytes_ > most_bytes:
        raise ProtocolError(f"{bytes_ >> 20} MB of images for one batch, where {most_bytes >> 20} MB may come back")
    return tuple(given)


def printable(given: Any, most: int = 500) -> str:
    """A text from another process, without control characters and cut to a length."""
    text = given if isinstance(given, str) else "" if given is None else str(type(given).__name__)
    kept = "".join(c if c == "\n" or unicodedata.category(c)[0] != "C" else " " for c in text[: 2 * most]).strip()
    return kept if len(kept) <= most else kept[: most - 3] + "..."


def last_lines(output: bytes, lines: int = 3, most: int = 160) -> str:
    """The end of what a program printed, fit to be shown."""
    told = [printable(line, most) for line in output.decode(errors="replace").splitlines()]
    return " / ".join([line for line in told if line][-lines:])


def until(channel: socket.socket, deadline: float, watch: Callable[[], None], every: float = 0.1) -> Callable[[], None]:
    """A `wait` for `receive` that looks after the other side meanwhile.

    Args:
        channel: where an answer is awaited.
        deadline: on the clock of `time.monotonic`.
        watch: called every so often; raises to give up.
        every: seconds.
    """
    poll = select.poll()
    poll.register(channel, select.POLLIN)

    def wait() -> None:
        while True:
            left = deadline - time.monotonic()
            if left <= 0:
                raise SilenceError
            with contextlib.suppress(InterruptedError):
                if poll.poll(1000 * min(every, left)):
                    return
            watch()

    return wait
