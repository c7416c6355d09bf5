"""COV-003 on samplers that make few images, and on one that makes as many as there are patients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa import rng
from medgan_qa.audits._twins import in_pairs
from medgan_qa.audits.collapse import FEWEST, collapse
from medgan_qa.audits.numbers import rate
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.controls.samplers import Fixed, Independent, ModesKept, Shrunken
from medgan_qa.criteria import Declared
from medgan_qa.stats import clopper_pearson

RATE = "COV-003.near_identical_rate"
SUPPORT = "COV-003.support"
LIMIT = Declared("AC", RATE, {"max": 0.02}, "upper")


@dataclass(frozen=True)
class Few:
    """One of `kinds` images, each as likely, under noise of its own."""

    kinds: int
    noise: float = 0.0
    name: str = "few images"

    def draw(self, world, g):
        image = world.fresh(rng.child(7, "kind", int(g.integers(self.kinds))))
        return (image + np.float32(self.noise) * g.standard_normal(image.shape)).astype(np.float32)


@pytest.fixture(scope="module")
def audit(sampled):
    """COV-003 on a planted sampler, once; fewer pairs for MS-SSIM, which takes most of the time."""

    @cache
    def run(plan, people=100, modes=False):
        return collapse(sampled(plan, people=people, modes=modes), ssim_pairs=300, worst=6, random=3)

    return run


def test_positive_control_fifty_images_are_found_and_counted(audit, value_of):
    findings = audit(Few(50))
    found, support = value_of(findings, RATE), value_of(findings, SUPPORT)

    assert found.value > 0.97
    assert found.interval.low > 0.9
    assert support.interval.low < 50 < support.interval.high
    assert support.value == pytest.approx(50, rel=0.15)
    assert len(findings.rows) == round(found.value * 200)
    assert all(row["near_identical"] and row["distance"] == 0 for row in findings.rows)


def test_positive_control_a_spread_of_a_hundredth_is_one_image(audit, value_of):
    findings = audit(Shrunken())

    assert value_of(findings, RATE).value == 1.0
    assert value_of(findings, SUPPORT).value == 1.0
    assert value_of(findings, "COV-003.vendi_ratio[radiomic]").interval.high < 0.2
    assert value_of(findings, "COV-003.ms_ssim[samples]").value > 0.99
    assert value_of(findings, "COV-003.ms_ssim_excess").interval.low > 0.3


def test_positive_control_a_constant_sampler_is_one_image(audit, value_of):
    findings = audit(Fixed())

    assert value_of(findings, RATE).interval.low > 0.95
    assert value_of(findings, "COV-003.near_identical_pairs").value == 200 * 199 / 2
    assert value_of(findings, "COV-003.vendi[radiomic]").value == pytest.approx(1.0)


def test_one_mode_of_ten_has_no_twins_and_too_little_spread(audit, value_of):
    findings = audit(ModesKept(1), modes=True)

    assert value_of(findings, RATE).value == 0.0
    assert value_of(findings, "COV-003.vendi_ratio[radiomic]").interval.high < 0.5
    assert value_of(findings, "COV-003.ms_ssim_excess").interval.low > 0.2


def test_twins_under_noise_are_seen_in_the_pixels(audit, value_of):
    findings = audit(Few(50, noise=0.02))

    assert value_of(findings, RATE).value < 0.2
    assert value_of(findings, f"{RATE}[pixels alone]").value > 0.9


def test_negative_control_other_patients_pass(audit, value_of):
    findings = audit(Independent(), people=150)
    found, support = value_of(findings, RATE), value_of(findings, SUPPORT)

    assert found.value == 0.0
    assert found.interval.high < 0.02
    assert support.value is None
    assert support.interval.low > 10_000
    assert support.interval.high is None
    assert "No two of 300 samples" in support.reason
    assert value_of(findings, f"{RATE}[real images]").value == 0.0
    for stratum in ("radiomic", "radiomic, real against real"):
        assert value_of(findings, f"COV-003.vendi_ratio[{stratum}]").value == pytest.approx(1.0, abs=0.15)
    excess = value_of(findings, "COV-003.ms_ssim_excess")
    assert abs(excess.value) < 0.03
    assert excess.interval.low < 0 < excess.interval.high


def test_vendi_scores_stand_on_equal_numbers_one_image_a_patient(sampled, value_of):
    findings = collapse(sampled(Independent(), people=150), most=120, ssim_pairs=100)

    sides = ("radiomic", "radiomic, real", "radiomic, real against real")
    assert {value_of(findings, f"COV-003.vendi[{side}]").n for side in sides} == {120}


def test_nearest_pairs_come_first_and_random_ones_beside_them(audit):
    findings = audit(Few(50))

    panel = next(e for e in findings.exhibits if e.kind == "panels")
    assert [case["rule"] for case in panel.data["cases"]] == ["worst"] * 6 + ["random"] * 3
    names = [name for case in panel.data["cases"][:6] for name in (case["case_id"], case["patient_id"])]
    assert len(set(names)) == 12
    assert {e.kind for e in findings.exhibits} == {"panels", "sheet", "curves"}
    table = findings.tables["exhibits/COV-003-samples.csv"]
    assert [row["distance"] for row in table] == sorted(row["distance"] for row in table)


def test_small_n_is_no_pass_by_emptiness(sampled):
    for people, samples in ((FEWEST - 1, 60), (45, FEWEST - 1)):
        findings = collapse(sampled(Independent(), people=people, samples=samples))

        assert f"{FEWEST} of each are needed" in findings.missing
        assert not findings.estimates


def test_a_hundred_samples_without_a_twin_are_too_few_for_the_claim(sampled):
    findings = collapse(sampled(Independent(), people=45, samples=100), ssim_pairs=100)
    estimate = next(e for e in findings.estimates if e.measurement.id == RATE)

    assert estimate.measurement.value == 0.0
    assert estimate.measurement.interval.high > 0.02
    assert estimate.shortfall(LIMIT, 0.05) == "0 of 100 have a twin; 298 are needed for this claim with 0"
    assert clopper_pearson(0, 149, 0.05)[1] <= 0.02 < clopper_pearson(0, 148, 0.05)[1]


def test_without_a_train_partition_there_is_no_null_and_the_rest_stands(sampled, value_of):
    findings = collapse(sampled(Independent(), people=45, train=False), ssim_pairs=100)

    ids = {e.measurement.id for e in findings.estimates}
    assert findings.missing is None
    assert "COV-003.vendi_ratio[radiomic]" in ids
    assert not any("real against real" in name for name in ids)


def with_real_images(run, images):
    """The same run with other real images in the same places."""
    real = run.reference
    run.__dict__["reference"] = Pictures(images, real.names, real.patients, real.cases, real.masks, real.spacing_mm)
    return run


def test_identical_real_images_leave_exact_twins_only_and_no_vendi_score(sampled, value_of):
    run = sampled(Independent(), people=45, train=False, seed=5)
    images = np.repeat(run.reference.images[:1], len(run.reference), axis=0)
    findings = collapse(with_real_images(run, images), ssim_pairs=100)

    assert value_of(findings, RATE).value == 0.0
    assert value_of(findings, f"{RATE}[real images]").value == 1.0
    assert value_of(findings, "COV-003.vendi_ratio[radiomic]").value is None
    assert any("only exact twins" in note for note in findings.notes)


def test_tiny_images_have_no_ms_ssim_and_say_why(sampled, value_of):
    run = sampled(Independent(), people=45, train=False, seed=6)
    drawn = run.generated
    run.__dict__["sampled"] = Pictures(drawn.images[..., ::8, ::8].copy(), drawn.names, drawn.patients)
    del run.__dict__["generated"]
    findings = collapse(with_real_images(run, run.reference.images[..., ::8, ::8].copy()))

    excess = value_of(findings, "COV-003.ms_ssim_excess")
    assert excess.value is None
    assert "8 pixels" in excess.reason


@given(st.integers(2, 120), st.data())
def test_property_pairs_of_samples_give_the_bound_of_half_as_many(n, data):
    k = data.draw(st.integers(0, n))
    has_twin = np.zeros(n, bool)
    has_twin[data.draw(st.permutations(range(n)))[:k]] = True
    names = [f"sample-{i}" for i in range(n)]
    units = in_pairs(has_twin, names)
    found = rate(RATE, "twins", has_twin.tolist(), units, unit_of_analysis="sample").measurement

    assert sorted(np.unique(units, return_counts=True)[1].tolist()) == [1] * (n % 2) + [2] * (n // 2)
    low, high = clopper_pearson(k / 2, n / 2, 0.05)
    assert found.interval.high >= high - 0.6 / n
    assert found.interval.low <= low + 0.6 / n


def test_the_bounds_of_the_rate_hold_for_rare_twins():
    # Samples of S equally likely images; the expected share with a twin is 1 - (1 - 1 / S)^(n - 1).
    n, covered, runs = 200, {"low": 0, "high": 0}, 400
    generator = np.random.default_rng(3)
    names = [str(i) for i in range(n)]
    for run in range(runs):
        support = (3_000, 600, 150, 40)[run % 4]
        expected = 1 - (1 - 1 / support) ** (n - 1)
        drawn = generator.integers(support, size=n)
        has_twin = np.bincount(drawn, minlength=support)[drawn] > 1
        units = in_pairs(has_twin, names)
        interval = rate(RATE, "twins", has_twin.tolist(), units, unit_of_analysis="sample").measurement.interval
        covered["low"] += interval.low <= expected
        covered["high"] += expected <= interval.high

    assert covered["low"] / runs >= 0.95
    assert covered["high"] / runs >= 0.95
