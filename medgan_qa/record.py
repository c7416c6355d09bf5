"""What a run leaves behind: measurements, criteria with their verdicts, exhibits, and the Record that holds them all.

The Record is the one product of a run. Report, gate and verify read it and nothing else and compute no statistic. Its
JSON schema is `medgan-qa/record/1`: fields are added, never changed. A number that could not be obtained is `null` and
carries a reason; NaN and infinity are refused, because a comparison with NaN is false in both directions and would open
a gate by accident.
"""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

SCHEMA: Literal["medgan-qa/record/1"] = "medgan-qa/record/1"


class Verdict(StrEnum):
    """What a criterion, an audit or a run came to. Nothing but `PASS` opens a gate."""

    PASS = "pass"
    """The bound that the criterion is judged on meets the limit."""
    FAIL = "fail"
    """The whole interval lies beyond the limit."""
    INCONCLUSIVE = "inconclusive"
    """The interval straddles the limit, the sample is too small, a needed input is missing, or a check did not run."""
    NOT_APPLICABLE = "not_applicable"
    """The question does not arise for this subject and cohort, or nothing was judged."""
    ERROR = "error"
    """The check broke; its reason says how."""


def _finite(value: float | None) -> float | None:
    if value is not None and not math.isfinite(value):
        raise ValueError("NaN and infinity have no place in a Record; use None and give a reason")
    return value


def _finite_throughout(facts: dict[str, Any]) -> dict[str, Any]:
    # Without this NaN would be written as null, and a Record read back would differ from the one that was written.
    left: list[Any] = [facts]
    while left:
        value = left.pop()
        if isinstance(value, float):
            _finite(value)
        elif isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, list | tuple):
            left.extend(value)
    return facts


Number = Annotated[float | None, AfterValidator(_finite)]
"""A finite float, or None where there is none."""
Facts = Annotated[dict[str, Any], AfterValidator(_finite_throughout)]
"""Named values that JSON can hold, without NaN or infinity at any depth."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class Interval(_Model):
    """A confidence interval, with what is needed to say how it was made."""

    low: Number
    """Lower end, in the unit of the measurement."""
    high: Number
    """Upper end, in the unit of the measurement."""
    level: float = Field(gt=0, lt=1)
    """Confidence of the bound that is judged: of each end alone if `sided` is 1, of both together if 2."""
    method: str
    """How it was computed, in words a statistician recognises."""
    sided: Literal[1, 2]
    """1: each end is a one-sided bound at `level`; 2: the two ends hold together at `level`."""


class Measurement(_Model):
    """One number that an audit found, without any opinion about it."""

    id: str
    """Code and name, e.g. `PAT-001.removal_rate`; a stratum stands behind it in brackets."""
    label: str
    """The name in words, as the report prints it."""
    value: Number
    """The estimate; None when it could not be obtained, with a `reason`."""
    unit: str
    """Unit of `value`: `fraction`, `mm`, `dB`, `1` for a ratio, `count`."""
    interval: Interval | None = None
    """The interval as the report prints it; None where there is none."""
    n: int = Field(ge=0)
    """How many units of analysis went in."""
    unit_of_analysis: str
    """What was counted: patient, lesion, image."""
    better: Literal["lower", "higher", "nearer_one", "none"]
    """Which way is better."""
    stratum: str | None = None
    """The subset it is about, e.g. `diameter 5-10 mm`; None for all."""
    clusters: int | None = Field(default=None, ge=0)
    """Independent units (patients) that the n belong to, where intervals cluster by them."""
    reason: str | None = None
    """Why `value` is None, or what limits it."""

    @model_validator(mode="after")
    def _missing_needs_a_reason(self) -> Self:
        if self.value is None and not self.reason:
            raise ValueError(f"{self.id}: a measurement without a value needs a reason")
        return self


class Observations(_Model):
    """What a measurement was computed from, unit by unit: what two runs on the same cases are compared on."""

    statistic: Literal["share", "mean", "median"]
    """How `values` become the measurement: share of ones, mean over units, median of the patients' medians."""
    units: list[str]
    """(N,) identifiers that name the same unit (case, lesion) in every run on the same data."""
    patients: list[str]
    """(N,) the patient of each unit."""
    values: list[float]
    """(N,) finite; 0 or 1 for a share."""


