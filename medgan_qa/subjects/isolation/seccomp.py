"""System calls that a model has no use for, refused by the kernel (Linux seccomp).

The filter is a short program of the kernel's own (classic BPF). It lets everything through that a network needs to
compute, and answers the calls that reach the network, other processes, other files' permissions and rarely used parts
of the kernel with EPERM, so that a library which tries one gets an ordinary error.

Source: Linux, Documentation/userspace-api/seccomp_filter.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
from collections.abc import Iterator

from medgan_qa.subjects.isolation import _syscalls
from medgan_qa.subjects.isolation._libc import prctl, syscall

PR_SET_SECCOMP, MODE_FILTER = 22, 2
SECCOMP, SET_MODE_FILTER, SPEC_ALLOW = {"x86_64": 317, "aarch64": 277}, 1, 4
LOAD, RETURN = 0x20, 0x06  # BPF_LD|BPF_W|BPF_ABS, BPF_RET|BPF_K
EQUAL, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45  # BPF_JMP|BPF_JEQ, BPF_JGE, BPF_JSET, all with a constant
NUMBER, ARCH, FIRST, SECOND, THIRD = 0, 4, 16, 24, 32
"""Offsets in `struct seccomp_data`; the low words of the first three arguments on a little-endian machine."""
ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSE, UNKNOWN = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
X32 = 0x40000000
"""Calls of the x32 interface, which would pass by under other numbers."""
CLONE_THREAD = 0x10000
TIOCSTI, TIOCLINUX = 0x5412, 0x541C
"""Putting words into a terminal's mouth."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
OPENING = {"open": SECOND, "openat": THIRD}
"""Where the flags of a call that opens a file stand."""

Step = tuple[int, int, int, int]
"""Code, how far to jump if true, if false, and the constant."""


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def program(arch: _syscalls.Architecture, pid: int, *, writing: bool, memfd: bool) -> list[Step]:
    """The filter for one process.

    Args:
        arch: the machine.
        pid: the process, which may send signals to itself.
        writing: whether files may be opened for writing, because something else confines them.
        memfd: whether anonymous files in memory are allowed.
    """
    steps = [(LOAD, 0, 0, ARCH), (EQUAL, 1, 0, arch.audit), (RETURN, 0, 0, KILL), (LOAD, 0, 0, NUMBER)]
    if arch.name == "x86_64":
        steps += [(AT_LEAST, 0, 1, X32), (RETURN, 0, 0, REFUSE)]
    for call in _syscalls.NUMBERS:
        number = arch.number(call)
        if number is None or (memfd and call in _syscalls.SHARED_MEMORY):
            continue
        if call in _syscalls.BY_ARGUMENT:
            steps += _by_argument(call, number, pid)
        elif call not in _syscalls.ABOUT_FILES:
            steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE)]
        elif not writing:
            steps += _reading_only(call, number)
    return [*steps, (RETURN, 0, 0, ALLOW)]


def _by_argument(call: str, number: int, pid: int) -> list[Step]:
    if call == "clone3":
        # Its flags lie in memory, where a filter cannot look; told that there is no such call, libc uses clone.
        return [(EQUAL, 0, 1, number), (RETURN, 0, 0, UNKNOWN)]
    if call == "clone":
        return list(_if(number, FIRST, [(ANY_BIT, CLONE_THREAD)], allowed=True))
    if call == "ioctl":
        return list(_if(number, SECOND, [(EQUAL, TIOCSTI), (EQUAL, TIOCLINUX)], allowed=False))
    own = [pid, 0] if call == "prlimit64" else [pid]
    return list(_if(number, FIRST, [(EQUAL, known) for known in own], allowed=True))


def _reading_only(call: str, number: int) -> list[Step]:
    if call == "openat2":
        return [(EQUAL, 0, 1, number), (RETURN, 0, 0, UNKNOWN)]
    if call in OPENING:
        return list(_if(number, OPENING[call], [(ANY_BIT, WRITING)], allowed=False))
    return [(EQUAL, 0, 1, number), (RETURN, 0, 0, REFUSE)]


def _if(number: int, argument: int, tests: list[tuple[int, int]], *, allowed: bool) -> Iterator[Step]:
    """One call, allowed only (or refused only) where one of the tests on an argument holds."""
    yield (EQUAL, 0, len(tests) + 3, number)
    yield (LOAD, 0, 0, argument)
    for k, (test, constant) in enumerate(tests):
        yield (test, len(tests) - k, 0, constant)
    yield (RETURN, 0, 0, REFUSE if allowed else ALLOW)
    yield (RETURN, 0, 0, ALLOW if allowed else REFUSE)


def refuse_calls(*, writing: bool, memfd: bool) -> str | None:
    """Put the filter on this thread and all that it starts; PR_SET_NO_NEW_PRIVS must be set.

    Returns:
        Why it could not be done; None where it was.
    """
    arch = _syscalls.architecture()
    if arch is None:
        return "the numbers of this architecture's system calls are not known"
    steps = b"".join(struct.pack("=HBBI", *step) for step in program(arch, os.getpid(), writing=writing, memfd=memfd))
    kept = ctypes.create_string_buffer(steps, len(steps))
    made = _Program(len(steps) // 8, ctypes.addressof(kept))
    try:
        # Kernels before 5.16 slow a filtered process down by default, against attacks on others within that process.
        syscall(SECCOMP[arch.name], ctypes.c_uint(SET_MODE_FILTER), ctypes.c_uint(SPEC_ALLOW), ctypes.byref(made))
        return None
    except OSError:
        pass
    return prctl(PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(made))
