"""Model cards: what one needs for each task, and what is refused."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from medgan_qa.errors import ModelError
from medgan_qa.subjects.card import EXAMPLE, Card, parse_card, sidecar

MakeCard = Callable[..., str]


def test_reads_a_whole_card(make_card: MakeCard) -> None:
    card = parse_card(
        make_card(output_role="viewed", training_data="train", range_in=[0, 255], channels_in=2, intended_use="x"),
        "here",
    )
    assert card == Card(
        name="brain T2 to FLAIR",
        version="1.0.0",
        task="translation",
        channels_in=2,
        channels_out=1,
        range_in=(0.0, 255.0),
        range_out=(-1.0, 1.0),
        output_role="viewed",
        training_data="train",
        extra={"intended_use": "x"},
    )


def test_the_example_in_the_error_messages_is_a_card() -> None:
    assert parse_card(EXAMPLE, "here").task == "translation"


def test_what_is_not_declared_says_so(make_card: MakeCard) -> None:
    card = parse_card(make_card(), "here")
    assert (card.output_role, card.training_data, card.extra) == ("not declared", "not declared", {})


def test_goes_into_the_record_whole(make_card: MakeCard) -> None:
    text = make_card(scale=4, contact="qa@example.org")
    held = json.loads(json.dumps(parse_card(text, "here").as_dict()))
    declared = {k: v for k, v in tomllib.loads(text).items() if k != "schema"}
    assert held == {**declared, "output_role": "not declared", "training_data": "not declared"}


def test_the_sidecar_stands_beside_the_model() -> None:
    assert sidecar(Path("/a/model.pt")) == Path("/a/model.card.toml")
    assert sidecar(Path("/a/flair.v2.onnx")) == Path("/a/flair.v2.card.toml")


@pytest.mark.parametrize(
    ("task", "more", "needed"),
    [
        ("translation", {}, ["channels_in", "range_in", "channels_out", "range_out"]),
        ("segmentation", {}, ["channels_in", "range_in", "channels_out", "range_out"]),
        ("super-resolution", {"scale": 4}, ["channels_in", "range_in", "channels_out", "range_out", "scale"]),
        ("discriminator", {}, ["channels_in", "range_in"]),
        ("synthesis", {"latent_dim": 128}, ["latent_dim", "channels_out", "range_out"]),
    ],
)
def test_each_task_needs_its_own_keys(make_card: MakeCard, task: str, more: dict[str, Any], needed: list[str]) -> None:
    every = ["name", "version", *needed]
    others = {
        k: None
        for k in ("channels_in", "range_in", "channels_out", "range_out", "latent_dim", "scale")
        if k not in needed
    }
    assert parse_card(make_card(task=task, **{**more, **others}), "here").task == task
    for key in every:
        with pytest.raises(ModelError, match=f"lacks {key}"):
            parse_card(make_card(task=task, **{**more, **others, key: None}), "here")


def test_every_missing_key_is_named_at_once(make_card: MakeCard) -> None:
    with pytest.raises(ModelError, match=r"lacks version, range_in\.") as caught:
        parse_card(make_card(version=None, range_in=None), "model.card.toml")
    assert "keys schema, name, task" in str(caught.value.found)
    assert EXAMPLE in str(caught.value.expected)
    assert caught.value.where == "model.card.toml"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"schema": "medgan-qa/card/2"}, "another schema"),
        ({"schema": None}, "another schema"),
        ({"task": "classification"}, "no known task"),
        ({"task": None}, "no known task"),
        ({"task": ["translation"]}, "no known task"),
        ({"name": ""}, "lacks name"),
        *(({"channels_in": value}, "channels_in is no count") for value in (0, -1, 1.0, "1", True)),
        ({"channels_out": 0}, "channels_out is no count"),
        *(({"scale": value}, "scale is no factor") for value in (0, [2], [3, 0], 2.0, "2", True)),
        ({"task": "super-resolution", "scale": 2, "degradation": "blur"}, "degradation is no table"),
        ({"classes": ["a", "b"]}, "classes belong to samplers"),
        *(
            ({"task": "discriminator", "classes": value}, "classes are no names")
            for value in (["a"], ["a", "a"], ["a", "b", "c"], ["a", ""], "ab", [1, 2])
        ),
        ({"threshold": 0.5}, "threshold belongs to task discriminator"),
        *(({"task": "discriminator", "threshold": value}, "threshold is no prob") for value in (0, 1, "0.5", True)),
        ({"task": "discriminator", "reads": "age"}, "reads is unknown"),
        ({"reads": "disease"}, "reads belongs to task discriminator"),
        ({"comparator": "scratch.pt"}, "comparator belongs to task discriminator"),
        ({"task": "discriminator", "comparator": "/abs.pt"}, "comparator names no model"),
        ({"latent_dim": "128"}, "latent_dim is no count"),
        ({"output_role": "decoration"}, "output_role is unknown"),
        *(
            ({"range_in": value}, "range_in is no range")
            for value in ([1.0, -1.0], [1.0, 1.0], [1.0], [0.0, 0.5, 1.0], "unit", [True, 2.0], ["0", "1"], 1.0)
        ),
        ({"range_out": [1, 0]}, "range_out is no range"),
    ],
)
def test_refuses_a_wrong_value(make_card: MakeCard, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ModelError, match=problem) as caught:
        parse_card(make_card(**changes), "model.card.toml")
    assert caught.value.exit_code == 2
    assert all((caught.value.expected, caught.value.found, caught.value.where, caught.value.todo))


@pytest.mark.parametrize("ends", ["[nan, 1.0]", "[0.0, nan]", "[-inf, 1.0]", "[0.0, inf]", "[-1e39, 1e39]"])
def test_refuses_a_range_that_is_not_finite(make_card: MakeCard, ends: str) -> None:
    with pytest.raises(ModelError, match="range_out is no range"):
        parse_card(make_card(range_out=None) + f"\nrange_out = {ends}", "here")


def test_refuses_what_a_record_cannot_hold(make_card: MakeCard) -> None:
    with pytest.raises(ModelError, match="a number that is none"):
        parse_card(make_card() + "\n[training]\nlearning_rates = [1e-4, nan]", "here")


@pytest.mark.parametrize("text", ["name = ", "\x00", "{}"])
def test_refuses_what_is_no_toml(text: str) -> None:
    with pytest.raises(ModelError, match="no TOML"):
        parse_card(text, "here")


def test_an_empty_card_has_another_schema() -> None:
    with pytest.raises(ModelError, match="another schema"):
        parse_card("", "here")


@pytest.mark.parametrize("named", ["backward.pt", "../pairs/backward.onnx", "reference:cyclegan-balanced"])
def test_a_translation_may_name_its_inverse(make_card: MakeCard, named: str) -> None:
    card = parse_card(make_card(inverse=named), "here")
    assert card.inverse == named
    assert card.as_dict()["inverse"] == named
    assert card.extra == {}


@pytest.mark.parametrize("named", ["", " ", 3, "/models/backward.pt", "C:\\models\\backward.pt", "reference:"])
def test_refuses_an_inverse_that_names_no_model(make_card: MakeCard, named: Any) -> None:
    with pytest.raises(ModelError, match="inverse names no model") as caught:
        parse_card(make_card(inverse=named), "model.card.toml")
    assert "relative" in str(caught.value.expected)


def test_only_a_super_resolution_has_a_degradation(make_card: MakeCard) -> None:
    with pytest.raises(ModelError, match="degradation belongs to task super-resolution"):
        parse_card(make_card() + "\n[degradation]\nnoise_sd = 0.01", "model.card.toml")


def test_only_a_translation_has_an_inverse(make_card: MakeCard) -> None:
    with pytest.raises(ModelError, match="inverse belongs to task translation"):
        parse_card(make_card(task="segmentation", inverse="backward.pt"), "model.card.toml")
