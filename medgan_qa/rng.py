"""Random generators, named by what they are for.

No module draws from a global generator. A generator is made where it is used, from the run's seed and a purpose, so
that adding a draw in one place never changes the numbers in another, and so that case 17 looks the same whichever
process or batch renders it.
"""

from __future__ import annotations

import hashlib

import numpy as np


def child_seed(seed: int, *purpose: str | int) -> int:
    """A 64-bit seed for `purpose`, a path such as `("lesion", patient, 3)`.

    Purposes are hashed (SHA-256), so neighbouring ones are as independent as distant ones. An integer and the text of
    its digits are two purposes; a NumPy integer and Python's are one.
    """
    plain = (int(p) if isinstance(p, np.integer) else p for p in purpose)
    text = "\x1f".join([str(int(seed)), *(f"{type(p).__name__}:{p}" for p in plain)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def child(seed: int, *purpose: str | int) -> np.random.Generator:
    """A generator (PCG64) for `purpose`; the same seed and purpose always give the same stream."""
    return np.random.Generator(np.random.PCG64(child_seed(seed, *purpose)))