class Criterion(_Model):
    """A criterion as it was declared, and what it came to."""

    id: str
    measurement: str
    limit: dict[Literal["max", "min"], Annotated[float, AfterValidator(_finite)]]
    judged_on: Literal["upper", "lower", "both", "value"]
    value: Number
    """The number that was held against the limit: the bound, or the value where it is judged on that."""
    verdict: Verdict
    reason: str
    rationale: str
    hazard: str
    requirement: str
    estimate: Number = None
    """The measurement's estimate, for reading beside the bound."""
    n: int | None = None
    clusters: int | None = None
    unit_of_analysis: str | None = None
    interval: Interval | None = None
    """The interval at the level that this criterion was judged at."""
    adjusted_alpha: Number = None
    """The error rate this criterion was tested at after correction for multiplicity."""
    severity: Literal["gate", "report"] = "gate"
    """`gate`: counts for the run's verdict; `report`: judged and printed, and opens or closes nothing."""
    claim: str = ""
    """The claim that it carries, in one sentence."""
    optional: bool = False
    """Where its audit does not apply to the model and data, it holds nothing back."""
    margin: Number = None
    """How much worse than an accepted model a retrained one may be, in the unit of the measurement; None: not set."""


class Precondition(_Model):
    """Something declared about the data, and whether it held; what did not hold keeps a run from passing."""

    id: str
    """E.g. `DATA-patients`, `INDEPENDENCE-site`."""
    requirement: str
    """What was declared, e.g. `at least 60 patients in the test partition`."""
    found: str
    """What was there, e.g. `41 patients`."""
    verdict: Verdict
    reason: str


class Sentinel(_Model):
    """A case that must never be lost, and what became of it; one lost sentinel fails the run whatever the mean does."""

    case_id: str
    audit: str
    """Code of the audit whose row of the case decides."""
    found: str
    """The case's status in that audit, or why there is none."""
    verdict: Verdict
    reason: str
    rationale: str = ""
    """Why this case must never be lost."""


class Hazard(_Model):
    """A hazard that criteria of the run trace to."""

    id: str
    name: str
    situation: str = ""
    """The hazardous situation: how it reaches a patient."""
    control: str = ""
    """The risk control, or what stands for it."""
    source: str = ""
    """`catalogue` for one of the shipped list, or the criteria file."""


class Attempt(_Model):
    """An entry of the attempt ledger: one run on a test set."""

    number: int = Field(ge=1)
    """Its place among the runs on this test set with this suite."""
    run: str
    time_utc: str
    model: str
    model_sha256: str
    criteria_digest: str
    data_digest: str
    verdict: Verdict
    tool_version: str
    record_sha256: str = ""
    """SHA-256 of that run's Record."""


class Attempts(_Model):
    """Which attempt on its test set a run is, and what repeated testing does to the error rate."""

    number: int = Field(ge=1)
    """This run is the `number`-th on this test set with this suite."""
    chances: int = Field(ge=1)
    """How many different tests were made so far, this one included: repeats of one model under the same criteria and
    seed are no further chance."""
    ledger: str
    """The ledger's file, as it was given."""
    line: int = Field(ge=1)
    """The line of the ledger that holds this run."""
    previous_hash: str
    """Hash of the line before, to which this run is chained."""
    earlier: list[Attempt] = []
    """The runs before on the same test set, oldest first."""
    statement: str
    """In words: the attempt, and the error rate after it."""
    alpha: Number = None
    """Error rate of one test."""
    error_rate_bound: Number = None
    """The largest chance that a model beyond a limit passes at least once in so many tests (union bound)."""
    maximum: int | None = None
    """How many attempts the criteria allow; None: not declared."""


class Change(_Model):
    """One measurement of a retrained model beside that of the accepted one."""

    criterion: str = ""
    """The criterion whose margin applies; empty for a subgroup that is only reported."""
    measurement: str
    label: str
    unit: str
    better: Literal["lower", "higher", "nearer_one", "none"]
    stratum: str | None = None
    baseline: Number
    candidate: Number
    worsening: Number
    """How much worse the candidate is, in the unit of the measurement: positive is worse whichever way is better."""
    interval: Interval | None = None
    """Of `worsening`."""
    margin: Number = None
    n: int = Field(default=0, ge=0)
    """Pairs that went in, or units of the candidate where cases are not paired."""
    clusters: int | None = None
    paired: bool = False
    worsened: int | None = Field(default=None, ge=0)
    """How many units got worse; None where units cannot be told apart so."""
    improved: int | None = Field(default=None, ge=0)
    """How many got better."""
    newly_worse: list[str] = []
    """The first of the units that got worse, by name; a table beside the Record holds all."""
    verdict: Verdict
    reason: str


