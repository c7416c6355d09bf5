"""The shipped models: small, documented, and able to do what their cards say."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from medgan_qa.cohorts.cohort import CaseImages
from medgan_qa.cohorts.phantom import COHORT_SEED, BrainPhantoms, draw_cohort
from medgan_qa.cohorts.phantom_render import anatomy, render
from medgan_qa.subjects.load import load_subject, shipped_models
from medgan_qa.subjects.protocols import Subject
from reference_models import extractors, weights
from reference_models.recipes import names

MODELS = sorted(weights())
ARMS = ("balanced", "collapsed")
EXTRACTORS = Path(__file__).parents[2] / "reference_models" / "extractors"


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


def images_for(subject: Subject) -> list[CaseImages]:
    source, _, target = subject.card.extra["training"]["phantoms"].removeprefix("brain, ").partition(" and ")
    cohort = BrainPhantoms(source, target.split(",")[0], people=2)
    return [cohort.load(case) for case in cohort.cases]


@pytest.mark.parametrize("name", MODELS)
def test_gives_finite_values_for_phantoms(name: str) -> None:
    subject = load_subject(f"reference:{name}")
    if subject.card.task == "synthesis":
        out = subject.sample(4, seed=1)
        assert out.min() >= 0
        assert out.max() <= 1
    elif subject.card.task == "segmentation":
        images = images_for(subject)
        logits = subject.read(np.stack([i.target for i in images if i.target is not None]))
        assert np.isfinite(logits).all()
        masks = np.stack([i.lesion_mask for i in images if i.lesion_mask is not None])
        assert logits[masks].mean() > logits[~masks].mean()
        return
    else:
        out = subject.translate(np.stack([i.image for i in images_for(subject)]))
    assert out.shape == (4, 1, 64, 64)
    assert np.isfinite(out).all()
    assert out.std() > 0.05


def spread(images: np.ndarray) -> float:
    """Median distance between two images, as root mean square over pixels."""
    distances = [float(np.sqrt(np.mean((a - b) ** 2))) for a, b in itertools.combinations(images, 2)]
    return float(np.median(distances))


def test_the_sampler_draws_varied_brains_and_its_twin_draws_one() -> None:
    real = np.stack([render(spec, "FLAIR", 64) for spec in draw_cohort(COHORT_SEED, "test", 32)])
    balanced, collapsed = (load_subject(f"reference:dcgan-{arm}").sample(64, seed=2)[:, 0] for arm in ARMS)
    assert 0.8 < spread(balanced) / spread(real) < 1.2
    assert spread(collapsed) / spread(real) < 0.5
    # Heads stand in the middle of a dark field, as bright as the phantoms'.
    assert abs(balanced.mean() - real.mean()) < 0.02
    assert np.corrcoef(balanced.mean(0).ravel(), real.mean(0).ravel())[0, 1] > 0.98


@pytest.mark.parametrize("arm", ARMS)
def test_samples_do_not_depend_on_how_many_are_drawn_at_once(arm: str) -> None:
    network = load_subject(f"reference:dcgan-{arm}").network
    z = np.random.Generator(np.random.PCG64(3)).standard_normal((7, 64)).astype(np.float32)
    np.testing.assert_allclose(network(z, 0)[4:5], network(z[4:5], 0), atol=1e-5)


def test_extractors_are_the_files_of_their_folder_and_no_subjects() -> None:
    assert set(extractors()) == {path.stem for path in EXTRACTORS.glob("*.safetensors")} == {"phantom-net"}
    assert not set(extractors()) & set(shipped_models())
    assert (EXTRACTORS / "phantom-net.safetensors").stat().st_size < 1e6


def test_phantom_net_gives_features_from_which_tumour_and_age_can_be_read() -> None:
    found = extractors()["phantom-net"]("cpu")
    specs = draw_cohort(COHORT_SEED, "test", 60)
    images = np.stack([render(spec, "FLAIR", 64) for spec in specs])[:, None]
    features = found.features(images)
    assert features.shape == (120, 128)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()
    np.testing.assert_allclose(found.features(images[7:9]), features[7:9], rtol=1e-3, atol=1e-4)
    assert found.features(np.zeros((1, 1, 32, 48), np.float32)).shape == (1, 128)
    network = load_subject(str(EXTRACTORS / "phantom-net.safetensors")).network
    logit, age = network(images * 2 - 1, 0).T
    tumour = np.array([anatomy(spec, 64).mask.any() for spec in specs])
    wins = logit[tumour][:, None] > logit[~tumour][None]
    assert wins.mean() > 0.97
    years = np.array([spec.patient.age_years for spec in specs])
    assert np.corrcoef(age, years)[0, 1] > 0.6
