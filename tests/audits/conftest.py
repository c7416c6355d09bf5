"""Phantom cohorts that tests share, and one way each to audit a planted translator and a planted sampler on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.classification import ClassificationRun
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.cohort import Case, CaseImages, Cohort
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices
from medgan_qa.cohorts.tokens import TokenCohort
from medgan_qa.controls import Defect, ThresholdDetector, planted_translator
from medgan_qa.controls.classifiers import Faithful as FaithfulClassifier
from medgan_qa.controls.classifiers import planted_classifier
from medgan_qa.controls.responses import Response, computing_translator
from medgan_qa.controls.samplers import Independent, Plan, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.features.store import FeatureStore
from medgan_qa.record import AuditResult, Measurement
from medgan_qa.runner import RunResult, run_audit
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import suite

Audited = Callable[..., RunResult]


@cache
def _cohort(people: int) -> BrainPhantoms:
    return BrainPhantoms(people=people)


@cache
def _audited(defect: Defect, people: int, level: float | None, seed: int) -> RunResult:
    cohort, whole = _cohort(people), suite("translation")
    # The four first audits and their criteria are what these tests speak of.
    criteria = replace(whole.criteria, declared=whole.criteria.declared[:3])
    translation = replace(whole, audits=whole.audits[:4], criteria=criteria)
    detector = None if level is None else ThresholdDetector(level).subject()
    subject = planted_translator(cohort, defect)
    return run_audit(
        subject, cohort, translation, translation.criteria, detector=detector, engine=LocalEngine(), seed=seed
    )


@pytest.fixture
def audited() -> Audited:
    """Run the translation suite on a planted translator; `level=None` gives it no detector."""

    def run(defect: Defect, people: int = 60, level: float | None = 0.56, seed: int = 0) -> RunResult:
        return _audited(defect, people, level, seed)

    return run


@pytest.fixture
def cohort() -> Callable[[int], BrainPhantoms]:
    """The shared cohort of so many patients."""
    return _cohort


@pytest.fixture
def audit_of() -> Callable[[RunResult, str], AuditResult]:
    """One audit's result."""
    return lambda result, code: next(a for a in result.record.audits if a.code == code)


@pytest.fixture
def measured() -> Callable[[RunResult, str], Measurement]:
    """A measurement by its id."""

    def find(result: RunResult, measurement_id: str) -> Measurement:
        every = [m for audit in result.record.audits for m in audit.measurements]
        return next(m for m in every if m.id == measurement_id)

    return find


@pytest.fixture
def blind() -> Subject:
    """A detector that never marks anything."""
    return ThresholdDetector(level=99.0).subject()


class Kept(BrainPhantoms):
    """Rendered once."""

    def load(self, case: Case) -> CaseImages:
        held: dict[str, CaseImages] = self.__dict__.setdefault("held", {})
        if case.case_id not in held:
            held[case.case_id] = super().load(case)
        return held[case.case_id]


@cache
def _kept(source: str, people: int, size: int) -> Kept:
    return Kept(source, "FLAIR", people=people, size=size)


@pytest.fixture(scope="session")
def kept() -> Callable[..., BrainPhantoms]:
    """A cohort that is rendered once; from FLAIR to FLAIR an identity is faithful, and the detector can read."""
    return lambda source="FLAIR", people=40, size=48: _kept(source, people, size)


@pytest.fixture(scope="session")
def run_of(kept: Callable[..., BrainPhantoms]) -> Callable[..., TranslationRun]:
    """A run of a translator that computes its response, or of a given subject, on such a cohort."""

    def run(response: Response | Subject, seed: int = 0, *, detector: bool = True, **cohort: Any) -> TranslationRun:
        subject = response if isinstance(response, Subject) else computing_translator(response)
        reader = ThresholdDetector().subject() if detector else None
        return TranslationRun(subject, kept(**cohort), reader, LocalEngine(), seed)

    return run


