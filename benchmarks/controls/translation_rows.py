"""Rows of the translation suite: what translators with a planted fault must show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.controls.planted import Must, Planted, Row, every
from medgan_qa.cohorts.phantom import COHORT_SEED, BrainPhantoms
from medgan_qa.controls import (
    Attenuate,
    Both,
    Defect,
    Displace,
    Erase,
    Faithful,
    Flip,
    Insert,
    Mild,
    Noisy,
    Recalibrate,
    ThresholdDetector,
    Wrap,
    cheating_pair,
    computing_translator,
    honest_pair,
    planted_translator,
    planted_where,
)
from medgan_qa.controls.intensity import ChestSlices
from medgan_qa.criteria.content import Strata
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import suite

SUITE = suite("translation")
LIMITED = tuple(d.measurement for d in SUITE.criteria.declared if not d.measurement.startswith("CYC"))
"""What the suite's default criteria speak of, but for cycles, which need an inverse."""
FIELD_MM = 224.0
PIXEL_MM = FIELD_MM / 64
PATHOLOGY = ("PAT-001", "PAT-002", "PAT-003")


def cohort(seed: int) -> BrainPhantoms:
    """100 patients of their own for every seed; seed 0 has those of the embedded cohort."""
    return BrainPhantoms(seed=COHORT_SEED + 1000 * seed)


def _of(defect: Defect) -> Callable[[int], Planted]:
    def build(seed: int) -> Planted:
        people = cohort(seed)
        return Planted(planted_translator(people, defect, seed), people)

    return build


def _displaced(mm: float, size: int, seed: int) -> Planted:
    people = BrainPhantoms(seed=COHORT_SEED + 1000 * seed, size=size)
    defect = Displace(mm, FIELD_MM / size)
    return Planted(planted_translator(people, defect, seed), people)


def _at_site(seed: int) -> Planted:
    people = cohort(seed)
    return Planted(planted_where(people, Erase(), lambda case: case.site == "A", seed=seed), people)


def _pair(make: Callable[..., Subject], seed: int) -> Planted:
    people = cohort(seed)
    return Planted(make(people, seed=seed), people)


def _in_hu(seed: int) -> Planted:
    chests = ChestSlices(seed=7 + seed)
    defect = Recalibrate(scale=0.9, offset=50.0, value_range=chests.value_range)
    return Planted(planted_translator(chests, defect, seed), chests)


class _Blind:
    """A detector that marks nothing, whatever the image."""

    def __call__(self, x: Any, seed: int) -> Any:
        return np.full((len(x), 1, *x.shape[2:]), -10.0, np.float32)


def _blind(seed: int) -> Planted:
    people = cohort(seed)
    detector = replace(ThresholdDetector().subject(), network=_Blind())
    return Planted(planted_translator(people, Erase(), seed), people, detector)


def _unrepeatable(seed: int) -> Planted:
    return Planted(computing_translator(Noisy(seeded=False)), cohort(seed))


REMOVAL, INVENTION = "PAT-001.removal_rate", "PAT-002.invention_rate"
BY_SITE = tuple(
    replace(declared, strata=Strata(gate=("site", "diameter")))
    for declared in SUITE.criteria.declared
    if declared.measurement == REMOVAL
)
ALL = tuple(audit.code for audit in SUITE.audits)

