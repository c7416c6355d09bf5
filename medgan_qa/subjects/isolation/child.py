"""The inside of a model's process: confine itself, open the model, run it on what comes."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from medgan_qa.subjects import reading
from medgan_qa.subjects.isolation import confine, wire
from medgan_qa.subjects.isolation._libc import PR_SET_PDEATHSIG, keep_freed_memory, prctl
from medgan_qa.subjects.isolation.errors import in_words
from medgan_qa.subjects.isolation.job import Job
from medgan_qa.subjects.networks import Network

SIGKILL = 9
MOST_OPEN = 1 << 16
KEPT_MB = 256
"""Freed memory that a model's process keeps for the next layer."""
RESET_PEAK = b"5"
"""What /proc/self/clear_refs takes to forget the most memory that a process had."""


def serve(channel: socket.socket, output: int, scratch: Path) -> NoReturn:
    """Be a model's process until nobody asks any more; to be called right after a fork.

    Args:
        channel: to the audit.
        output: takes what the model prints.
        scratch: a folder of its own.
    """
    line = _Line(channel)
    try:
        prctl(PR_SET_PDEATHSIG, SIGKILL)
        keep_freed_memory(KEPT_MB)
        _alone_with(channel.fileno(), output)
        _answer(line, scratch)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        pass
    except BaseException as error:  # nothing may come back to the loop of the process that this one was forked from
        with contextlib.suppress(BaseException):
            line.say(in_words(error) if isinstance(error, Exception) else {})
        os._exit(1)
    os._exit(0)


def _alone_with(channel: int, output: int) -> None:
    """Close every open file but the channel, and send what is printed to `output`."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.closerange(3, channel)
    os.closerange(channel + 1, min(os.sysconf("SC_OPEN_MAX"), MOST_OPEN))


class _Line:
    """The channel to the audit: one answer to every question, with its number."""

    def __init__(self, channel: socket.socket) -> None:
        self.channel, self.call = channel, 0

    def hear(self, most_files: int = 0) -> tuple[dict[str, Any], list[int]]:
        message, files = wire.receive(self.channel, most_files=most_files)
        self.call = message["call"]
        return message, files

    def say(self, message: Mapping[str, Any]) -> None:
        wire.send(self.channel, {**message, "call": self.call})


def _answer(line: _Line, scratch: Path) -> None:
    job = Job(**line.hear()[0]["open"])
    _at_home_in(scratch, job)
    peak = _peak_reset()
    wanted = _wanted(job, scratch)
    line.say(confine.confine(wanted))
    line.hear()
    try:
        network, reply = _opened(job, wanted)
    except Exception as error:  # a model's file ends its reader in any of them
        line.say(in_words(error))
        return
    line.say(reply)
    images: dict[str, wire.Shared] = {}
    while True:
        message, given = line.hear(most_files=2)
        _take_over(images, dict(zip(message["files"], given, strict=True)))
        _run(line, network, message["run"], images, peak)


def _take_over(images: dict[str, wire.Shared], files: dict[str, int]) -> None:
    for name, file in files.items():
        if name in images:
            images.pop(name).close()
        images[name] = wire.Shared(file)


def _at_home_in(scratch: Path, job: Job) -> None:
    os.environ.update(dict.fromkeys(("HOME", "TMPDIR", "XDG_CACHE_HOME"), str(scratch)))
    # Libraries that look up who they work for find it here and not in /etc/passwd.
    os.environ.update(dict.fromkeys(("USER", "LOGNAME"), "model"))
    os.chdir(job.folder if job.code and job.folder else scratch)
    import tempfile

    tempfile.tempdir = str(scratch)


def _peak_reset() -> Callable[[], None]:
    try:
        # Opened while it may be.
        place = os.open("/proc/self/clear_refs", os.O_WRONLY)
    except OSError:
        return lambda: None

    def reset() -> None:
        with contextlib.suppress(OSError):
            os.pwrite(place, RESET_PEAK, 0)

    return reset


def _wanted(job: Job, scratch: Path) -> confine.Wanted:
    reads = [Path(job.model)] if not job.code else []
    if job.weights is not None:
        reads.append(Path(job.weights))
    return confine.Wanted(
        # Tensors of an ONNX graph may lie in files beside it.
        reads=tuple(path.parent if _is_onnx(job) else path for path in reads),
        scratch=scratch,
        cuda=job.device != "cpu",
        reading_mb=job.reading_mb,
        memory_mb=job.memory_mb,
        scratch_mb=job.scratch_mb,
        code=job.code,
    )


def _opened(job: Job, wanted: confine.Wanted) -> tuple[Network, dict[str, Any]]:
    _threads(job)
    format_, (network, card, parameters) = _read(job, wanted)
    confine.read_to_the_end()
    # What is no text arrives as it is, to be refused as a card.
    text = card if isinstance(card, str) else card.decode(errors="surrogateescape")
    return network, {
        "format": format_,
        "card": text,
        "parameters": parameters,
        "origin": reading.origin_of(job.kind, job.model, job.weights),
        "device_mb": _device_mb(job.device),
        "threads": _thread_count(),
    }


def _read(job: Job, wanted: confine.Wanted) -> tuple[str, tuple[Network, str | bytes, int | None]]:
    if _is_onnx(job):
        from medgan_qa.subjects.onnx_check import read_graph

        # Now that it is known which files beside the graph are its own, the others are given up.
        path = Path(job.model)
        confine.narrow(wanted, (path, *read_graph(path).external))
    return reading.read(job.kind, job.model, job.weights, job.device)


def _is_onnx(job: Job) -> bool:
    return job.kind == "file" and Path(job.model).suffix.lower() == ".onnx"


def _threads(job: Job) -> None:
    if job.threads is None:
        return
    import torch

    # Even to set the number that it is already changes how torch shares out work.
    if torch.get_num_threads() != job.threads:
        torch.set_num_threads(job.threads)


def _thread_count() -> int | None:
    torch = sys.modules.get("torch")
    return None if torch is None else int(torch.get_num_threads())


def _device_mb(device: str) -> int | None:
    if device == "cpu":
        return None
    import torch

    return int(torch.cuda.get_device_properties(torch.device(device)).total_memory) >> 20


def _run(
    line: _Line, network: Network, asked: dict[str, Any], images: dict[str, wire.Shared], peak: Callable[[], None]
) -> None:
    measured = bool(asked.get("measure"))
    if measured:
        peak()
        _device_peak(reset=True)
    try:
        y = network(images["in"].array(asked["shape"]), asked["seed"])
    except Exception as error:  # a model is somebody else's code and raises what it likes
        line.say(in_words(error))
        return
    if y.nbytes > asked["room"]:
        line.say({"shape": list(y.shape), "needs": y.nbytes})
        _, given = line.hear(most_files=1)
        _take_over(images, {"out": given[0]})
    np.copyto(images["out"].array(y.shape), y)
    line.say({"shape": list(y.shape), "device_bytes": _device_peak() if measured else None})


def _device_peak(*, reset: bool = False) -> int | None:
    """The most memory that torch had on the accelerator, in bytes; None where it uses none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    if reset:
        torch.cuda.reset_peak_memory_stats()
    return int(torch.cuda.max_memory_allocated())
