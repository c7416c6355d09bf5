"""What was unpacked as a whole and will be asked for again, slice by slice; bounded by bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

KEPT_BYTES = 2**29
"""Bytes that a cache keeps; a larger array is kept alone."""

Array = NDArray[Any]


class ArrayCache:
    """The arrays used last, as many as fit; several threads may use it, and each array is made once.

    Args:
        limit: bytes to keep. The array used last is kept even if it is larger.
    """

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._clear()

    def get(self, key: Hashable, make: Callable[[], Array]) -> Array:
        """The array of a key, made if it is not kept; a second thread that asks for it waits.

        An error of `make` goes to whoever asked, and nothing is kept.
        """
        with self._lock:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            found = self._find(key)
            if found is None:
                found = make()
                self._keep(key, found)
            return found

    def _find(self, key: Hashable) -> Array | None:
        with self._lock:
            if key in self._arrays:
                self._arrays.move_to_end(key)
            return self._arrays.get(key)

    def _keep(self, key: Hashable, array: Array) -> None:
        frozen = array.view()
        frozen.flags.writeable = False
        with self._lock:
            self._arrays[key] = frozen
            while len(self._arrays) > 1 and sum(kept.nbytes for kept in self._arrays.values()) > self._limit:
                self._making.pop(self._arrays.popitem(last=False)[0], None)

    def _clear(self) -> None:
        self._lock = threading.Lock()
        self._arrays: OrderedDict[Hashable, Array] = OrderedDict()
        self._making: dict[Hashable, threading.Lock] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Another process unpacks for itself."""
        return {"_limit": self._limit}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Begin empty."""
        self._limit = state["_limit"]
        self._clear()

    @property
    def nbytes(self) -> int:
        """Bytes kept now."""
        with self._lock:
            return int(np.sum([kept.nbytes for kept in self._arrays.values()], dtype=np.int64))