class Altered:
    """A cohort with its images changed, with other cases, or with another declaration."""

    def __init__(
        self, cohort: Cohort, change: Callable[[Case, CaseImages], CaseImages] | None = None, **facts: Any
    ) -> None:
        self._cohort, self._change = cohort, change
        self.__dict__.update(facts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cohort, name)

    def load(self, case: Case) -> CaseImages:
        images = self._cohort.load(case)
        return images if self._change is None else self._change(case, images)


@pytest.fixture(scope="session")
def altered() -> type[Altered]:
    """Makes another cohort of one."""
    return Altered


@pytest.fixture(scope="session")
def unpaired() -> Callable[[Cohort], Altered]:
    """A cohort without its references."""

    def without(cohort: Cohort) -> Altered:
        cases = tuple(replace(case, has_target=False) for case in cohort.cases)
        return Altered(cohort, lambda case, images: replace(images, target=None), cases=cases)

    return without


Sampled = Callable[..., SynthesisRun]


@pytest.fixture(scope="session")
def sampled(tmp_path_factory: pytest.TempPathFactory) -> Sampled:
    """A run of a planted sampler on brain slices; real images are read once, and features computed once."""
    store = FeatureStore(tmp_path_factory.mktemp("features"))

    @cache
    def real(people: int, modes: bool) -> tuple[BrainSlices, Pictures, Pictures | None]:
        cohort = BrainSlices(people=people, modes=modes)
        run = SynthesisRun(planted_sampler(cohort, Independent()), cohort, None, LocalEngine(), 0)
        return cohort, run.reference, run.train

    @cache
    def run(
        plan: Plan, people: int = 150, modes: bool = False, train: bool = True, seed: int = 0, **options: Any
    ) -> SynthesisRun:
        cohort, reference, training = real(people, modes)
        options = {"extractors": ("radiomic",), "resamples": 100, "store": store, **options}
        given = cohort if train else Altered(cohort, cases=tuple(c for c in cohort.cases if c.partition == "test"))
        made = SynthesisRun(planted_sampler(cohort, plan), given, None, LocalEngine(), seed, **options)
        made.__dict__.update(reference=reference, **({"train": training} if train else {}))
        return made

    return run


@pytest.fixture(scope="session")
def value_of() -> Callable[[Findings, str], Measurement]:
    """A measurement of an audit that was run by itself, by its id."""

    def find(findings: Findings, measurement_id: str) -> Measurement:
        return next(e.measurement for e in findings.estimates if e.measurement.id == measurement_id)

    return find


Classified = Callable[..., ClassificationRun]


class _Kept(BrainSlices):
    """Slices that are rendered once."""

    def load(self, case: Case) -> CaseImages:
        held = self.__dict__.setdefault("held", {})
        if case.case_id not in held:
            held[case.case_id] = super().load(case)
        return held[case.case_id]


@pytest.fixture(scope="session")
def slices() -> Callable[..., Any]:
    """Brain slices, half of them with a lesion, rendered once; with a token in the corner where asked."""

    @cache
    def plain(people: int) -> _Kept:
        return _Kept(people=people)

    @cache
    def cohort(people: int = 100, token: bool = False) -> Any:
        return TokenCohort(plain(people)) if token else plain(people)

    return cohort


@pytest.fixture(scope="session")
def classified(slices: Callable[..., Any]) -> Classified:
    """A run of a planted classifier on them; `subject` takes the place of one that is made here."""

    def run(
        classifier: Any = None,
        people: int = 100,
        token: bool = False,
        seed: int = 0,
        subject: Subject | None = None,
        comparator: Subject | None = None,
        **card: Any,
    ) -> ClassificationRun:
        cohort = slices(people, token)
        made = subject or planted_classifier(classifier or FaithfulClassifier(), **card)
        return ClassificationRun(made, cohort, None, LocalEngine(), seed, comparator=comparator)

    return run