ROWS: tuple[Row, ...] = (
    Row("N1", "the real image, exactly", "translation", ALL, _of(Faithful(0.0)), every(LIMITED, "pass")),
    Row("N2", "blur 0.7 px, shift 0.3 px, noise 1 %", "translation", ALL, _of(Mild()), every(LIMITED, "not fail")),
    *(
        Row(
            "T1",
            f"lesions erased in {dose:.0%} of the cases",
            "translation",
            ("PAT-001",),
            _of(Erase(dose)),
            (Must(REMOVAL, "fail" if dose >= 0.3 else "not pass"), Must(REMOVAL, "holds", dose)),
        )
        for dose in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    ),
    *(
        Row(
            "T2",
            f"a lesion put into {dose:.0%} of the lesion-free cases",
            "translation",
            ("PAT-002",),
            _of(Insert(dose)),
            (Must(INVENTION, "fail" if dose >= 0.3 else "not pass"), Must(INVENTION, "holds", dose)),
        )
        for dose in (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
    ),
    *(
        Row(
            "T3",
            f"lesions faded by {1 - kept:.0%}",
            "translation",
            ("PAT-003",),
            _of(Attenuate(kept)),
            (Must("PAT-003.contrast_recovery", "fail" if kept <= 0.5 else "not fail"),),
        )
        for kept in (0.7, 0.4, 0.1)
    ),
    Row(
        "T4",
        "lesions erased at site A only",
        "translation",
        ("PAT-001",),
        _at_site,
        (
            Must(f"{REMOVAL}[site A]", "fail"),
            Must(f"{REMOVAL}[site B]", "not fail"),
            Must(f"{REMOVAL}[site C]", "not fail"),
        ),
        BY_SITE,
    ),
    Row(
        "T4",
        "lesions under 20 mm erased",
        "translation",
        ("PAT-001",),
        _of(Erase(below_mm=20 / PIXEL_MM)),
        (
            Must(f"{REMOVAL}[diameter 10-20 mm]", "fail"),
            Must(f"{REMOVAL}[diameter 20 mm or more]", "not fail"),
        ),
        BY_SITE,
    ),
    Row(
        "T5",
        "every lesion erased, one put into every lesion-free case",
        "translation",
        ("PAT-001", "PAT-002"),
        _of(Both(Erase(), Insert())),
        every((REMOVAL, INVENTION), "fail"),
    ),
    *(
        Row(
            "T6",
            f"displaced by {mm:g} mm, {size} x {size} pixels of {FIELD_MM / size:g} mm",
            "translation",
            ("GEO-001",),
            partial(_displaced, mm, size),
            (Must("GEO-001.misplaced_rate", "fail"), Must("GEO-001.displaced_rate", "holds", 1.0)),
        )
        for mm, size in ((3.0, 128), (6.0, 64), (10.0, 64))
    ),
    Row(
        "T6",
        "flipped left to right",
        "translation",
        ("GEO-001",),
        _of(Flip()),
        (Must("GEO-001.misplaced_rate", "fail"), Must("GEO-001.flipped_rate", "holds", 1.0)),
    ),
    Row(
        "T6",
        "shifted cyclically by a third",
        "translation",
        ("GEO-001",),
        _of(Wrap()),
        (Must("GEO-001.misplaced_rate", "fail"), Must("GEO-001.wrapped_rate", "holds", 1.0)),
    ),
    Row(
        "T7",
        "source hidden in the output at 1/255",
        "translation",
        ("CYC-001",),
        partial(_pair, cheating_pair),
        (Must("CYC-001.error_ratio[noise 1/255]", "fail"),),
    ),
    Row(
        "T7",
        "honest pair",
        "translation",
        ("CYC-001",),
        partial(_pair, honest_pair),
        (Must("CYC-001.error_ratio[noise 1/255]", "pass"),),
    ),
    Row(
        "T8",
        "stored numbers x 0.9 + 50 HU",
        "translation",
        ("INT-001", "PAT-003"),
        _in_hu,
        (Must("INT-001.within_tolerance", "fail"), Must("PAT-003.contrast_recovery", "not fail")),
    ),
    Row(
        "T9", "detector that marks nothing", "translation", PATHOLOGY[:2], _blind, every(PATHOLOGY[:2], "inconclusive")
    ),
    Row(
        "R3",
        "another noise at every pass",
        "translation",
        ("ROB-001",),
        _unrepeatable,
        (Must("ROB-001.changed_rate", "fail"),),
    ),
)
