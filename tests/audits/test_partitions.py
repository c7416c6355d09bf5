"""The images of a partition: read once, kept small, for the run of any suite."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from medgan_qa.audits._partitions import partition, pixel_digest, streamed
from medgan_qa.cohorts.cohort import Case, CaseImages, subset
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.engines import LocalEngine


def run_on(cohort: Any) -> Any:
    return SimpleNamespace(cohort=cohort, engine=LocalEngine(), seed=0, shared={})


class Counted:
    """A cohort that counts what is read, and shows some cases otherwise."""

    def __init__(self, cohort: Any, shown: dict[str, Any] | None = None) -> None:
        self._cohort, self.cases, self.read, self.shown = cohort, cohort.cases, 0, shown or {}

    def load(self, case: Case) -> CaseImages:
        self.read += 1
        images: CaseImages = self._cohort.load(case)
        return replace(images, image=self.shown[case.case_id]) if case.case_id in self.shown else images


def test_every_case_is_read_once_and_kept_for_the_run() -> None:
    cohort = Counted(BrainSlices(people=3))
    run = run_on(cohort)
    first = partition(run, "test")
    assert first is not None
    assert partition(run, "test") is first
    assert cohort.read == len(first) == 6
    assert first.names == tuple(case.case_id for case in subset(cohort.cases, "test"))
    assert first.patients[0] == first.cases[0].patient_id
    assert first.volumes == (None,) * 6
    assert np.array_equal(first.grey[2], cohort._cohort.load(first.cases[2]).image[0])
    assert first.digests[2] == pixel_digest(cohort._cohort.load(first.cases[2]).image)
    assert len(set(first.digests)) == 6
    assert first.target_digests == (None,) * 6
    assert np.isfinite(first.traces.sharpness).all()


def test_a_partition_that_there_is_not_is_none() -> None:
    run = run_on(BrainPhantoms(people=2))
    assert partition(run, "train") is None
    assert partition(run, "val") is None
    test = partition(run, "test")
    assert test is not None
    assert all(test.target_digests)
    assert not set(test.target_digests) & set(test.digests)


def test_images_of_any_size_and_channels_lie_on_one_grid() -> None:
    cases = subset(BrainSlices(people=3).cases, "test")
    large = np.random.default_rng(0).random((3, 300, 150), np.float32)
    shown = {cases[0].case_id: large, cases[1].case_id: np.ones((1, 16, 16), np.float32)}
    test = partition(run_on(Counted(BrainSlices(people=3), shown)), "test")
    assert test is not None
    assert test.grey.shape == (6, 64, 64)
    assert test.sizes[:2].tolist() == [[300, 150], [16, 16]]
    assert test.extent[0].tolist() == [64, 32]
    assert test.grey[0][:, :16].max() == 0
    assert abs(float(test.grey[0][:, 16:48].mean()) - float(large.mean())) < 1e-3
    assert (test.grey[1] == 1).all()
    assert np.isnan(test.traces.filled[1])


def test_pixels_that_are_no_numbers_are_counted_and_taken_as_nought() -> None:
    cohort = BrainSlices(people=3)
    case = subset(cohort.cases, "test")[0]
    image = cohort.load(case).image.copy()
    image[0, 3, 4] = np.nan
    test = partition(run_on(Counted(cohort, {case.case_id: image})), "test")
    assert test is not None
    assert test.broken.tolist() == [1, 0, 0, 0, 0, 0]
    assert np.isfinite(test.grey).all()


def test_a_digest_is_that_of_the_pixels_and_their_shape() -> None:
    image = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    assert pixel_digest(image) == pixel_digest(image.astype(np.float64))
    assert pixel_digest(image) == pixel_digest(np.asfortranarray(image))
    assert pixel_digest(image) != pixel_digest(image.reshape(1, 3, 2))
    assert pixel_digest(np.zeros(2)) == pixel_digest(-np.zeros(2))


def test_work_is_done_case_by_case_in_order() -> None:
    cohort = BrainSlices(people=3)
    cases = subset(cohort.cases, "train")
    assert streamed(run_on(cohort), cases, lambda case, images: (case.case_id, images.image.shape), "x") == [
        (case.case_id, (1, 64, 64)) for case in cases
    ]
