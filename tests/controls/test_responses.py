"""Computing translators: each does the one thing that it says."""

from __future__ import annotations

import numpy as np
import pytest

from medgan_qa.controls.responses import (
    BatchNormalized,
    Blurred,
    Fragile,
    Hallucinating,
    Noisy,
    Power,
    Refusing,
    Sharpened,
    Strided,
    computing_translator,
)
from medgan_qa.errors import ModelError
from medgan_qa.rng import child

X = child(0, "images").random((4, 1, 16, 16), np.float32)
EMPTY = np.zeros((1, 1, 16, 16), np.float32)


def passed(response, x=X, seed=0):
    return computing_translator(response).translate(x, seed)


def test_deterministic_responses_repeat_whatever_the_seed():
    for response in (Power(), Blurred(), Sharpened(), Strided(), BatchNormalized(), Fragile()):
        np.testing.assert_array_equal(passed(response, seed=1), passed(response, seed=2))


def test_power_by_hand():
    np.testing.assert_allclose(passed(Power(2.0)), X**2, rtol=1e-5)
    np.testing.assert_array_equal(passed(Power(1.0)), X)


def test_seeded_noise_follows_the_seed_and_unseeded_noise_follows_nothing():
    np.testing.assert_array_equal(passed(Noisy()), passed(Noisy()))
    assert not np.array_equal(passed(Noisy(), seed=1), passed(Noisy(), seed=2))
    afresh = computing_translator(Noisy(seeded=False))
    assert not np.array_equal(afresh.translate(X, 0), afresh.translate(X, 0))


def test_the_dose_is_a_share_of_the_images():
    x = np.repeat(X, 200, axis=0)
    changed = np.any(passed(Noisy(dose=0.3), x) != x, axis=(1, 2, 3)).mean()

    assert changed == pytest.approx(0.3, abs=0.05)


def test_batch_normalization_answers_to_the_batch():
    alone = passed(BatchNormalized(), X[:1])

    assert alone.mean() == pytest.approx(0.3, abs=1e-5)
    assert not np.allclose(alone, passed(BatchNormalized())[:1])


def test_a_strided_network_depends_on_the_grid():
    out = passed(Strided())

    np.testing.assert_array_equal(out[:, :, 0::2], out[:, :, 1::2])


def test_a_fragile_network_cuts_noisy_images_only():
    clean = np.full((1, 1, 32, 32), 0.9, np.float32)
    noisy = clean + 0.1 * child(0, "noise").standard_normal(clean.shape).astype(np.float32)

    np.testing.assert_array_equal(passed(Fragile(), clean), clean)
    assert passed(Fragile(), noisy).max() <= 0.5


def test_hallucination_and_refusal_concern_empty_images_only():
    template = X[0, 0]
    np.testing.assert_array_equal(passed(Hallucinating(template), EMPTY)[0, 0], template)
    np.testing.assert_array_equal(passed(Hallucinating(template)), X)
    assert np.isnan(passed(Refusing(raises=False), EMPTY)).all()
    with pytest.raises(ModelError, match="no patient"):
        passed(Refusing(), EMPTY)
    np.testing.assert_array_equal(passed(Refusing()), X)
