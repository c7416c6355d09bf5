"""Rows of the super-resolution and the discriminator suite."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.controls.planted import Must, Planted, Row, every
from medgan_qa.cohorts.cohort import Cohort
from medgan_qa.cohorts.phantom import COHORT_SEED, BrainSlices, BrainTruths
from medgan_qa.cohorts.tokens import TokenCohort
from medgan_qa.controls.named import control_subject
from medgan_qa.suites import suite


def _truths(seed: int) -> Cohort:
    return BrainTruths(seed=COHORT_SEED + 1000 * seed)


def _slices(seed: int) -> Cohort:
    return BrainSlices(people=240, seed=COHORT_SEED + 1000 * seed)


def _tokens(seed: int) -> Cohort:
    return TokenCohort(BrainSlices(people=240, seed=COHORT_SEED + 1000 * seed))


def _named(suite_name: str, control: str, cohort: Callable[[int], Cohort]) -> Callable[[int], Planted]:
    def build(seed: int) -> Planted:
        people = cohort(seed)
        return Planted(control_subject(control, suite_name, people), people)

    return build


def _gating(suite_name: str) -> tuple[str, ...]:
    return tuple(d.measurement for d in suite(suite_name).criteria.declared if d.severity == "gate")


def _codes(suite_name: str) -> tuple[str, ...]:
    return tuple(audit.code for audit in suite(suite_name).audits)


SR, DIS = "super-resolution", "discriminator"
CONSISTENT, INVENTED = "CON-001.inconsistent_rate", "CON-002.invented_object_rate"
OWN = ("CON-001", "CON-002")
CALIBRATION, BORDER, FLIPS = "DIS-002.slope", "DIS-005.border_auc", "ROB-004.flip_rate"


def _restored(row: str, control: str, title: str, consistent: str, invented: str) -> Row:
    musts = (Must(CONSISTENT, consistent), Must(INVENTED, invented))
    return Row(row, title, SR, OWN, _named(SR, control, _truths), musts)


def _classified(row: str, control: str, title: str, musts: tuple[Must, ...]) -> Row:
    cohort = _tokens if control == "corner-token" else _slices
    return Row(row, title, DIS, _codes(DIS), _named(DIS, control, cohort), musts)


ROWS: tuple[Row, ...] = (
    Row(
        "N1",
        "the truth with 1 % noise",
        SR,
        _codes(SR),
        _named(SR, "faithful", _truths),
        every(_gating(SR), "pass"),
    ),
    _restored("S1", "bicubic-projected", "bicubic, made consistent", "pass", "pass"),
    _restored("S1", "nearest", "pixel repetition", "pass", "pass"),
    _restored("S2", "null-texture", "texture where the operator cannot see", "pass", "fail"),
    _restored("S3", "bias-2", "2 % too bright", "fail", "not fail"),
    _classified("N1", "faithful", "reads the lesion", every(_gating(DIS), "not fail")),
    _classified(
        "D1", "corner-token", "reads a token in the corner", (Must(BORDER, "fail"), Must("DIS-001.auc", "pass"))
    ),
    _classified("D2", "overconfident", "logits x 3", (Must(CALIBRATION, "fail"), Must("DIS-001.auc", "pass"))),
    _classified("D3", "real-fake", "a score of sharpness", every(("DIS-006.disease_auc", "DIS-001.auc"), "fail")),
    _classified("-", "fragile", "calls flip under noise", (Must(FLIPS, "fail"),)),
    _classified("-", "subgroup", "blind at one site", (Must("DIS-004.uneven_attributes", "fail"),)),
)
