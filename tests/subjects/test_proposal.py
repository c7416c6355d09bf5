"""What a trial of a model says for its card, and what a dry run by the card says of both."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from medgan_qa.errors import ModelCrashError, ModelError
from medgan_qa.subjects.card import Card, parse_card
from medgan_qa.subjects.card_text import card_toml
from medgan_qa.subjects.dry_run import DryRun, dry_run, image_batch
from medgan_qa.subjects.file_facts import FileFacts
from medgan_qa.subjects.networks import Float
from medgan_qa.subjects.proposal import Proposal, propose
from medgan_qa.subjects.protocols import Subject

Made = Callable[[Float, int], Float]


def network(channels: int | None, make: Callable[[Float], Any], axes: int = 4) -> Made:
    """A network that takes only so many axes and channels."""

    def run(x: Float, seed: int) -> Float:
        if x.ndim != axes or (channels is not None and x.shape[1] != channels):
            raise ModelError("The model raised an error on its input.", found=f"got {x.shape}")
        return np.asarray(make(x), np.float32)

    return run


def proposed(net: Made, facts: FileFacts | None = None, **known: Any) -> Proposal:
    return propose(net, facts or FileFacts(), 16, known)


def values(proposal: Proposal) -> dict[str, Any]:
    return {key: told.value for key, told in proposal.keys.items()}


def guessed(proposal: Proposal) -> set[str]:
    return {key for key, told in proposal.keys.items() if told.guess}


def test_a_translator() -> None:
    found = proposed(network(2, lambda x: np.tanh(x.sum(1, keepdims=True) - 1)))
    assert values(found) == {
        "task": "translation",
        "channels_in": 2,
        "channels_out": 1,
        "range_in": [-1.0, 1.0],
        "range_out": [-1.0, 1.0],
    }
    assert guessed(found) == {"task", "range_in", "range_out"}
    assert (found.taken, found.returned) == ((4, 2, 16, 16), (4, 1, 16, 16))
    assert len(found.refusals) == 2


@pytest.mark.parametrize(("rows", "columns", "scale"), [(2, 2, 2), (3, 1, [3, 1]), (4, 4, 4)])
def test_a_super_resolver(rows: int, columns: int, scale: Any) -> None:
    found = proposed(network(1, lambda x: x.repeat(rows, 2).repeat(columns, 3)))
    assert values(found)["task"] == "super-resolution"
    assert values(found)["scale"] == scale
    assert values(found)["range_out"] == [0.0, 1.0]


def test_a_restorer_is_told_by_its_task_alone() -> None:
    assert values(proposed(network(1, lambda x: x), task="super-resolution"))["scale"] == 1


@pytest.mark.parametrize("make", [lambda x: x.mean((1, 2, 3)), lambda x: x.mean((2, 3))])
def test_a_discriminator(make: Callable[[Float], Any]) -> None:
    found = proposed(network(1, make))
    assert values(found) == {"task": "discriminator", "channels_in": 1}


def test_a_sampler() -> None:
    found = proposed(
        network(64, lambda z: np.tanh(z[:, :, None, None] + np.zeros((1, 64, 8, 8))).mean(1, keepdims=True), 2)
    )
    assert {k: values(found)[k] for k in ("task", "latent_dim", "channels_out")} == {
        "task": "synthesis", "latent_dim": 64, "channels_out": 1,
    }  # fmt: skip
    assert "range_in" not in values(found)


def test_a_sampler_of_classes_counts_them_beside_the_latent_vector() -> None:
    net = network(10, lambda z: z[:, :1, None, None] * np.ones((1, 1, 4, 4)), 2)
    found = proposed(net, task="synthesis", latent_dim=8, classes=["a", "b"])
    assert values(found)["latent_dim"] == 8


def test_a_detector_is_read_as_it_comes() -> None:
    found = proposed(network(1, lambda x: 20 * x - 10), task="segmentation", range_in=[0.0, 1.0])
    assert values(found)["range_out"] == [0.0, 1.0]
    assert "range_out" not in guessed(found)


def test_shapes_of_the_file_are_tried_first() -> None:
    facts = FileFacts({"a": (8, 5, 3, 3)})
    found = proposed(network(5, lambda x: x[:, :1]), facts)
    assert (values(found)["channels_in"], found.refusals) == (5, [])
    graph = FileFacts(inputs=((None, 6, 24, None),))
    assert proposed(network(6, lambda x: x), graph).taken == (4, 6, 24, 16)
    assert proposed(network(7, lambda z: z[:, :, None, None], 2), FileFacts({"a": (8, 7)})).taken == (4, 7)


def test_an_empty_output_is_no_output() -> None:
    found = proposed(network(None, lambda x: x[:, 1:2]))
    assert values(found)["channels_in"] == 3
    assert "an empty output" in found.refusals[0]


def test_what_the_user_says_is_tried_alone() -> None:
    found = proposed(network(2, lambda x: x), channels_in=3)
    assert found.taken == ()
    assert found.keys == {}
    assert any("(4, 3, 16, 16)" in said for said in found.refusals)


def test_the_range_that_the_user_says_is_what_the_model_is_given() -> None:
    seen: list[float] = []
    proposed(network(1, lambda x: [seen.append(float(x.min())), x][1]), range_in=[-1.0, 1.0])
    assert seen == [pytest.approx(-1.0)]


def test_outputs_of_no_usual_range_are_left_to_the_user() -> None:
    found = proposed(network(1, lambda x: 300 * x))
    assert not {"range_in", "range_out"} & values(found).keys()
    assert found.span is not None
    assert found.span[1] > 200


def test_a_crash_is_not_tried_again() -> None:
    def crash(x: Float, seed: int) -> Float:
        raise ModelCrashError("The model's process ended.")

    with pytest.raises(ModelCrashError):
        proposed(crash)


# The dry run.


def subject(make: Callable[[Float], Any], **changes: Any) -> Subject:
    facts = {"name": "n", "version": "1", "task": "translation", "channels_in": 1, "channels_out": 1}
    facts |= {"range_in": [-1.0, 1.0], "range_out": [-1.0, 1.0], **changes}
    return Subject(
        network(None, make, 2 if facts["task"] == "synthesis" else 4),
        parse_card(card_toml(facts), "card"), Path("m.pt"), "made up", "0" * 64, "cpu",
    )  # fmt: skip


def ran(make: Callable[[Float], Any], **changes: Any) -> DryRun:
    return dry_run(subject(make, **changes), 16)


def test_a_dry_run_of_a_card_that_fits() -> None:
    seen = ran(lambda x: x)
    assert (seen.taken, seen.returned, seen.warnings, seen.not_finite) == ((4, 1, 16, 16), (4, 1, 16, 16), (), 0)
    assert seen.low == pytest.approx(-1, abs=1e-3)
    assert seen.high is not None
    assert 0.5 < seen.high <= 1


@pytest.mark.parametrize(
    ("make", "warning"),
    [
        (lambda x: 3 * x, "beyond range_out"),
        (lambda x: 0.01 * x, "a tenth or less"),
        (lambda x: (x + 1) / 2, "the upper half"),
        (lambda x: np.where(x > 0, np.nan, x), "NaN"),
        (lambda x: x * np.nan, "1024 of 1024 values are NaN"),
    ],
)
def test_a_dry_run_warns(make: Callable[[Float], Any], warning: str) -> None:
    assert any(warning in said for said in ran(make).warnings)


@pytest.mark.parametrize(
    "changes", [{"channels_out": 2}, {"task": "super-resolution", "scale": 2}, {"task": "discriminator"}]
)
def test_a_dry_run_of_a_card_that_does_not_fit(changes: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="output of another shape"):
        ran(lambda x: x, **changes)


def test_a_dry_run_of_every_task() -> None:
    assert ran(lambda x: x.repeat(2, 2).repeat(2, 3), task="super-resolution", scale=2).returned == (4, 1, 32, 32)
    assert ran(lambda x: x.mean((2, 3)) * 50, task="discriminator").warnings == ()
    assert ran(lambda x: x * 50, task="segmentation").returned == (4, 16, 16)
    drawn = ran(lambda z: np.tanh(z[:, :1, None, None]) * np.ones((1, 1, 8, 8)), task="synthesis", latent_dim=3)
    assert (drawn.taken, drawn.returned) == ((4, 3), (4, 1, 8, 8))


def test_images_of_a_trial_are_images() -> None:
    images = image_batch(4, 2, 20, 30)
    assert (images.shape, images.dtype) == ((4, 2, 20, 30), np.float32)
    assert images.min() >= 0
    assert images.max() <= 1
    assert np.all(np.diff(images.mean((1, 2, 3))) > 0)
    np.testing.assert_array_equal(images, image_batch(4, 2, 20, 30))


# Cards as text.

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
plain = texts | st.integers(-(2**40), 2**40) | st.booleans() | st.floats(allow_nan=False, allow_infinity=False)


@given(
    st.dictionaries(
        st.from_regex(r"\Ax_[a-z]{1,8}\Z"),
        plain | st.lists(plain, max_size=3) | st.dictionaries(texts, plain, max_size=3),
    )
)
def test_a_card_comes_back_from_its_text(extra: dict[str, Any]) -> None:
    needed: dict[str, Any] = {"name": 'n"ä\n', "version": "1", "task": "synthesis", "latent_dim": 3, "channels_out": 1}
    card: Card = parse_card(card_toml({**needed, "range_out": [0.0, 1.0], **extra}), "card")
    assert card.extra == extra
    assert card.name == needed["name"]