class Comparison(_Model):
    """A candidate beside the accepted model: the outcome of a gate."""

    verdict: Verdict
    reason: str
    modification: Facts
    """The modification of a predetermined change control plan: `id`, `description`, `protocol`; empty strings where
    not given."""
    baseline: Facts
    """`run`, `name`, `version`, `model_sha256`, `record_sha256`, `verdict`, and `accepted` where it has a name."""
    candidate: Facts
    """The same of the candidate, before the comparison was added."""
    identical: bool
    """The two models are the same bytes: no change."""
    allowed: list[str] = []
    """Differences of data, criteria or tool that would have refused it and were allowed, with the reason."""
    changes: list[Change]
    """One a criterion."""
    subgroups: list[Change] = []
    """One a stratum, worst first."""
    sentinels: list[Sentinel] = []


class Exclusion(_Model):
    """Cases that did not go into an audit, with the reason."""

    reason: str
    cases: int = Field(ge=1)


class Accounting(_Model):
    """What became of the enrolled cases in one audit."""

    audit: str
    enrolled: int = Field(ge=0)
    analysed: int = Field(ge=0)
    excluded: list[Exclusion] = []


class Exhibit(_Model):
    """Data for one figure or table; never markup.

    Kinds: `panels` (image cases, arrays in `file`), `forest` (estimates with intervals, by stratum), `scatter`,
        `counts` (a table), `curves` (lines over a common axis), `sheet` (many small images, arrays in `file`).
    """

    id: str
    kind: Literal["panels", "forest", "scatter", "counts", "curves", "sheet"]
    title: str
    caption: str
    data: Facts
    file: str | None = None
    """A file in the run's folder that holds the arrays, relative to it."""


class AuditResult(_Model):
    """One audit: its question, what it measured, and what the criteria made of it."""

    code: str
    title: str
    question: str
    verdict: Verdict
    reason: str
    parameters: Facts
    seconds: Annotated[float, AfterValidator(_finite)]
    measurements: list[Measurement]
    criteria: list[Criterion]
    exhibits: list[Exhibit]
    notes: list[str]


class IndexEntry(_Model):
    """A heading that readers of a field look for, and the audits of the run that answer it."""

    name: str
    """The heading, e.g. `Coverage`."""
    asks: str
    """What stands behind the heading, in one sentence."""
    audits: list[str]
    """Codes of the audits that answer; empty where none can."""
    verdict: Verdict | None = None
    """The worst verdict among them; None without an audit."""
    note: str = ""


class Record(_Model):
    """A whole run."""

    schema_: Literal["medgan-qa/record/1"] = Field(default=SCHEMA, alias="schema")
    verdict: Verdict
    reason: str = ""
    """The verdict in one sentence."""
    suite: str
    tool: Facts
    run: Facts
    subject: Facts
    data: Facts
    criteria_lock: Facts
    environment: Facts
    deviations: list[str]
    limitations: list[str]
    audits: list[AuditResult]
    index: list[IndexEntry] = []
    """Where a suite follows a published scheme: its headings, and which audits stand for them."""
    document: Facts = {}
    """The report as a controlled document: `id`, `revision`."""
    context: Facts = {}
    """What the criteria file says of intended use, data, reference standard and statistics, key by key as declared."""
    preconditions: list[Precondition] = []
    sentinels: list[Sentinel] = []
    hazards: list[Hazard] = []
    attempts: Attempts | None = None
    """None: the run was entered in no ledger."""
    accounting: list[Accounting] = []
    comparison: Comparison | None = None
    """The outcome of a gate; None for a run that compares with nothing."""
    files: dict[str, str] = {}
    """SHA-256 of the evidence files beside the Record (cases, observations, exhibits, criteria, lock), by path. What is
    made from the Record (report, exports) is not among them."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, use_attribute_docstrings=True)

    def to_json(self) -> str:
        """Canonical JSON: keys in the order in which they are declared, two spaces a level, no NaN."""
        return self.model_dump_json(by_alias=True, indent=2)

    @classmethod
    def from_json(cls, text: str) -> Record:
        """Read a Record back.

        Raises:
            pydantic.ValidationError: the text is no Record of this schema.
        """
        return cls.model_validate_json(text)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a Record, as published in docs/.

    What was added to the schema since its first version is optional, so that it holds for every Record ever written.
    """
    schema = Record.model_json_schema(by_alias=True)
    # It has a default for those who make a Record; in a file it is what tells one from any other JSON.
    schema["required"] = ["schema", *schema["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}
