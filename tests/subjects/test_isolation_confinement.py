"""What a confined process can no longer do, tried in one; and the filter of system calls, run through by hand."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from medgan_qa.subjects.isolation import _syscalls, landlock, seccomp
from medgan_qa.subjects.isolation.confine import handed_down

KNOWN = _syscalls.architecture() is not None and sys.platform == "linux"
needs_linux = pytest.mark.skipif(not KNOWN, reason="confinement is the Linux kernel's")
needs_landlock = pytest.mark.skipif(landlock.abi() == 0, reason="this kernel offers no Landlock")

SCRIPT = """
import ctypes, json, os, pathlib, signal, socket, subprocess, sys, threading
from medgan_qa.subjects.isolation import confine, landlock
folder = pathlib.Path(sys.argv[1])
if sys.argv[2] == "no landlock":
    landlock.abi = lambda: 0
wanted = confine.Wanted((folder / "model.pt",), folder / "scratch", False, 2048, 2048, 1, False)
facts = confine.confine(wanted)
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    from medgan_qa.subjects.isolation import _syscalls
    libc.syscall(_syscalls.architecture().number(name), *arguments)
    return ctypes.get_errno()

def thread():
    done = []
    one = threading.Thread(target=lambda: done.append(1))
    one.start()
    one.join()
    return done

def big():
    (folder / "scratch" / "big").write_bytes(bytes(3 << 20))

def own_signal():
    heard = []
    signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
    signal.raise_signal(signal.SIGUSR1)
    return heard

secret = ctypes.create_string_buffer(8)
attempts = {
    "socket": lambda: socket.socket(),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "run a program": lambda: subprocess.run(["/bin/true"]),
    "fork": os.fork,
    "signal to the parent": lambda: os.kill(os.getppid(), 0),
    "memory of the parent": lambda: open(f"/proc/{os.getppid()}/mem", "rb"),
    "memory of the parent by call": lambda: 1 / (call("process_vm_readv", os.getppid(), 0, 0, 0, 0, 0) != 1),
    "bpf": lambda: 1 / (call("bpf", 0, 0, 0) != 1),
    "io_uring": lambda: 1 / (call("io_uring_setup", 1, 0) != 1),
    "clone3": lambda: 1 / (call("clone3", 0, 0) != 38),
    "file in memory": lambda: os.memfd_create("x"),
    "read the file beside": lambda: (folder / "other.pt").read_bytes(),
    "read users": lambda: open("/etc/passwd").read(),
    "list the folder": lambda: os.listdir(folder),
    "change the model": lambda: (folder / "model.pt").write_bytes(b"x"),
    "write beside": lambda: (folder / "new").write_bytes(b"x"),
    "truncate": lambda: os.truncate(folder / "other.pt", 0),
    "remove": lambda: os.remove(folder / "other.pt"),
    "rename": lambda: os.rename(folder / "other.pt", folder / "moved.pt"),
    "link": lambda: os.symlink("/etc/passwd", folder / "scratch" / "link"),
    "permissions": lambda: os.chmod(folder / "other.pt", 0o777),
    "times": lambda: os.utime(folder / "other.pt", (0, 0)),
    "too much memory": lambda: bytearray(4 << 30),
    "too large a file": big,
    "read the model": lambda: (folder / "model.pt").read_bytes(),
    "write to scratch": lambda: (folder / "scratch" / "x").write_bytes(b"x"),
    "import": lambda: __import__("sqlite3"),
    "start a thread": thread,
    "signal to itself": own_signal,
    "some memory": lambda: len(bytearray(256 << 20)),
}
result = {}
for name, attempt in attempts.items():
    try:
        attempt()
        result[name] = "done"
    except BaseException as error:
        result[name] = type(error).__name__
print(json.dumps([facts, result]))
"""
ALLOWED = {"read the model", "write to scratch", "import", "start a thread", "signal to itself", "some memory"}
READING = {"read the file beside", "read users", "list the folder"}


def attempted(folder: Path, how: str = "all") -> tuple[dict[str, str], dict[str, str]]:
    for name in ("model.pt", "other.pt"):
        (folder / name).write_bytes(b"content")
    (folder / "scratch").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), how], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout, done.stderr
    facts, result = json.loads(done.stdout)
    return facts, result


@needs_linux
@needs_landlock
def test_nothing_is_left_but_the_model_python_and_a_scratch_folder(tmp_path: Path) -> None:
    facts, result = attempted(tmp_path)

    assert {name for name, outcome in result.items() if outcome == "done"} == ALLOWED
    assert facts["network"] == "seccomp: no sockets"
    assert facts["files"].startswith(f"landlock ABI {landlock.abi()}")
    assert "kernel" in facts["memory"]
    assert (tmp_path / "other.pt").read_bytes() == b"content"
    assert (tmp_path / "other.pt").stat().st_mode & 0o777 != 0o777


@needs_linux
def test_without_landlock_nothing_is_written_and_the_record_says_so(tmp_path: Path) -> None:
    facts, result = attempted(tmp_path, "no landlock")

    # An administrator may look into the memory of others; what Landlock would have forbidden is only not written.
    done = {name for name, outcome in result.items() if outcome == "done"} - {"memory of the parent"}
    assert done == (ALLOWED - {"write to scratch"}) | READING
    assert facts["files"].startswith("seccomp: written nowhere")
    assert "Landlock" in facts["files"]
    assert (tmp_path / "other.pt").read_bytes() == b"content"


@needs_linux
@needs_landlock
def test_what_was_readable_can_be_narrowed_and_not_widened(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.data", "other"):
        (tmp_path / name).write_bytes(b"content")
    script = """
