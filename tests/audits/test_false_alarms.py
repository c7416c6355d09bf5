"""Real patients against real patients, many times over: how often the coverage audits and FID-001 raise an alarm.

One pool of patients is split at random, patient by patient, into training images, test images and `samples` (one image
of each patient). Whatever is found is a false alarm, and the mean over the splits is what the intervals are for.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom

from medgan_qa.audits.lost_modes import lost_modes
from medgan_qa.audits.mode_coverage import mode_coverage
from medgan_qa.audits.mode_weights import mode_weights
from medgan_qa.audits.realism import _frechet, _ratio, _sides
from medgan_qa.audits.synthesis import Pictures, Space, SynthesisRun
from medgan_qa.cohorts.cohort import Case
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.engines import LocalEngine
from medgan_qa.features.normalise import Standardiser
from medgan_qa.features.radiomic import RadiomicExtractor

SPLITS = 200
PEOPLE = 100
"""Patients in the training and in the test part, two images each; as many samples as test images."""
COMPONENTS = 24
"""Principal components of the radiomic features, so that 200 splits take seconds."""


class Pool(NamedTuple):
    features: NDArray[np.float64]
    cases: tuple[Case, ...]
    masks: tuple[NDArray[np.bool_], ...]


@cache
def pool() -> Pool:
    cohort = BrainSlices(people=600)
    loaded = [cohort.load(case) for case in cohort.cases]
    raw = RadiomicExtractor().features(np.stack([item.image for item in loaded]))
    scaled = Standardiser.fit(raw).apply(raw)
    _, _, axes = np.linalg.svd(scaled - scaled.mean(axis=0), full_matrices=False)
    return Pool(scaled @ axes[:COMPONENTS].T, cohort.cases, tuple(item.lesion_mask for item in loaded))


class Split(SynthesisRun):
    """A run whose images and features are given."""

    def __init__(self, seed: int) -> None:
        super().__init__(None, None, None, LocalEngine(), seed, extractors=("radiomic",), resamples=60)
        features, cases, masks = pool()
        names = np.array([case.patient_id for case in cases])
        generator = np.random.default_rng(seed)
        order = generator.permutation(np.unique(names))
        test, train, others = order[:PEOPLE], order[PEOPLE : 2 * PEOPLE], order[2 * PEOPLE : 4 * PEOPLE]
        index = {side: np.flatnonzero(np.isin(names, ids)) for side, ids in (("reference", test), ("train", train))}
        # Either slice of a patient: lesion plans tell the first from the second.
        index["sampled"] = np.flatnonzero(np.isin(names, others)).reshape(-1, 2)[
            np.arange(len(others)), generator.integers(2, size=len(others))
        ]
        for side, rows in index.items():
            images = np.zeros((len(rows), 1, 1, 1), np.float32)
            own = tuple(cases[i] for i in rows)
            patients = tuple(f"{case.case_id}" if side == "sampled" else case.patient_id for case in own)
            held = () if side == "sampled" else (own, tuple(masks[i] for i in rows))
            self.__dict__[side] = Pictures(images, tuple(case.case_id for case in own), patients, *held)
        scale = Standardiser.fit(features[index["reference"]])
        x = {side: scale.apply(features[rows]).astype(np.float32) for side, rows in index.items()}
        self._spaces["radiomic"] = Space("radiomic", {}, x["reference"], x["sampled"], x["train"], ())

    @property
    def partitions(self):
        return ("test", "train")


class Outcome(NamedTuple):
    lost: bool
    different: bool
    intervals: dict[str, tuple[float, float, float]]
    """Measurement id -> value, low, high."""


def outcome(seed: int) -> Outcome:
    run = Split(seed)
    found = {
        e.measurement.id: e.measurement for f in (lost_modes, mode_weights, mode_coverage) for e in f(run).estimates
    }
    sides, held = _sides(run, "radiomic"), run.halves["reference"]
    reference = run.space().reference
    frechet = [_frechet(reference, side, held) for side in sides]
    ratio = _ratio(run, "radiomic", sides, frechet, held).measurement
    found[ratio.id] = ratio
    intervals = {
        name: (m.value, m.interval.low, m.interval.high)
        for name, m in found.items()
        if m.interval is not None and "real against real" not in name
    }
    lost, different = found["COV-002.lost_groups"].value, found["COV-004.different_modes[radiomic]"].value
    return Outcome(lost > 0, different > 0, intervals)


@cache
def outcomes() -> list[Outcome]:
    return [outcome(seed) for seed in range(SPLITS)]


def most_alarms(rate: float) -> int:
    """Alarms among the splits that a true rate exceeds in one of a thousand simulations."""
    return int(binom.ppf(0.999, SPLITS, rate))


@pytest.mark.slow
def test_coverage_audits_raise_a_false_alarm_in_at_most_one_run_of_twenty():
    assert sum(o.lost for o in outcomes()) <= most_alarms(0.05)
    assert sum(o.different for o in outcomes()) <= most_alarms(0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "FID-001.frechet_ratio[radiomic]",
        "COV-001.clipped_coverage[radiomic]",
        "COV-001.coverage[radiomic]",
        "COV-001.recall[radiomic]",
        "COV-001.precision[radiomic]",
        "COV-004.misplaced_share[radiomic]",
    ],
)
def test_one_sided_bounds_cover_the_long_run_mean_about_as_often_as_they_say(name):
    values, low, high = np.array([o.intervals[name] for o in outcomes()]).T
    target = np.exp(np.log(values).mean()) if "ratio" in name else values.mean()

    assert (low <= target).mean() >= 0.90
    assert (target <= high).mean() >= 0.90
    # From one bound at 95 % to the other are 3.3 standard errors; twice that would say little.
    assert (high - low).mean() <= 2 * 3.3 * values.std()
