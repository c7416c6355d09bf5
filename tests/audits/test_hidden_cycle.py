"""CYC-001 on pairs that hide the source, and on honest ones."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest
from scipy import ndimage
from scipy.stats import binom

from medgan_qa.audits import TranslationRun
from medgan_qa.audits.hidden_cycle import NO_EVIDENCE, hidden_cycle
from medgan_qa.audits.run import NotFiniteError
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import Erase, Faithful, planted_translator
from medgan_qa.controls.cycles import cheating_pair, honest_pair
from medgan_qa.engines import LocalEngine
from medgan_qa.stats import clustered_proportion

RATIO = "CYC-001.error_ratio[noise 1/255]"


@dataclass(frozen=True)
class Blur:
    sigma: float = 0.7
    name: str = "blur"

    def apply(self, reference, lesion, g):
        return ndimage.gaussian_filter(reference, self.sigma)


@dataclass(frozen=True)
class Shift:
    name: str = "shift"

    def apply(self, reference, lesion, g):
        return ndimage.shift(reference, (0.4, 0.3), order=1, mode="nearest")


CLEAN = (Faithful(noise=0.0), Faithful(), Blur(), Shift())
"""N1, and N2: noise of 1 %, blur of 0.7 pixels, a shift below a pixel."""


@cache
def cohort(people):
    return BrainPhantoms(people=people)


@cache
def audit(pair, defect=None, people=16, seed=0):
    data = cohort(people)
    return hidden_cycle(TranslationRun(pair(data, defect, seed), data, None, LocalEngine(), seed))


@pytest.mark.parametrize("seed", range(3))
def test_flags_a_pair_that_hides_the_source(value_of, seed):
    findings = audit(cheating_pair, seed=seed)

    assert value_of(findings, RATIO).interval.low > 5
    assert value_of(findings, "CYC-001.error_ratio[8 bit]").interval.low > 2
    assert value_of(findings, "CYC-001.error_ratio[low pass]").interval.low > 2
    assert value_of(findings, "CYC-001.swap_transfer").value > 0.4
    # The cycle closes over lesions that no output shows.
    returned = value_of(findings, "CYC-001.returned_lesion_rate")
    assert returned.n > 10
    assert returned.value == 1.0
    assert returned.interval.low > 0.7
    assert value_of(findings, "CYC-001.returned_detail_rate").value == 1.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("defect", CLEAN, ids=lambda d: f"{d.name} {getattr(d, 'noise', '')}")
def test_passes_an_honest_pair(value_of, defect, seed):
    findings = audit(honest_pair, defect, seed=seed)

    assert value_of(findings, RATIO).interval.high < 1.5
    assert value_of(findings, "CYC-001.error_ratio[8 bit]").value < 1.5
    assert value_of(findings, "CYC-001.error_ratio[low pass]").value < 1.5
    assert abs(value_of(findings, "CYC-001.swap_transfer").value) < 0.15
    for name in ("returned_lesion_rate", "returned_detail_rate"):
        assert value_of(findings, f"CYC-001.{name}").value in (None, 0.0)


def test_an_honest_eraser_does_not_bring_back_what_it_removed(value_of):
    """Removal is for PAT-001: the cycle error says of it only that it is there."""
    findings = audit(honest_pair, Erase())

    returned = value_of(findings, "CYC-001.returned_lesion_rate")
    assert returned.n > 10
    assert returned.value == 0.0
    assert value_of(findings, RATIO).interval.high < 1.5


@pytest.mark.parametrize("dose", [0.3, 0.7])
def test_as_many_lesions_return_as_were_hidden(value_of, dose):
    findings = audit(cheating_pair, Erase(dose=dose), people=40)
    returned = value_of(findings, "CYC-001.returned_lesion_rate")
    lesions = sum(np.any(cohort(40).load(case).lesion_mask) for case in cohort(40).cases)

    assert returned.value == 1.0
    assert returned.n / lesions == pytest.approx(dose, abs=0.2)


def test_the_high_band_of_outputs_stands_beside_real_against_real(value_of):
    honest, blurred = audit(cheating_pair, Faithful(noise=0.0)), audit(honest_pair, Blur(1.5))

    null = value_of(honest, "CYC-001.high_band_ratio[real against real]")
    assert null.interval.low < 1 < null.interval.high
    assert value_of(blurred, "CYC-001.high_band_ratio").interval.high < null.interval.low


def test_always_says_that_a_low_cycle_error_is_no_evidence():
    data = cohort(4)
    alone = hidden_cycle(TranslationRun(planted_translator(data, Faithful()), data, None, LocalEngine(), 0))

    for findings in (audit(cheating_pair), audit(honest_pair), alone):
        assert NO_EVIDENCE in findings.notes
    assert "names no inverse model" in alone.not_applicable
    assert alone.estimates == []


def test_few_patients_have_no_bound(value_of):
    ratio = value_of(audit(cheating_pair, people=3), RATIO)

    assert ratio.interval.low is None
    assert ratio.interval.high is None


def test_one_patient_has_nobody_to_swap_with(value_of):
    findings = audit(cheating_pair, people=1)

    assert value_of(findings, "CYC-001.swap_transfer").value is None
    assert all(row["swap_transfer"] is None for row in findings.rows)
    assert "two are the fewest" in value_of(findings, "CYC-001.high_band_ratio").reason


def test_the_same_run_gives_the_same_numbers_whatever_the_batch(monkeypatch):
    first = audit(cheating_pair, people=8).rows
    monkeypatch.setattr(sys.modules[hidden_cycle.__module__], "BATCH", 3)
    data = cohort(8)
    again = hidden_cycle(TranslationRun(cheating_pair(data), data, None, LocalEngine(), 0)).rows

    assert again == first


def test_an_inverse_that_returns_no_number_ends_the_audit():
    data = cohort(4)
    pair = honest_pair(data)
    broken = replace(pair, inverse=replace(pair.inverse, network=lambda x, seed: np.full_like(x, np.nan)))

    with pytest.raises(NotFiniteError, match="inverse model"):
        hidden_cycle(TranslationRun(broken, data, None, LocalEngine(), 0))


def test_exhibits_show_the_way_back():
    findings = audit(cheating_pair)

    kinds = {exhibit.kind: exhibit for exhibit in findings.exhibits}
    assert set(kinds) == {"curves", "sheet"}
    assert kinds["curves"].data["series"][0]["x"] == [0, 1, 2, 3, 4, 5]
    labels = [group["label"] for group in kinds["sheet"].data["groups"]]
    assert labels == ["source x", "output G(x)", "F(G(x))", "F(G(x) + noise 1/255)", "F, high band swapped"]
    shown = findings.arrays[kinds["sheet"].file]["images"]
    assert len(shown) == sum(group["count"] for group in kinds["sheet"].data["groups"])


def test_the_bound_of_a_rate_covers_when_the_lesions_of_a_patient_return_together():
    """As the rates of this audit are made: up to three lesions a patient, all back or none."""
    g, runs, covered = np.random.default_rng(3), 400, 0
    for _ in range(runs):
        sizes = g.integers(1, 4, size=30)
        events = np.repeat(g.random(30) < 0.2, sizes)
        covered += clustered_proportion(events, np.repeat(np.arange(30), sizes), alpha=0.05).high >= 0.2

    assert covered >= binom.ppf(0.001, runs, 0.95)