import pathlib, sys
from medgan_qa.subjects.isolation import confine
folder = pathlib.Path(sys.argv[1])
wanted = confine.Wanted((folder,), folder / "none", False, 2048, 2048, 1, False)
confine.confine(wanted)
def readable():
    found = []
    for name in ("model.onnx", "model.data", "other"):
        try:
            (folder / name).read_bytes()
            found.append(name)
        except PermissionError:
            pass
    return found
before = readable()
confine.narrow(wanted, (folder / "model.onnx", folder / "model.data"))
after = readable()
confine.narrow(wanted, (folder,))
print([before, after, readable()])
"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    own = ["model.onnx", "model.data"]
    assert done.stdout.strip() == str([[*own, "other"], own, own])


# The filter, run by an interpreter of the few steps that it is made of


def outcome(steps: list[seccomp.Step], arch: int, number: int, *arguments: int) -> int:
    """What the kernel would answer to a call."""
    data = {seccomp.NUMBER: number, seccomp.ARCH: arch}
    data |= {16 + 8 * k: value & 0xFFFFFFFF for k, value in enumerate(arguments)}
    at, held = 0, 0
    while True:
        code, true, false, constant = steps[at]
        assert 0 <= true < 256
        assert 0 <= false < 256
        at += 1
        if code == seccomp.LOAD:
            held = data.get(constant, 0)
        elif code == seccomp.RETURN:
            return constant
        else:
            holds = {
                seccomp.EQUAL: held == constant,
                seccomp.AT_LEAST: held >= constant,
                seccomp.ANY_BIT: bool(held & constant),
            }[code]
            at += true if holds else false


PID = 4711


@pytest.mark.parametrize("arch", _syscalls.ARCHITECTURES, ids=lambda arch: str(arch.name))
@pytest.mark.parametrize("writing", [True, False])
def test_every_listed_call_is_answered_as_listed(arch: _syscalls.Architecture, writing: bool) -> None:
    steps = seccomp.program(arch, PID, writing=writing, memfd=False)
    assert len(steps) < 4096  # the kernel takes no longer programs
    for call in _syscalls.NUMBERS:
        number = arch.number(call)
        if number is None or call in _syscalls.BY_ARGUMENT or call in ("open", "openat", "openat2"):
            continue
        wanted = seccomp.ALLOW if writing and call in _syscalls.ABOUT_FILES else seccomp.REFUSE
        assert outcome(steps, arch.audit, number) == wanted, call


@pytest.mark.parametrize("arch", _syscalls.ARCHITECTURES, ids=lambda arch: str(arch.name))
def test_some_calls_are_answered_by_their_arguments(arch: _syscalls.Architecture) -> None:
    steps = seccomp.program(arch, PID, writing=False, memfd=False)

    def answer(call: str, *arguments: int) -> int:
        number = arch.number(call)
        assert number is not None
        return outcome(steps, arch.audit, number, *arguments)

    refuse, allow = seccomp.REFUSE, seccomp.ALLOW
    assert (answer("clone", 0), answer("clone", seccomp.CLONE_THREAD | 0x100)) == (refuse, allow)
    assert answer("clone3") == seccomp.UNKNOWN
    for call in ("kill", "tgkill"):
        assert (answer(call, PID, 9), answer(call, 1, 9), answer(call, 2**32 - 1, 9)) == (allow, refuse, refuse)
    assert [answer("prlimit64", pid) for pid in (0, PID, 1)] == [allow, allow, refuse]
    assert (answer("ioctl", 0, 0x5401), answer("ioctl", 0, seccomp.TIOCSTI)) == (allow, refuse)
    assert answer("openat", 0, 0, os.O_RDONLY | os.O_CLOEXEC) == allow
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_CREAT, os.O_RDONLY | os.O_TRUNC):
        assert answer("openat", 0, 0, flags) == refuse
    writing = seccomp.program(arch, PID, writing=True, memfd=True)
    number, memfd = arch.number("openat"), arch.number("memfd_create")
    assert number is not None
    assert memfd is not None
    assert outcome(writing, arch.audit, number, 0, 0, os.O_RDWR) == allow
    assert outcome(writing, arch.audit, memfd) == allow


def test_calls_of_another_instruction_set_end_the_process() -> None:
    x86, arm = _syscalls.ARCHITECTURES
    steps = seccomp.program(x86, PID, writing=True, memfd=False)
    assert outcome(steps, arm.audit, 0) == seccomp.KILL
    assert outcome(steps, x86.audit, 0) == seccomp.ALLOW
    assert outcome(steps, x86.audit, seccomp.X32 | 41) == seccomp.REFUSE


def test_passwords_and_tokens_stay_behind() -> None:
    given = {
        "PATH": "/usr/bin", "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "0", "LC_ALL": "C", "TORCH_HOME": "/x",
        "AWS_SECRET_ACCESS_KEY": "x", "HF_TOKEN": "x", "MEDGAN_QA_KEY_PASSPHRASE": "x", "HOME": "/home/me",
        "PYTHONPATH": "/x", "LD_PRELOAD": "/x.so", "TORCH_HUB_TOKEN": "x", "SSH_AUTH_SOCK": "/x", "http_proxy": "x",
    }  # fmt: skip
    assert set(handed_down(given)) == {"PATH", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "LC_ALL", "TORCH_HOME"}
