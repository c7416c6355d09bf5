"""The models that a card names beside its own: found next to it, read when they are asked for, checked to fit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medgan_qa.errors import ConfigurationError, ModelError
from medgan_qa.subjects.load import comparator_of, inverse_of, load_subject

Make = Callable[..., Any]


class Affine(nn.Module):
    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_the_inverse_is_found_beside_the_model_and_leads_back(torchscript: Make, make_card: Make) -> None:
    torchscript(Affine(2.0), name="back.pt")
    model = load_subject(str(torchscript(Affine(0.5), card=make_card(inverse="back.pt"))))
    back = inverse_of(model)

    assert back is not None
    assert back.path.name == "back.pt"
    x = torch.rand(2, 1, 8, 8).numpy()
    assert np.allclose(back.translate(model.translate(x)), x, atol=1e-6)


def test_a_model_without_the_key_has_none(torchscript: Make) -> None:
    assert inverse_of(load_subject(str(torchscript(Affine(1.0))))) is None


def test_nothing_is_read_before_it_is_asked_for(torchscript: Make, make_card: Make) -> None:
    model = load_subject(str(torchscript(Affine(1.0), card=make_card(inverse="not-there.pt"))))

    with pytest.raises(ModelError, match="does not exist") as caught:
        inverse_of(model)
    assert Path(str(caught.value.where)) == model.path.parent / "not-there.pt"


def test_an_unknown_reference_model_is_named(torchscript: Make, make_card: Make) -> None:
    model = load_subject(str(torchscript(Affine(1.0), card=make_card(inverse="reference:nobody"))))

    with pytest.raises(ConfigurationError, match="No shipped model"):
        inverse_of(model)


@pytest.mark.parametrize("changes", [{"channels_in": 3}, {"channels_out": 2}, {"task": "segmentation"}])
def test_refuses_a_model_that_does_not_lead_back(torchscript: Make, make_card: Make, changes: dict[str, Any]) -> None:
    torchscript(Affine(1.0), name="back.pt", card=make_card(**changes))
    model = load_subject(str(torchscript(Affine(1.0), card=make_card(inverse="back.pt"))))

    with pytest.raises(ModelError, match="does not translate back") as caught:
        inverse_of(model)
    assert "1 channels into 1" in str(caught.value.expected)
    assert "back.pt" in str(caught.value.todo)


def test_a_pair_that_was_made_together_needs_no_file(torchscript: Make) -> None:
    model = load_subject(str(torchscript(Affine(1.0))))

    assert inverse_of(replace(model, inverse=model)) is model


def discriminating(make_card: Make, **changes: Any) -> str:
    return str(make_card(task="discriminator", **changes))


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean((1, 2, 3))


def test_the_comparator_is_found_beside_the_classifier(torchscript: Make, make_card: Make) -> None:
    torchscript(Mean(), name="scratch.pt", card=discriminating(make_card))
    model = load_subject(str(torchscript(Mean(), card=discriminating(make_card, comparator="scratch.pt"))))
    other = comparator_of(model)

    assert other is not None
    assert other.path.name == "scratch.pt"
    assert comparator_of(other) is None
    assert comparator_of(replace(model, comparator=model)) is model


@pytest.mark.parametrize("changes", [{"channels_in": 3}, {"task": "translation"}])
def test_a_comparator_for_other_images_is_refused(torchscript: Make, make_card: Make, changes: dict[str, Any]) -> None:
    channels = changes.get("channels_in", 1)
    made = {"task": "discriminator", **changes}
    torchscript(Affine(1.0), name="scratch.pt", card=make_card(**made), channels=channels)
    model = load_subject(str(torchscript(Mean(), card=discriminating(make_card, comparator="scratch.pt"))))

    with pytest.raises(ModelError, match="does not classify the same images"):
        comparator_of(model)
