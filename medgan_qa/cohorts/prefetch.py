"""Reading cases ahead of their use, in order, with a few threads and bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort

AHEAD = 8
"""Cases that are read before they are asked for."""
THREADS = 4
"""Readers. Files are mostly waited for, and decoders let go of the interpreter's lock."""
AHEAD_BYTES = 2**28
"""Bytes of images that may wait, judged by the largest case so far; one case may wait whatever its size."""


def prefetched(
    cohort: Cohort, cases: Iterable[Case], *, ahead: int = AHEAD, threads: int = THREADS
) -> Iterator[tuple[Case, CaseImages]]:
    """Every case with its images, in the order given, read while the ones before are worked on.

    Args:
        cohort: what the cases are of.
        cases: which to read.
        ahead: how many may be read before they are asked for; fewer where they are large (`AHEAD_BYTES`).
        threads: how many are read at a time.

    Raises:
        Exception: what `cohort.load` raises, when the case that it is about has its turn; nothing comes after it.
    """
    for case, read in outcomes(cohort, cases, ahead=ahead, threads=threads):
        yield case, read.result()


def outcomes(
    cohort: Cohort, cases: Iterable[Case], *, ahead: int = AHEAD, threads: int = THREADS
) -> Iterator[tuple[Case, Future[CaseImages]]]:
    """As `prefetched`, but what went wrong with a case stands in its outcome, and the others follow."""
    waiting: deque[tuple[Case, Future[CaseImages]]] = deque()
    left, largest = iter(cases), 0
    with _pool(min(threads, max(1, ahead)), waiting) as pool:
        while True:
            # Until a case was seen nothing is known of their size, so the first is read alone.
            room = max(1, min(ahead, AHEAD_BYTES // largest)) if largest else 1
            while len(waiting) < room and (case := next(left, None)) is not None:
                waiting.append((case, pool.submit(cohort.load, case)))
            if not waiting:
                return
            case, read = waiting.popleft()
            if read.exception() is None:
                largest = max(largest, _nbytes(read.result()))
            yield case, read
            del read


@contextmanager
def _pool(threads: int, waiting: deque[tuple[Case, Future[CaseImages]]]) -> Iterator[ThreadPoolExecutor]:
    """A pool that reads nothing more once nobody asks."""
    pool = ThreadPoolExecutor(threads, thread_name_prefix="medgan-qa-reader")
    try:
        yield pool
    finally:
        waiting.clear()
        pool.shutdown(wait=True, cancel_futures=True)


def _nbytes(images: CaseImages) -> int:
    arrays = (images.image, images.target, images.lesion_mask)
    return sum(array.nbytes for array in arrays if array is not None)
