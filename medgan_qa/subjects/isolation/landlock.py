"""Which files a model's process may open (Linux Landlock).

A ruleset names folders and files with what may be done below them; everything else can no longer be opened. It holds
for administrators too, and cannot be lifted again.

Source: Linux, Documentation/userspace-api/landlock.rst.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

from medgan_qa.subjects.isolation._libc import syscall

CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
PATH_BENEATH, VERSION_ONLY = 1, 1

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = (1 << bit for bit in range(4))
BELOW_FOLDERS = sum(1 << bit for bit in range(4, 13))
"""Making and removing entries."""
REFER, TRUNCATE, IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
EVERY_ABI = EXECUTE | WRITE_FILE | READ_FILE | READ_DIR | BELOW_FOLDERS
SINCE = {2: REFER, 3: TRUNCATE, 5: IOCTL_DEVICE}
"""Rights by the version of the interface that brought them."""
ON_FILES = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEVICE
MAKE_AND_REMOVE = (1 << 4) | (1 << 5) | (1 << 7) | (1 << 8)
"""Removing folders and files, making folders and regular files."""

READ = READ_FILE | READ_DIR
USE = READ_FILE | WRITE_FILE | IOCTL_DEVICE
WRITE = READ | WRITE_FILE | TRUNCATE | MAKE_AND_REMOVE

TCP = 0b11
"""Binding and connecting, since version 4."""
SCOPES = 0b11
"""Abstract UNIX sockets and signals beyond this process, since version 6."""

Rule = tuple[Path, int]
"""A folder or file, and what may be done below it."""


def abi() -> int:
    """The version of the interface that the kernel offers; 0 where it offers none."""
    if sys.platform != "linux":
        return 0
    try:
        return syscall(CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(VERSION_ONLY))
    except OSError:  # not built in, or switched off at start
        return 0


def restrict(rules: Iterable[Rule], version: int) -> None:
    """Leave this thread, and all that it starts, nothing but what the rules name.

    Args:
        rules: paths that do not exist are left out.
        version: what `abi` said, at least 1.

    Raises:
        OSError: the kernel refused.
    """
    handled = EVERY_ABI | sum(right for since, right in SINCE.items() if version >= since)
    attributes = struct.pack("=QQQ", handled, TCP if version >= 4 else 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = syscall(CREATE_RULESET, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    try:
        for path, rights in rules:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                _allow(ruleset, path, rights & handled)
        syscall(RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights if path.is_dir() else rights & ON_FILES, place)
        syscall(ADD_RULE, ctypes.c_int(ruleset), ctypes.c_int(PATH_BENEATH), rule, ctypes.c_uint32(0))
    finally:
        os.close(place)
