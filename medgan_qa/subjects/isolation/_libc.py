"""The few calls of the C library that Python has no function for."""

from __future__ import annotations

import ctypes
import functools
import os
import sys

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS = 1, 4, 38
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 << 20
"""What mallopt(3) takes at most."""
CAPABILITY_VERSION = 0x20080522
CAP_DAC_READ_SEARCH = 1 << 2


@functools.cache
def libc() -> ctypes.CDLL:
    """The C library of this process."""
    return ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int, pointer: int = 0) -> str | None:
    """Ask the kernel for a setting of this process by the option's number.

    Returns:
        What went wrong, None if nothing did.
    """
    if sys.platform != "linux":
        return "not Linux"
    words = [ctypes.c_ulong(word) for word in (value, pointer, 0, 0)]
    return None if libc().prctl(option, *words) == 0 else os.strerror(ctypes.get_errno())


def syscall(number: int, *arguments: object) -> int:
    """Make a system call by its number.

    Raises:
        OSError: it failed.
    """
    result = int(libc().syscall(ctypes.c_long(number), *arguments))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def keep_freed_memory(mb: int) -> None:
    """Have glibc keep memory that was freed, up to so many megabytes, for what is asked for next.

    By default it hands large pieces back and has them cleared anew for each layer of a network, page by page; in a
    process that has done much it has learnt better, in a fresh one it has not. Other C libraries stay as they are.
    """
    mallopt = getattr(libc(), "mallopt", None)
    if mallopt is not None:
        mallopt(M_TRIM_THRESHOLD, ctypes.c_int(mb << 20))
        mallopt(M_MMAP_THRESHOLD, ctypes.c_int(LARGEST_MMAP_THRESHOLD))


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def drop_capabilities() -> None:
    """Give up every right of an administrator but that to read files, which Landlock narrows to some.

    A process that has none loses none.

    Raises:
        OSError: it has some and cannot give them up.
    """
    header, sets = _Header(CAPABILITY_VERSION, 0), (_Sets * 2)()
    if libc().capget(ctypes.byref(header), sets) or not any(part.permitted for part in sets):
        return
    kept = sets[0].permitted & CAP_DAC_READ_SEARCH
    lowered = (_Sets * 2)(_Sets(kept, kept, 0), _Sets(0, 0, 0))
    if libc().capset(ctypes.byref(header), lowered):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
