"""What a criteria file says, once it was read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

from medgan_qa.digests import digest
from medgan_qa.record import Interval, Measurement, Observations

SCHEMA = "medgan-qa/criteria/1"

JudgedOn = Literal["upper", "lower", "both", "value"]
Severity = Literal["gate", "report"]


@dataclass(frozen=True)
class Strata:
    """Kinds of strata (`diameter`, `site`) that a criterion holds in as well, one judgement a stratum."""

    gate: tuple[str, ...] = ()
    """These count for the run's verdict."""
    report: tuple[str, ...] = ()
    """These are judged and printed only."""

    def content(self) -> dict[str, list[str]]:
        """The kinds that were given, as JSON holds them."""
        return {name: list(kinds) for name, kinds in (("gate", self.gate), ("report", self.report)) if kinds}


@dataclass(frozen=True)
class Declared:
    """A criterion as written in a file."""

    id: str
    measurement: str
    limit: dict[str, float]
    judged_on: JudgedOn
    rationale: str = ""
    hazard: str = ""
    requirement: str = ""
    severity: Severity = "gate"
    claim: str = ""
    margin: float | None = None
    """Non-inferiority margin of the gate, in the unit of the measurement."""
    strata: Strata = field(default_factory=Strata)
    optional: bool = False
    """Where its audit does not apply to the model and data, it holds nothing back."""

    def content(self) -> dict[str, Any]:
        """What was declared, as JSON holds it; what may be left out and was is absent."""
        texts = ("rationale", "hazard", "requirement", "severity", "claim")
        found: dict[str, Any] = {
            "id": self.id,
            "measurement": self.measurement,
            "limit": dict(self.limit),
            "judged_on": self.judged_on,
            **{name: getattr(self, name) for name in texts},
        }
        if self.margin is not None:
            found["margin"] = self.margin
        if strata := self.strata.content():
            found["strata"] = strata
        if self.optional:
            found["optional"] = True
        return found


@dataclass(frozen=True)
class DeclaredHazard:
    """A hazard of the file's own, or what it says in place of the shipped catalogue."""

    id: str
    name: str = ""
    situation: str = ""
    control: str = ""


@dataclass(frozen=True)
class DeclaredSentinel:
    """A case that must never be lost, and the audit whose row of it decides."""

    case: str
    audit: str
    rationale: str = ""


class Estimate(NamedTuple):
    """A measurement, and what is needed to judge it at another error rate than it was reported at."""

    measurement: Measurement
    interval_at: Callable[[float], Interval] | None = None
    """The interval at a one-sided error rate alpha; None where there is no interval."""
    shortfall: Callable[[Declared, float], str | None] | None = None
    """Says what is missing for a claim that came out inconclusive, e.g. how many more patients."""
    observations: Observations | None = None
    """What it was computed from, unit by unit; None where units have no names that another run would give them too."""


@dataclass(frozen=True)
class Criteria:
    """A whole criteria file. Tables that it does not have are empty."""

    protocol: dict[str, Any]
    alpha: float
    multiplicity: Literal["none", "holm"]
    declared: tuple[Declared, ...]
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Parameters of audits by code, replacing the suite's."""
    file: str = ""
    default: bool = False
    """These are the suite's own, set for no intended use."""
    context: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    reference_standard: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)
    """Without `alpha` and `multiplicity`, which stand above wherever they were written."""
    hazards: tuple[DeclaredHazard, ...] = ()
    sentinels: tuple[DeclaredSentinel, ...] = ()
    attempts: dict[str, Any] = field(default_factory=dict)
    matching: dict[str, Any] = field(default_factory=dict)
    """Parameters set on every audit of the suite that has them; `parameters` of an audit go before."""
    modification: dict[str, Any] = field(default_factory=dict)
    """The modification of a predetermined change control plan: `id`, `description`, `protocol`."""
    text: str = field(default="", repr=False)
    """The file verbatim; empty where the criteria were read from no file."""

    @property
    def suite(self) -> str | None:
        """The suite that they are for."""
        return self.context.get("suite")

    @property
    def minimum(self) -> dict[str, int]:
        """The least numbers of `patients`, `lesions`, `sites` in the test partition, as far as declared."""
        return dict(self.data.get("min", {}))

    @property
    def independence_by(self) -> tuple[str, ...]:
        """The units, `patient` and `site`, that test data must not share with any other."""
        return tuple(self.data.get("independence", {}).get("by", ()))

    @property
    def train_manifest(self) -> Path | None:
        """The list of what the model was trained on."""
        name = self.data.get("independence", {}).get("train_manifest")
        return None if name is None else Path(self.file).parent / name

    @property
    def bound(self) -> Literal["one-sided", "two-sided"]:
        """Whether a bound is judged at alpha, or as an end of a two-sided interval at alpha / 2."""
        return "two-sided" if self.statistics.get("bound") == "two-sided" else "one-sided"

    @property
    def seed(self) -> int | None:
        """The seed that a run must use; None where any may be."""
        return self.statistics.get("seed")

    @property
    def attempts_max(self) -> int | None:
        """How many attempts on the test set are allowed; None where not declared."""
        return self.attempts.get("max")

    @property
    def feedback(self) -> Literal["full", "pass_fail"]:
        """`pass_fail` withholds numbers from those who may tune the model on them."""
        return "pass_fail" if self.attempts.get("feedback") == "pass_fail" else "full"

    def content(self) -> dict[str, Any]:
        """Everything that matters, as JSON holds it: independent of layout, comments and the order of keys.

        It is a criteria file's content again: `parse_criteria` gives the same criteria.
        """
        return {
            "schema": SCHEMA,
            "protocol": self.protocol,
            "alpha": self.alpha,
            "multiplicity": self.multiplicity,
            "context": self.context,
            "data": self.data,
            "reference_standard": self.reference_standard,
            "statistics": self.statistics,
            "matching": self.matching,
            "hazard": [asdict(hazard) for hazard in self.hazards],
            "criterion": [declared.content() for declared in self.declared],
            "sentinel": [asdict(sentinel) for sentinel in self.sentinels],
            "attempts": self.attempts,
            "modification": self.modification,
            "parameters": self.parameters,
        }

    def context_facts(self) -> dict[str, Any]:
        """What the file says of intended use, data, reference standard, statistics and the like, for the Record."""
        names = ("context", "data", "reference_standard", "statistics", "matching", "attempts", "modification")
        return {name: table for name in names if (table := getattr(self, name))}

    def digest(self) -> str:
        """SHA-256 of the canonical content, independent of layout and comments."""
        return digest(self.content())
