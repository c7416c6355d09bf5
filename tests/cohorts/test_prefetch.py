"""Reading ahead: in order, bounded, with errors where they belong; and one cohort read by several threads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from medgan_qa.cohorts import prefetch
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort
from medgan_qa.cohorts.dataset import read_dataset
from medgan_qa.cohorts.prefetch import outcomes, prefetched
from medgan_qa.cohorts.readers import ArrayCache
from medgan_qa.errors import DatasetError

OnDisk = Any  # tests.cohorts.conftest.DatasetOnDisk
CASES = [Case(f"{n:02d}", "p", "test", has_target=False, annotated=False, has_mask=False) for n in range(20)]


class Recorder:
    """A cohort that counts what is being read, and takes longer for the first cases than for the last."""

    def __init__(self, side: int = 4, broken: str | None = None) -> None:
        self.side, self.broken, self.lock = side, broken, threading.Lock()
        self.begun: list[str] = []
        self.now = self.most = 0

    def load(self, case: Case) -> CaseImages:
        with self.lock:
            self.begun.append(case.case_id)
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.002 * (20 - int(case.case_id)) / 20)
        with self.lock:
            self.now -= 1
        if case.case_id == self.broken:
            raise DatasetError(f"{case.case_id} is broken")
        image = np.full((1, self.side, self.side), int(case.case_id), np.float32)
        return CaseImages(image, None, None, (1.0, 1.0))

    @property
    def cohort(self) -> Cohort:
        return cast(Cohort, SimpleNamespace(load=self.load))


@pytest.mark.parametrize(("ahead", "threads"), [(8, 4), (1, 1), (0, 4), (50, 3)])
def test_cases_come_in_order_with_their_own_images(ahead: int, threads: int) -> None:
    recorder = Recorder()
    found = list(prefetched(recorder.cohort, CASES, ahead=ahead, threads=threads))
    assert [case for case, _ in found] == CASES
    assert [int(images.image[0, 0, 0]) for _, images in found] == list(range(20))
    assert recorder.most <= threads
    assert sorted(recorder.begun) == [case.case_id for case in CASES]


def test_no_more_is_read_than_was_asked_for() -> None:
    recorder = Recorder()
    reading = prefetched(recorder.cohort, CASES, ahead=3)
    for _ in range(4):
        next(reading)
    time.sleep(0.02)
    assert len(recorder.begun) <= 4 + 3
    reading.close()
    begun = len(recorder.begun)
    time.sleep(0.02)
    assert len(recorder.begun) == begun


def test_large_images_are_not_read_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prefetch, "AHEAD_BYTES", 64 * 64 * 4 * 2)
    recorder = Recorder(side=64)
    reading = prefetched(recorder.cohort, CASES, ahead=16)
    for taken, _ in enumerate(reading, start=1):
        time.sleep(0.003)
        assert len(recorder.begun) <= taken + 2


def test_an_error_waits_for_its_turn() -> None:
    recorder = Recorder(broken="05")
    reading = prefetched(recorder.cohort, CASES)
    assert [case.case_id for case, _ in (next(reading) for _ in range(5))] == [f"{n:02d}" for n in range(5)]
    with pytest.raises(DatasetError, match="05 is broken"):
        next(reading)
    assert next(reading, None) is None


def test_outcomes_go_on_after_an_error() -> None:
    found = {case.case_id: read.exception() for case, read in outcomes(Recorder(broken="05").cohort, CASES)}
    assert list(found) == [case.case_id for case in CASES]
    assert [name for name, error in found.items() if error is not None] == ["05"]


def test_nothing_to_read_is_nothing() -> None:
    assert list(prefetched(Recorder().cohort, [])) == []


@pytest.mark.parametrize("suffix", [".npy", ".png", ".tif", ".nii.gz", ".dcm"])
def test_threads_read_what_one_reads(tmp_path: Path, on_disk: OnDisk, suffix: str) -> None:
    dataset = type(on_disk)(tmp_path, suffix)
    row = dataset.rows[0]
    dataset.rows = [{**row, "case_id": f"{n:03d}", "image": f"images/t1_{n % 4}{suffix}"} for n in range(40)]
    cohort = read_dataset(dataset.save())
    for case, images in prefetched(cohort, cohort.cases, ahead=20, threads=8):
        stored = dataset.images[f"images/t1_{int(case.case_id) % 4}{suffix}"]
        np.testing.assert_allclose(images.image[0], stored / 200.0, atol=1e-7)


def test_a_cache_makes_each_array_once_and_stays_within_its_bytes() -> None:
    cache, made, lock = ArrayCache(limit=1000), [], threading.Lock()

    def make(name: int) -> Any:
        with lock:
            made.append(name)
        time.sleep(0.005)
        return np.full(40, name, np.float64)

    def ask(name: int) -> None:
        assert (cache.get(name, lambda: make(name)) == name).all()

    threads = [threading.Thread(target=ask, args=(name,)) for name in (1, 2, 3) * 4]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [1, 2, 3]
    assert cache.nbytes == 960
    cache.get(4, lambda: np.zeros(40))
    assert cache.nbytes == 960
    large = cache.get(5, lambda: np.zeros(400))
    assert cache.nbytes == large.nbytes == 3200
    with pytest.raises(ValueError, match="read-only"):
        cache.get(5, lambda: np.zeros(1))[0] = 1
