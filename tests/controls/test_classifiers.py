"""Planted classifiers: what each does to a score, and which audit of the suite finds it."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from medgan_qa.cohorts.cohort import subset
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.cohorts.tokens import TokenCohort
from medgan_qa.controls.classifiers import (
    CONTROLS,
    BlindAtSite,
    CornerToken,
    Faithful,
    Fragile,
    Overconfident,
    RealFake,
    coarse,
    heads,
    planted_classifier,
)
from medgan_qa.controls.named import control_subject
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.occlusion import painted_over
from medgan_qa.record import Verdict
from medgan_qa.runner import run_audit
from medgan_qa.suites import suite

PEOPLE = 120
FAILS = {
    "faithful": None,
    "corner-token": "DIS-005",
    "overconfident": "DIS-002",
    "real-fake": "DIS-006",
    "subgroup": "DIS-004",
    "fragile": "ROB-004",
}
"""The audit that is for each fault."""


class Kept(BrainSlices):
    """Slices that are rendered once."""

    def load(self, case):
        held = self.__dict__.setdefault("held", {})
        if case.case_id not in held:
            held[case.case_id] = super().load(case)
        return held[case.case_id]


@cache
def plain() -> Kept:
    return Kept(people=PEOPLE)


@cache
def given_() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Test images (N, H, W), lesion masks and sites."""
    cases = subset(plain().cases, "test")
    loaded = [plain().load(case) for case in cases]
    return (
        np.stack([i.image[0] for i in loaded]),
        np.stack([i.lesion_mask for i in loaded]),
        np.array([case.site for case in cases]),
    )


@pytest.mark.parametrize("name", FAILS)
def test_each_fault_fails_by_the_audit_that_is_for_it(name):
    whole = suite("discriminator")
    cohort = TokenCohort(plain()) if name == "corner-token" else plain()
    subject = control_subject(name, "discriminator", cohort)
    criteria = replace(whole.criteria, parameters={"DIS-005": {"maps": 4}})
    record = run_audit(subject, cohort, whole, criteria, detector=None, engine=LocalEngine()).record
    failed = {a.code for a in record.audits if a.verdict is Verdict.FAIL}

    if FAILS[name] is None:
        assert not failed
        assert not any(a.verdict is Verdict.ERROR for a in record.audits)
        return
    assert record.verdict is Verdict.FAIL
    assert FAILS[name] in failed
    # Only a score of something else, and one that is bad at a third of the patients, are bad in other ways as well.
    if name not in ("real-fake", "subgroup"):
        assert failed == {FAILS[name]}


def test_nan_is_an_error_of_every_audit():
    whole = suite("discriminator")
    subject = control_subject("nan", "discriminator", plain())
    record = run_audit(subject, plain(), whole, whole.criteria, detector=None, engine=LocalEngine()).record
    assert {a.verdict for a in record.audits if a.code not in whole.beside} == {Verdict.ERROR}


def test_the_controls_are_named():
    assert set(CONTROLS) == {*FAILS, "constant", "nan"}
    for name in set(CONTROLS) - {"corner-token"}:
        subject = control_subject(name, "discriminator", plain())
        assert subject.card.task == "discriminator"
        assert subject.card.classes == ("lesion-free", "lesion")
    assert control_subject("real-fake", "discriminator", plain()).card.reads == "real_fake"


def test_a_token_is_asked_for_where_there_is_none():
    with pytest.raises(ConfigurationError, match="reads a token"):
        control_subject("corner-token", "discriminator", plain())


def test_the_faithful_one_reads_the_lesion_and_nothing_at_the_border():
    images, masks, _ = given_()
    ill = masks.any(axis=(1, 2))
    logits = Faithful().logits(images)
    hidden = Faithful().logits(
        np.stack([painted_over(i[None], m)[0] for i, m in zip(images[ill], masks[ill], strict=True)])
    )
    assert np.median(logits[ill] - hidden) > 4
    assert np.median(hidden) == pytest.approx(np.median(logits[~ill]), abs=1.0)
    marked = images.copy()
    marked[:, 1:6, 1:6] = 0.9
    assert Faithful().logits(marked) == pytest.approx(logits, abs=1e-4)


