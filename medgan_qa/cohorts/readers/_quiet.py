"""Silence around the libraries that read images.

Their warnings and log lines quote what stands in a header, and that may be a patient's name. While anything is read,
nothing of theirs reaches stderr or a log.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

_LOGGERS = ("pydicom", "nibabel", "nibabel.global", "tifffile", "PIL", "pylibjpeg", "openjpeg", "h5py", "zarr")


class _Counts(logging.Handler):
    """Swallows records, and counts a thread's errors."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen = threading.local()

    def emit(self, record: logging.LogRecord) -> None:
        self.seen.errors = self.errors + 1

    @property
    def errors(self) -> int:
        """Errors that this thread's libraries logged so far."""
        return getattr(self.seen, "errors", 0)


class _Shared:
    """A change to the whole process that begins with the first thread that wants it and ends with the last."""

    def __init__(self, begin: Callable[[], ExitStack]) -> None:
        self._begin, self._lock, self._users, self._changes = begin, threading.Lock(), 0, ExitStack()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        with self._lock:
            self._users += 1
            if self._users == 1:
                self._changes = self._begin()
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if self._users == 0:
                    self._changes.close()


_COUNTS = _Counts()


def _silence() -> ExitStack:
    from PIL import ImageFile

    changes = ExitStack()
    changes.enter_context(warnings.catch_warnings())
    warnings.simplefilter("ignore")
    for name in _LOGGERS:
        changes.enter_context(_silent(logging.getLogger(name)))
    # WeasyPrint tells Pillow, for the whole process, to fill truncated files up with black.
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    changes.callback(setattr, ImageFile, "LOAD_TRUNCATED_IMAGES", before)
    return changes


@contextmanager
def _silent(logger: logging.Logger) -> Iterator[None]:
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [_COUNTS], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate


def _drop_stderr() -> ExitStack:
    changes = ExitStack()
    try:
        kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    except OSError:  # a process without stderr has nothing to keep clean
        return changes
    os.dup2(nowhere, 2)
    os.close(nowhere)
    changes.callback(os.close, kept)
    changes.callback(os.dup2, kept, 2)
    return changes


quiet = _Shared(_silence)
"""Context in which nothing that image libraries warn of, print or log comes out; nested, and used by several threads.

Pillow is told at the same time to refuse truncated files.
"""
no_native_stderr = _Shared(_drop_stderr)
"""Context in which nothing reaches stderr at all, for libraries in C that write to it themselves. For short calls."""


def errors_logged() -> int:
    """Errors that libraries logged in this thread so far, while they were silenced."""
    return _COUNTS.errors
