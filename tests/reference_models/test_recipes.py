"""Recipes: every name builds, trains on nobody's test patients, and writes a card that can be read."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

import reference_models
from medgan_qa.cohorts.phantom import COHORT_SEED, draw_cohort
from medgan_qa.cohorts.phantom_render import anatomy, pixel_mm, render
from medgan_qa.errors import ConfigurationError
from medgan_qa.subjects.card import parse_card
from reference_models import architectures
from reference_models.data import FACTS, Pool
from reference_models.recipes import names, recipe
from reference_models.training import build, card_text

CPU = torch.device("cpu")


def test_names() -> None:
    assert {
        "cyclegan-balanced",
        "cyclegan-healthy",
        "dcgan-balanced",
        "dcgan-collapsed",
        "detector-flair",
        "features-flair",
        "pix2pix-balanced",
        "pix2pix-healthy",
    } <= set(names())
    assert all(": " in title for title in names().values())


def test_registered_functions_stay_callable() -> None:
    assert all(callable(getattr(reference_models, name)) for name in ("architectures", "trainers", "weights"))


@pytest.mark.parametrize("size", ["cpu", "gpu"])
@pytest.mark.parametrize("name", names())
def test_every_recipe_builds_an_architecture_that_a_checkpoint_may_name(name: str, size: str) -> None:
    system = build(recipe(name, size), CPU)
    rebuilt = architectures()[system.architecture](**system.config)
    rebuilt.load_state_dict(system.exported.state_dict())


@pytest.mark.parametrize("name", names())
def test_every_card_can_be_read_back(name: str) -> None:
    chosen = recipe(name)
    card = parse_card(card_text(chosen, ["train"], device="cpu", seconds=90.0), "card")
    assert card.name == chosen.title
    assert card.task == chosen.card["task"]
    training = card.extra["training"]
    assert (training["recipe"], training["seed"], training["steps"]) == (name, chosen.seed, chosen.steps)
    assert training["minutes"] == 1.5
    assert training["partitions"] == ["train"]


def test_the_two_sizes_differ_and_the_arms_share_everything_but_lesions() -> None:
    assert recipe("cyclegan-balanced", "gpu").steps > recipe("cyclegan-balanced", "cpu").steps
    for method in ("cyclegan", "pix2pix"):
        balanced, healthy = recipe(f"{method}-balanced"), recipe(f"{method}-healthy")
        assert (balanced.data.target_lesions, healthy.data.target_lesions) == (True, False)
        same = {"name": "", "title": "", "data": dataclasses.replace(healthy.data, target_lesions=True)}
        assert dataclasses.replace(healthy, **same) == dataclasses.replace(balanced, name="", title="")


def test_unknown_recipe_and_size_are_refused() -> None:
    for call, found in ((("cyclegan-large",), "cyclegan-large"), (("cyclegan-balanced", "tpu"), "tpu")):
        with pytest.raises(ConfigurationError) as caught:
            recipe(*call)
        error = caught.value
        assert error.exit_code == 2
        assert error.found == found
        assert error.expected
        assert error.expected.startswith("one of ")
        assert error.todo


@pytest.mark.parametrize("name", names())
def test_training_patients_are_in_no_test_partition(tiny, name: str) -> None:
    pool = Pool(tiny(name).data, 1, CPU)
    assert pool.partitions
    assert all("train" in partition for partition in pool.partitions)
    assert "test" not in pool.partitions


@pytest.mark.parametrize(
    ("name", "target_partition"), [("pix2pix-balanced", "train"), ("cyclegan-balanced", "train-target")]
)
def test_paired_domains_show_the_same_slices_and_unpaired_ones_other_patients(tiny, name, target_partition) -> None:
    data = tiny(name).data
    pool = Pool(data, 1, CPU)
    assert pool.partitions == sorted({"train", target_partition})
    for images, contrast, partition in ((pool.source, "T2", "train"), (pool.target, "FLAIR", target_partition)):
        drawn = [render(spec, contrast, data.size) for spec in draw_cohort(COHORT_SEED, partition, data.patients)]
        np.testing.assert_array_equal(images[:, 0].numpy(), np.stack(drawn) * 2 - 1)


def test_unpaired_batches_draw_the_two_domains_independently(tiny) -> None:
    pool = Pool(tiny("cyclegan-balanced").data, 1, CPU)
    drawn = pool.batch(0, 32)
    source, target = (
        [int((images == image).flatten(1).all(1).nonzero()[0]) for image in side]
        for images, side in ((pool.source, drawn.source), (pool.target, drawn.target))
    )
    assert source != target
    assert set(source) == set(target) == set(range(6))


@pytest.mark.parametrize("method", ["cyclegan", "pix2pix"])
def test_healthy_arms_see_no_lesion_in_the_target_and_balanced_arms_see_half(tiny, method: str) -> None:
    def share(arm: str) -> float:
        data = dataclasses.replace(tiny(f"{method}-{arm}").data, patients=4)
        return float(Pool(data, 1, CPU).mask.flatten(1).any(1).float().mean())

    assert share("balanced") == 0.5
    assert share("healthy") == 0.0


def test_batches_depend_on_seed_and_step_alone(tiny) -> None:
    data = tiny("cyclegan-balanced").data
    first, second, other = Pool(data, 1, CPU), Pool(data, 1, CPU), Pool(data, 2, CPU)
    second.batch(3, 4)
    for a, b in zip(first.batch(7, 4), second.batch(7, 4), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(first.batch(7, 4).source, first.batch(8, 4).source)
    assert not torch.equal(first.batch(7, 4).source, other.batch(7, 4).source)
    assert first.source.min() >= -1
    assert first.source.max() <= 1


def test_one_domain_is_an_image_and_itself(tiny) -> None:
    data = tiny("dcgan-balanced").data
    pool = Pool(data, 1, CPU)
    assert pool.partitions == ["train"]
    drawn = [render(spec, "FLAIR", data.size) for spec in draw_cohort(COHORT_SEED, "train", data.patients)]
    np.testing.assert_array_equal(pool.target[:, 0].numpy(), np.stack(drawn) * 2 - 1)
    given = pool.batch(0, 4)
    assert torch.equal(given.source, given.target)


@pytest.mark.parametrize("name", ["features-flair", "cyclegan-balanced"])
def test_facts_are_those_of_the_target_slices(tiny, name: str) -> None:
    data = dataclasses.replace(tiny(name).data, patients=4)
    pool = Pool(data, 1, CPU)
    partition = data.partition if data.paired else f"{data.partition}-target"
    facts = dict(zip(FACTS, pool.facts.T.numpy(), strict=True))
    specs = draw_cohort(COHORT_SEED, partition, 4)
    assert facts["age_years"].tolist() == [spec.patient.age_years for spec in specs]
    assert facts["male"].tolist() == [spec.patient.sex == "M" for spec in specs]
    np.testing.assert_allclose(facts["level_mm"], [spec.z_mm for spec in specs], rtol=1e-6)
    np.testing.assert_allclose(facts["ventricles"], [spec.patient.ventricles for spec in specs], rtol=1e-6)
    np.testing.assert_allclose(facts["atrophy"], [spec.patient.atrophy for spec in specs], rtol=1e-6)
    areas = [anatomy(spec, data.size).mask.sum() * pixel_mm(data.size) ** 2 for spec in specs]
    np.testing.assert_allclose(np.pi * facts["lesion_radius_mm"] ** 2, areas, rtol=1e-5)
    assert facts["tumour"].tolist() == [area > 0 for area in areas]
    drawn = pool.batch(2, 5)
    for k in range(5):
        j = int((pool.target == drawn.target[k]).flatten(1).all(1).nonzero()[0])
        assert torch.equal(drawn.facts[k], pool.facts[j])


def test_the_collapsed_twin_trains_the_same_generator_against_a_weaker_opponent() -> None:
    balanced, collapsed = recipe("dcgan-balanced"), recipe("dcgan-collapsed")
    assert balanced.data == collapsed.data
    assert balanced.options["r1_gamma"] > 0 == collapsed.options["r1_gamma"]
    assert collapsed.options["spread"] is False
    assert collapsed.options["g_lr"] / collapsed.options["d_lr"] > 10
    assert (collapsed.steps, collapsed.ema) == (800, 0.9)
    first, second = build(balanced, CPU), build(collapsed, CPU)
    assert (first.architecture, first.config) == (second.architecture, second.config)


def test_images_are_of_the_size_that_the_networks_take() -> None:
    for arm in ("balanced", "collapsed"):
        for size in ("cpu", "gpu"):
            chosen = recipe(f"dcgan-{arm}", size)
            assert chosen.options["size"] == chosen.data.size
            assert chosen.options["latent_dim"] == chosen.card["latent_dim"]