def test_the_faithful_one_is_fitted_on_the_training_partition():
    cases = subset(plain().cases, "train")
    loaded = [plain().load(case) for case in cases]
    logits = Faithful().logits(np.stack([i.image[0] for i in loaded]))
    positive = np.array([i.lesion_mask.any() for i in loaded])
    p = 1 / (1 + np.exp(-logits))
    # the score equations of a logistic regression: residuals sum to 0, with and without the logit
    assert np.mean(positive - p) == pytest.approx(0, abs=0.02)
    assert np.mean((positive - p) * logits) == pytest.approx(0, abs=0.1)


def test_an_overconfident_one_has_three_times_the_logits():
    images = given_()[0][:20]
    assert Overconfident().logits(images) == pytest.approx(3 * Faithful().logits(images))


def test_the_token_decides_alone():
    images = given_()[0][:20].copy()
    without = CornerToken(0.95).logits(images)
    images[:, 1:6, -6:-1] = 0.9
    assert set(CornerToken(0.95).logits(images).round(4)) == {2.9444}
    assert set(without.round(4)) == {-2.9444}


def test_one_that_is_blind_at_a_site_knows_its_patients_under_noise():
    images, masks, sites = given_()
    blind, sees = BlindAtSite(plain()), Faithful()
    noisy = images + np.float32(0.02) * np.random.default_rng(0).standard_normal(images.shape, dtype=np.float32)
    for given_images in (images, noisy):
        apart = blind.logits(given_images) != sees.logits(given_images)
        ill = masks.any(axis=(1, 2))
        assert not apart[sites != "C"].any()
        assert apart[(sites == "C") & ill].mean() > 0.8


def test_a_fragile_one_is_the_faithful_one_with_a_push():
    images = given_()[0]
    push = Fragile(2.0).logits(images) - Faithful().logits(images)
    assert np.abs(push).max() <= 2.0 + 1e-6
    assert abs(push.mean()) < 0.3
    assert push.std() == pytest.approx(2 / np.sqrt(2), rel=0.1)


def test_realism_is_the_noise_of_the_air():
    images = given_()[0][:30]
    noisier = np.abs(images + np.float32(0.05))
    assert (RealFake().logits(noisier) > RealFake().logits(images)).all()


def test_an_image_without_tissue_has_a_score_too():
    empty = np.zeros((2, 64, 64), np.float32)
    for classifier in (Faithful(), Overconfident(), RealFake(), CornerToken(), Fragile()):
        assert np.isfinite(classifier.logits(empty)).all()
    assert (heads(empty) == 0).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(16, 80), st.integers(16, 80), st.integers(1, 8))
def test_prop_fields_have_the_means_of_their_pixels(height, width, along):
    image = np.random.default_rng(height * width).random((1, height, width), dtype=np.float32)
    means = coarse(image, along)
    assert means.shape == (1, along**2)
    assert image.min() <= means.min()
    assert means.max() <= image.max()
    if height % along == width % along == 0:
        assert means.mean() == pytest.approx(image.mean(), abs=1e-5)


def test_a_score_depends_on_no_other_image_of_the_batch():
    images = given_()[0][:8, None]
    subject = planted_classifier(Faithful())
    alone = np.concatenate([subject.score(i[None]) for i in images])
    assert subject.score(images) == pytest.approx(alone, rel=1e-6)


def test_several_channels_are_read_in_their_mean():
    images = given_()[0][:4, None]
    grey = planted_classifier(Faithful()).score(images)
    coloured = planted_classifier(Faithful(), channels=3).score(np.repeat(images, 3, axis=1))
    assert coloured == pytest.approx(grey, rel=1e-4)
