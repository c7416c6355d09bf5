"""Experiments: a question from the literature, asked of reference models on phantoms by one command.

They reach medgan_qa through the entry point `medgan_qa.experiments`, for `medgan-qa experiment NAME`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple


class Experiment(NamedTuple):
    """What `medgan-qa experiment` needs to know before anything heavy is imported."""

    title: str
    options: dict[str, str]
    """Options of its own by name, with their help; their values reach `run` as text, or None."""
    module: str

    def run(self, out: Path, **arguments: Any) -> Path:
        """Run it in the folder `out`; see the `run` of its module."""
        run: Callable[..., Path] = importlib.import_module(self.module).run
        return run(out, **arguments)


EXPERIMENTS = {
    "dose-response": Experiment(
        title="Tumours removed and invented, against the share of tumours in the target domain (Cohen et al. 2018).",
        options={
            "shares": "Shares of target training slices with a tumour, in [0, 1], separated by commas.",
            "losses": "Losses to compare, separated by commas: cyclegan, cgan, l1.",
        },
        module="reference_models.experiments.dose_response",
    )
}


def experiments() -> dict[str, Experiment]:
    """Every experiment by name."""
    return dict(EXPERIMENTS)
