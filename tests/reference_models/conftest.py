"""Recipes cut down to seconds: the real systems and loop with narrow networks, few patients and few steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from reference_models.recipes import Recipe, recipe

NARROW = {
    "cyclegan": {"width": 8, "blocks": 1, "d_width": 8, "history": 3},
    "dcgan": {"size": 32, "width": 4, "d_width": 4},
    "phantom-facts": {"width": 2},
    "pix2pix": {"width": 8, "depth": 3, "d_width": 8, "dropout": 0.5},
    "segmenter": {"width": 4, "depth": 2},
}


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def tiny() -> Callable[..., Recipe]:
    """A recipe by name, made small; keywords replace fields of it."""

    def make(name: str, **fields: object) -> Recipe:
        whole = recipe(name)
        small = {
            "options": {**whole.options, **NARROW[whole.system]},
            "data": dataclasses.replace(whole.data, patients=3, size=32),
            "steps": 6,
            "batch": 2,
        }
        return dataclasses.replace(whole, **{**small, **fields})  # type: ignore[arg-type]  # fields vary in type

    return make
