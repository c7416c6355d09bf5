"""What a translation run finds wrong with its models before anything is measured."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from medgan_qa.audits import translation
from medgan_qa.audits.hidden_cycle import hidden_cycle
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.controls import ThresholdDetector
from medgan_qa.controls.cycles import honest_pair
from medgan_qa.controls.responses import Power, computing_translator
from medgan_qa.engines import LocalEngine
from medgan_qa.errors import ModelError
from medgan_qa.runner import run_audit
from medgan_qa.suites import suite


class Unused:
    """An engine of a run that ends before it begins."""

    def map(self, function, items, *, label=""):
        raise AssertionError("something was measured")


@pytest.fixture(scope="module")
def cohort():
    return BrainPhantoms(people=4, size=32)


@pytest.fixture
def model(tmp_path):
    """A translator whose card names an inverse that lies beside it."""
    made = computing_translator(Power(1.0))
    return replace(made, path=tmp_path / "model.pt", card=replace(made.card, inverse="back.pt"))


@pytest.fixture
def saved(tmp_path):
    """Write a traced identity, with a card of so many channels."""

    def save(channels: int) -> None:
        card = {
            "schema": "medgan-qa/card/1",
            "name": "back",
            "version": "1",
            "task": "translation",
            "channels_in": channels,
            "channels_out": channels,
            "range_in": [0.0, 1.0],
            "range_out": [0.0, 1.0],
        }
        text = "\n".join(f"{key} = {json.dumps(value)}" for key, value in card.items())
        traced = torch.jit.trace(nn.Identity(), torch.rand(1, channels, 8, 8))
        torch.jit.save(traced, str(tmp_path / "back.pt"), _extra_files={"medgan_qa_card.toml": text})

    return save


def run_of(subject, cohort) -> TranslationRun:
    return TranslationRun(subject, cohort, None, LocalEngine(), 0)


def test_an_inverse_that_is_not_there_ends_the_run_before_it_begins(model, cohort, tmp_path):
    translations = suite("translation")

    with pytest.raises(ModelError, match=r"inverse = 'back\.pt' in the card of model\.pt") as caught:
        run_audit(model, cohort, translations, translations.criteria, detector=None, engine=Unused())
    assert "does not exist" in caught.value.problem
    assert caught.value.where == str(tmp_path / "back.pt")
    assert all((caught.value.expected, caught.value.found, caught.value.todo))


def test_a_shipped_model_that_there_is_not_is_named_with_the_card(model, cohort):
    nobody = replace(model, card=replace(model.card, inverse="reference:nobody"))

    with pytest.raises(ModelError, match=r"inverse = 'reference:nobody' in the card of model\.pt"):
        run_of(nobody, cohort).dry_run()


def test_an_inverse_with_other_channels_is_found_by_its_card(model, cohort, saved):
    saved(channels=3)

    with pytest.raises(ModelError, match=r"in the card of model\.pt cannot be used: .* does not translate back"):
        run_of(model, cohort).dry_run()


def test_an_inverse_that_does_not_take_the_output_is_found_by_running_it(cohort):
    pair = honest_pair(cohort)
    wrong = replace(pair, inverse=replace(pair.inverse, card=replace(pair.inverse.card, channels_in=3)))

    with pytest.raises(ModelError, match="another number of channels"):
        run_of(wrong, cohort).dry_run()


def test_an_inverse_that_returns_another_size_is_found_by_running_it(cohort):
    pair = honest_pair(cohort)
    halved = replace(pair, inverse=replace(pair.inverse, network=lambda x, seed: x[..., ::2, ::2]))

    with pytest.raises(ModelError, match="another shape"):
        run_of(halved, cohort).dry_run()


def test_the_inverse_is_read_once_and_the_audit_takes_it(model, cohort, saved, monkeypatch):
    read = []
    load = translation.inverse_of
    monkeypatch.setattr(translation, "inverse_of", lambda subject: read.append(subject) or load(subject))
    saved(channels=1)
    run = run_of(model, cohort)
    run.dry_run()
    findings = hidden_cycle(run)

    assert len(read) == 1
    assert run.inverse.path.name == "back.pt"
    assert any("back.pt" in note for note in findings.notes)
    assert run.options == {}


def test_a_model_without_an_inverse_and_a_detector_pass_the_dry_run(cohort):
    subject = computing_translator(Power(1.0))
    run = TranslationRun(subject, cohort, ThresholdDetector().subject(), LocalEngine(), 0)
    run.dry_run()

    assert run.inverse is None


def test_the_dry_run_sees_a_translator_that_takes_other_images(cohort):
    with pytest.raises(ModelError, match="another number of channels"):
        run_of(computing_translator(Power(1.0), channels=2), cohort).dry_run()


def test_a_detector_that_takes_other_images_is_found_too(cohort):
    detector = ThresholdDetector().subject()
    wrong = replace(detector, card=replace(detector.card, channels_in=2))
    run = TranslationRun(computing_translator(Power(1.0)), cohort, wrong, LocalEngine(), 0)

    with pytest.raises(ModelError, match="another number of channels"):
        run.dry_run()
    assert np.isfinite(run.items[0].output).all()
