"""The shipped models: small, documented, and able to do what their cards say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from medgan_qa.cohorts.phantom import BrainPhantoms
from medgan_qa.subjects.load import load_subject, shipped_models
from reference_models import weights
from reference_models.recipes import names

MODELS = sorted(weights())


def test_weights_are_the_files_of_the_folder() -> None:
    folder = Path(__file__).parents[2] / "reference_models" / "weights"
    assert sorted(weights()) == sorted(path.stem for path in folder.glob("*.safetensors"))
    assert set(weights()) <= set(names())


@pytest.mark.parametrize("name", MODELS)
def test_is_small_and_says_how_it_was_made(name: str) -> None:
    path = weights()[name]
    assert path.stat().st_size < 20e6
    assert shipped_models()[name] == path
    subject = load_subject(f"reference:{name}")
    training = subject.card.extra["training"]
    assert training["recipe"] == name
    assert {"partitions", "steps", "seed", "torch", "finished_utc", "initialised_from"} <= set(training)
    assert not any(partition.startswith("test") for partition in training["partitions"])


@pytest.mark.parametrize("name", MODELS)
def test_gives_finite_values_for_phantoms(name: str) -> None:
    subject = load_subject(f"reference:{name}")
    source, _, target = subject.card.extra["training"]["phantoms"].removeprefix("brain, ").partition(" and ")
    cohort = BrainPhantoms(source, target.split(",")[0], people=2)
    images = [cohort.load(case) for case in cohort.cases]
    if subject.card.task == "segmentation":
        logits = subject.read(np.stack([i.target for i in images if i.target is not None]))
        assert np.isfinite(logits).all()
        masks = np.stack([i.lesion_mask for i in images if i.lesion_mask is not None])
        assert logits[masks].mean() > logits[~masks].mean()
    else:
        out = subject.translate(np.stack([i.image for i in images]))
        assert out.shape == (4, 1, 64, 64)
        assert np.isfinite(out).all()
        assert out.std() > 0.05
