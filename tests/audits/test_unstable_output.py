"""ROB-002 on models whose gain is known in closed form."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.audits._perturbations import perturbations
from medgan_qa.audits.unstable_output import unstable_output
from medgan_qa.controls import Faithful, planted_translator
from medgan_qa.controls.responses import Blurred, Fragile, Power, Sharpened, Strided
from medgan_qa.errors import ConfigurationError


@pytest.fixture
def run_of(run_of):
    return partial(run_of, size=64)


class Scaled:
    """A linear model."""

    name = "scaled"

    def __init__(self, factor):
        self.factor = np.float32(factor)

    def respond(self, x, g):
        return x * self.factor


@pytest.mark.parametrize("factor", [0.5, 2.0, 4.0])
def test_the_gain_of_a_linear_model_is_its_factor_under_everything_but_a_shift(run_of, factor, value_of):
    findings = unstable_output(run_of(Scaled(factor)), cases=8)

    for kind in ("noise", "bias field", "gamma", "scale"):
        assert value_of(findings, f"ROB-002.gain[{kind}]").value == pytest.approx(factor, rel=1e-3)
    assert value_of(findings, "ROB-002.gain[shift]").value == 0
    assert value_of(findings, "ROB-002.high_gain_rate").value == float(factor > 3)


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_a_sharpener_amplifies_noise_and_little_else(run_of, seed, value_of):
    findings = unstable_output(run_of(Sharpened(6.0), seed), cases=24)

    # White noise loses 1 / (4 pi sigma^2) of its variance to the blur that is taken off: gain near 1 + amount.
    assert value_of(findings, "ROB-002.gain[noise]").value == pytest.approx(6.8, abs=0.1)
    assert value_of(findings, "ROB-002.high_gain_rate[noise]").interval.low > 0.7
    assert value_of(findings, "ROB-002.gain[gamma]").value < 3


def test_positive_control_a_strided_network_does_not_move_with_its_input(run_of, value_of):
    assert value_of(unstable_output(run_of(Strided()), cases=16), "ROB-002.gain[shift]").value > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_positive_control_lesions_lost_to_noise_are_counted_where_the_reader_keeps_them(run_of, seed, value_of):
    findings = unstable_output(run_of(Fragile(), seed), cases=0, noise_sigma=0.03)

    lost = value_of(findings, "ROB-002.lost_under_perturbation[noise]")
    assert lost.value > 0.9
    assert lost.interval.low > 0.6
    assert value_of(findings, "ROB-002.lost_under_perturbation[gamma]").value < 0.1
    assert value_of(findings, "ROB-002.detector_lost_under_perturbation[noise]").value < 0.1


@pytest.mark.parametrize("response", [Power(1.0), Power(1.2), Blurred(0.7, 0.4)])
def test_negative_controls_neither_amplify_nor_lose(run_of, response, value_of):
    findings = unstable_output(run_of(response), cases=0)

    assert value_of(findings, "ROB-002.high_gain_rate").value == 0
    assert value_of(findings, "ROB-002.lost_under_perturbation").value <= 0.05
    assert value_of(findings, "ROB-002.gain").value < 1.3
    assert value_of(findings, "ROB-002.refused_rate").value == 0


def test_the_readers_inconsistency_is_taken_off_the_lower_end(run_of, value_of):
    # Dimmed by 30 %, lesions fall below the detector's threshold in the real reference as well.
    findings = unstable_output(run_of(Power(1.0)), cases=0, scale=0.3, noise_sigma=0.0)

    lost = value_of(findings, "ROB-002.lost_under_perturbation[scale]")
    reader = value_of(findings, "ROB-002.detector_lost_under_perturbation[scale]")
    assert reader.value > 0.1
    assert lost.value == pytest.approx(reader.value)
    assert lost.interval.low == 0.0
    assert "inconsistency" in lost.interval.method


def test_a_model_that_refuses_what_it_does_not_know_is_counted_as_refusing(run_of, kept, value_of):
    findings = unstable_output(run_of(planted_translator(kept(size=64), Faithful())), cases=8)

    assert value_of(findings, "ROB-002.refused_rate").value == 1
    assert value_of(findings, "ROB-002.gain").value is None
    assert list(findings.excluded.values()).count("refused every perturbed image") == 8
    assert {row["status"] for row in findings.rows} == {"refused", "not drawn"}


def test_without_a_detector_gains_are_measured_and_losses_are_not(run_of, value_of):
    findings = unstable_output(run_of(Power(1.0), detector=False), cases=8)

    assert "--detector" in value_of(findings, "ROB-002.lost_under_perturbation").reason
    assert value_of(findings, "ROB-002.gain").value == pytest.approx(1, rel=1e-3)


def test_small_n_has_no_bound(run_of, value_of):
    m = value_of(unstable_output(run_of(Power(1.0)), cases=4), "ROB-002.gain")

    assert m.value is not None
    assert m.interval.low is None
    assert value_of(unstable_output(run_of(Power(1.0)), cases=4), "ROB-002.high_gain_rate").interval.high > 0.7


@pytest.mark.parametrize(
    "given_",
    [{"noise": "pink"}, {"bias": -0.1}, dict.fromkeys(("noise_sigma", "bias", "shift_px", "gamma", "scale"), 0)],
)
def test_perturbations_that_cannot_be_made_are_refused(run_of, given_):
    with pytest.raises(ConfigurationError, match="ROB-002"):
        unstable_output(run_of(Power(1.0)), cases=4, **given_)


def test_a_size_of_zero_leaves_a_perturbation_out():
    assert [p.name for p in perturbations("gaussian", 0.01, 0.0, 0, 0.05, 0.0)] == ["noise", "gamma"]


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_property_perturbations_repeat_by_seed_and_keep_shape(seed, channels):
    image = np.random.default_rng(0).random((channels, 12, 16), np.float32)
    for p in perturbations("rician", 0.02, 0.1, 1, 0.1, 0.1):
        first, second = (p.apply(image, np.random.default_rng(seed)) for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert first.shape == image.shape
        assert p.undo(first)[:, 2:-2, 2:-2].shape == (channels, 8, 12)
