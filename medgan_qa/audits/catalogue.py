"""What an audit is, and the parts every audit is made of."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa.criteria import Estimate
from medgan_qa.record import Exhibit

HEADINGS = ("Question.", "What it measures.", "Why it matters.", "Known limits.", "Method and source.")
"""The paragraphs of every audit's docstring, in this order."""

Row = dict[str, Any]


@dataclass
class Findings:
    """What an audit hands back: numbers, rows, exhibits, notes. No verdict and no threshold of acceptance."""

    estimates: list[Estimate] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    """One row a case, with `case_id` and `patient_id` first; cases that were not judged say why."""
    tables: dict[str, list[Row]] = field(default_factory=dict)
    """Finer tables, e.g. one row a lesion, by path in the run's folder."""
    exhibits: list[Exhibit] = field(default_factory=list)
    arrays: dict[str, dict[str, NDArray[Any]]] = field(default_factory=dict)
    """Contents of the files that exhibits name."""
    excluded: dict[str, str] = field(default_factory=dict)
    """Test cases that the audit did not analyse, by case id, with the reason."""
    notes: list[str] = field(default_factory=list)
    missing: str | None = None
    """The required input that was not there; the audit's verdict is then inconclusive whatever the criteria."""
    not_applicable: str | None = None
    """Why the question does not arise, e.g. an optional input is not there."""
    veto: str | None = None
    """Copies of training images were found: what they flatter may not pass on their strength. Says what was found."""


Function = Callable[..., Findings]


@dataclass(frozen=True)
class Audit:
    """One audit: its code, its title, and the function that measures."""

    code: str
    title: str
    function: Function
    flattered: bool = False
    """Copies of training images make its measurements look better, so a veto holds its passes back."""
    measures: tuple[str, ...] = ()
    """Names of every measurement that it can make, without its code and without strata: what a criterion can name."""

    @property
    def parameters(self) -> dict[str, Any]:
        """Keyword parameters with their defaults, in declared order."""
        signature = inspect.signature(self.function)
        return {name: p.default for name, p in signature.parameters.items() if p.kind is inspect.Parameter.KEYWORD_ONLY}

    @property
    def document(self) -> str:
        """The docstring, which is the audit's documentation."""
        return inspect.getdoc(self.function) or ""

    @property
    def question(self) -> str:
        """The first paragraph, without its heading."""
        first = self.document.split("\n\n")[1]
        return " ".join(first.removeprefix("Question.").split())

    def run(self, run: Any, parameters: dict[str, Any]) -> Findings:
        """Measure; `run` is the run type of the audit's suite."""
        return self.function(run, **parameters)


def stack(images: list[NDArray[Any]]) -> NDArray[Any]:
    """Images of one exhibit as one array; smaller ones are padded at the bottom and right so that all fit."""
    height, width = (max(i.shape[axis] for i in images) for axis in (0, 1))
    return np.stack([np.pad(i, ((0, height - i.shape[0]), (0, width - i.shape[1]))) for i in images])
