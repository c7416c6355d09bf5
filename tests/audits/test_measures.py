"""The catalogue names every measurement that an audit can make, and none that it cannot."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from medgan_qa.audits import AUDITS, SynthesisRun, TranslationRun
from medgan_qa.audits.augmentation import AugmentationRun
from medgan_qa.audits.history import History
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.cohorts.declared import Independence
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices, BrainTruths
from medgan_qa.controls import Faithful, ThresholdDetector, honest_pair, planted_translator
from medgan_qa.controls.named import control_subject
from medgan_qa.controls.planted_loaders import planted_loader
from medgan_qa.controls.samplers import Independent
from medgan_qa.controls.stacks import Stacks
from medgan_qa.criteria import SENTINEL_AUDITS
from medgan_qa.criteria.expert_reading import ExpertReading, Reader, ReaderResult
from medgan_qa.engines import LocalEngine
from medgan_qa.subjects.card import Card
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import names, suite

COARSE = {"detectable": 0.6, "false_alarm": 0.05}
"""Parameters that let a small sample do; names do not depend on them."""


def discriminator() -> Subject:
    card = Card("means", "1", "discriminator", 1, 1, (0.0, 1.0), (0.0, 1.0))

    def brightness(images, seed):
        return images.mean(axis=(1, 2, 3), dtype=np.float32)

    return Subject(brightness, card, Path("means"), "control", "0" * 64, "cpu")


def experts(subject: Subject) -> ExpertReading:
    """Three readers who saw synthetic and real images and took them all."""
    results = tuple(ReaderResult(f"R{k}", 60, 60, 0, 0, 40, 60, 60, 30) for k in range(3))
    return ExpertReading(
        file="experts.toml",
        sha256="0" * 64,
        model_sha256=subject.sha256,
        question="Would you train on it?",
        protocol="RP-1",
        date="2026-03-01",
        readers=tuple(Reader(result.reader, "radiologist", 10.0) for result in results),
        synthetic=60,
        real=60,
        blinded=True,
        results=results,
    )


def named(cohort):
    """The same cohort with every column of the table that may name where a case comes from."""
    cohort.cases = tuple(
        replace(
            case,
            study=f"S-{case.patient_id}",
            volume=f"V-{case.patient_id}",
            site=case.partition,
            scanner=case.partition,
            acquired="2026-01-01" if case.partition == "test" else "2021-01-01",
        )
        for case in cohort.cases
    )
    return cohort


def partitioned(cohort, **shared):
    return SimpleNamespace(cohort=cohort, engine=LocalEngine(), seed=0, shared=shared)


def volumes_apart():
    return partitioned(named(Stacks(people=15, slices=3)))


def own_loader():
    cohort = BrainPhantoms(people=3)
    cohort.description = SimpleNamespace(augmentation="none")
    return partitioned(cohort, loader=planted_loader(cohort, "none"))


def independent():
    cohort = named(BrainSlices(people=20))
    declared = Independence(patients=True, test_acquired_after="2025-01-01", earlier_uses=0)
    cohort.description = SimpleNamespace(independence=declared)
    return partitioned(cohort, history=History(0))


PARTITIONED = {"HYG-001": volumes_apart, "HYG-004": own_loader, "HYG-006": independent}
"""Runs that hold what these audits may ask for: volumes, a loader, declarations and a ledger."""


@pytest.fixture(scope="module")
def made(sampled, classified, tmp_path_factory):
    """Names of the measurements of one audit, made on small data that hold every input."""
    digests = tmp_path_factory.mktemp("declared") / "generated.txt"
    digests.write_text("0" * 64 + "\n")
    given = {**COARSE, "declared": str(digests)}
    cohort = BrainPhantoms(people=12, size=48)
    reader = ThresholdDetector(0.56).subject()
    translator = replace(planted_translator(cohort, Faithful()), inverse=honest_pair(cohort).inverse)
    translation = TranslationRun(translator, cohort, reader, LocalEngine(), 0)
    whole = suite("translation")
    paired = {audit.code for audit in (*whole.audits, *whole.optional)}
    classification, calls = classified(people=20), {audit.code for audit in suite("discriminator").audits}

    @cache
    def synthesis() -> SynthesisRun:
        run = sampled(Independent(), people=60, samples=60, resamples=20)
        run.discriminator = discriminator()
        return run

    @cache
    def super_resolution() -> SuperResolutionRun:
        truths = BrainTruths(people=12)
        faithful = control_subject("faithful", "super-resolution", truths)
        return SuperResolutionRun(faithful, truths, reader, LocalEngine(), 0)

    @cache
    def augmentation() -> AugmentationRun:
        slices = BrainSlices(people=60)
        subject = control_subject("independent", "augmentation", slices)
        return AugmentationRun(subject, slices, None, LocalEngine(), 0, resamples=20, experts=experts(subject))

    def names_of(code):
        if code in PARTITIONED:
            run = PARTITIONED[code]()
        elif code[:3] == "HYG":
            run = augmentation()
        elif code in paired:
            run = translation
        elif code in calls:
            run = classification
        elif code in {audit.code for audit in suite("super-resolution").audits}:
            run = super_resolution()
        elif code[:3] == "UTL":
            run = augmentation()
        else:
            run = synthesis()
        parameters = AUDITS[code].parameters
        findings = AUDITS[code].run(run, parameters | {k: v for k, v in given.items() if k in parameters})
        assert not findings.missing, findings.missing
        assert not findings.not_applicable, findings.not_applicable
        return {e.measurement.id.split("[")[0] for e in findings.estimates}

    return names_of


@pytest.mark.parametrize("code", AUDITS)
def test_the_catalogue_names_what_an_audit_makes(made, code):
    assert AUDITS[code].measures
    assert made(code) == {f"{code}.{name}" for name in AUDITS[code].measures}


@pytest.mark.parametrize("name", names())
def test_default_criteria_name_measurements_that_are_made(name):
    audits = {audit.code: audit.measures for audit in (*suite(name).audits, *suite(name).optional)}
    for declared in suite(name).criteria.declared:
        code, _, measure = declared.measurement.split("[")[0].partition(".")
        assert measure in audits[code]


def test_sentinels_hang_on_measurements_that_are_made():
    for code, rule in SENTINEL_AUDITS.items():
        assert rule.headline.partition(".")[0] == code
        assert rule.headline.partition(".")[2] in AUDITS[code].measures
