"""Runs on more images than memory may take, and images that are no numbers: the same figures, and none at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from medgan_qa.audits.streaming import batches_of, is_constant, is_finite, loaded
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.synthesis import Pictures, SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.phantom import BrainPhantoms, BrainSlices, BrainTruths
from medgan_qa.controls import Erase, NotANumber, ThresholdDetector, planted_translator
from medgan_qa.controls.responses import Power, computing_translator
from medgan_qa.controls.samplers import Independent, planted_sampler
from medgan_qa.controls.super_resolvers import Truthful, planted_super_resolver
from medgan_qa.engines import LocalEngine, Streamed
from medgan_qa.engines.scratch import Shelf
from medgan_qa.errors import DatasetError
from medgan_qa.runner import RunResult, run_audit
from medgan_qa.subjects.protocols import Subject
from medgan_qa.suites import suite


class Watched(BrainPhantoms):
    """Remembers what was read."""

    def load(self, case: Any) -> Any:
        self.__dict__.setdefault("read", []).append(case.case_id)
        return super().load(case)


def numbers(result: RunResult) -> list[Any]:
    """Everything in a Record but for times."""
    return [
        [
            a.code,
            a.verdict,
            a.reason,
            a.notes,
            [m.model_dump() for m in a.measurements],
            [e.model_dump() for e in a.exhibits],
        ]
        for a in result.record.audits
    ]


def audited(name: str, codes: tuple[str, ...], subject: Subject, cohort: Any, **more: Any) -> RunResult:
    whole = suite(name)
    lean = replace(
        whole,
        audits=tuple(audit for audit in whole.audits if audit.code in codes),
        criteria=replace(whole.criteria, declared=(), parameters={}),
    )
    return run_audit(subject, cohort, lean, lean.criteria, engine=LocalEngine(), **{"detector": None, **more})


class TestHelpers:
    def test_batches_are_made_as_they_are_asked_for(self):
        made: list[int] = []

        def items() -> Iterator[int]:
            for k in range(7):
                made.append(k)
                yield k

        batches = batches_of(items(), 7, 3)
        assert len(batches) == 3
        first = iter(batches)
        assert next(first) == [0, 1, 2]
        assert made == [0, 1, 2]
        assert list(first) == [[3, 4, 5], [6]]

    def test_an_engine_takes_them_one_by_one(self):
        told: list[Any] = []
        engine = LocalEngine(lambda *what: told.append(what))
        assert engine.map(lambda k: k * k, Streamed(iter(range(3)), 3), label="Squaring") == [0, 1, 4]
        assert told == [("Squaring", 1, 3), ("Squaring", 2, 3), ("Squaring", 3, 3)]

    def test_cases_come_in_order(self):
        cohort = BrainPhantoms(people=3, size=32)
        assert [case for case, _ in loaded(cohort, cohort.cases)] == list(cohort.cases)

    def test_images_are_judged_one_by_one(self):
        images = np.zeros((130, 1, 4, 4), np.float32)
        images[100, 0, 2, 2] = np.inf
        images[5, 0, 0, 1] = 1.0
        assert np.flatnonzero(~is_finite(images)).tolist() == [100]
        assert np.flatnonzero(~is_constant(images)).tolist() == [5, 100]
        assert is_finite(images[:0]).shape == (0,)


class TestBeyondTheBudget:
    def test_a_translation_run_measures_the_same_from_disk(self, monkeypatch, kept):
        cohort, codes = kept(people=12), ("PAT-001", "PAT-003", "FID-010")
        subject, detector = planted_translator(cohort, Erase(dose=0.5)), ThresholdDetector(0.56).subject()
        results = []
        for megabytes in ("1000", "0.2"):
            monkeypatch.setenv("MEDGAN_QA_MEMORY_MB", megabytes)
            results.append(audited("translation", codes, subject, cohort, detector=detector))
        assert numbers(results[1]) == numbers(results[0])
        assert results[1].rows == results[0].rows
        assert results[0].record.audits[0].measurements

    def test_a_synthesis_run_measures_the_same_from_disk(self, monkeypatch):
        cohort = BrainSlices(people=50, size=32)
        subject, codes = planted_sampler(cohort, Independent()), ("FID-002",)
        results = []
        for megabytes in ("1000", "0"):
            monkeypatch.setenv("MEDGAN_QA_MEMORY_MB", megabytes)
            results.append(audited("synthesis", codes, subject, cohort, options={"resamples": 20, "store": None}))
        assert numbers(results[1]) == numbers(results[0])
        assert results[0].record.audits[0].measurements

    def test_images_are_where_they_belong(self, monkeypatch):
        monkeypatch.setenv("MEDGAN_QA_MEMORY_MB", "0")
        cohort = BrainPhantoms(people=3, size=32)
        run = TranslationRun(computing_translator(Power(1.0)), cohort, ThresholdDetector().subject(), LocalEngine(), 0)
        held = [a for i in run.items for a in (i.source, i.output, i.reference, i.lesion, i.body) if a is not None]
        held += [a for reading in run.readings.values() for a in (reading.reference, reading.output)]
        assert not any(array.flags.writeable for array in held)
        assert run.shelf.in_memory == 0

    def test_every_case_is_read_once_and_in_order(self):
        cohort = Watched(people=20, size=32)
        run = TranslationRun(computing_translator(Power(1.0)), cohort, None, LocalEngine(), 0)
        assert [item.case for item in run.items] == list(run.cases)
        assert sorted(cohort.__dict__["read"]) == sorted(case.case_id for case in run.cases)

    def test_cases_that_turn_out_unreadable_later_are_not_run(self):
        cohort = BrainPhantoms(people=4, size=32)
        run = TranslationRun(computing_translator(Power(1.0)), cohort, None, LocalEngine(), 0)
        first = run.cases[0]
        cohort.__dict__["cases"] = tuple(case for case in cohort.cases if case != first)
        assert first not in run.cases
        assert first not in [item.case for item in run.items]

    def test_colour_is_averaged_in_parts(self):
        images = np.random.default_rng(0).random((150, 3, 6, 6), dtype=np.float32)
        names = tuple(map(str, range(150)))
        plain, parted = Pictures(images, names, names), Pictures(images, names, names, shelf=Shelf(0))
        assert np.array_equal(parted.grey, plain.grey)
        index = np.array([3, 149, 0])
        assert np.array_equal(parted.take(index).images, plain.take(index).images)
        assert parted.take(index).shelf is parted.shelf

    def test_images_of_several_sizes_are_still_counted(self, altered):
        cohort = BrainSlices(people=8, size=32)

        def cropped(case: Any, images: Any) -> Any:
            side = 32 - 4 * (int(case.case_id[-1], 16) % 3)
            return replace(images, image=images.image[:, :side])

        run = SynthesisRun(planted_sampler(cohort, Independent()), altered(cohort, cropped), None, LocalEngine(), 0)
        with pytest.raises(DatasetError, match="differ in size") as caught:
            _ = run.reference
        sizes = {cropped(c, cohort.load(c)).image.shape for c in cohort.cases if c.partition == "test"}
        assert caught.value.found.startswith(f"{len(sizes)} sizes")


class Broken:
    """A network that breaks some of what it makes."""

    def __init__(self, network: Any, broken: set[int], value: float) -> None:
        self.network, self.broken, self.value, self.seen, self.calls = network, broken, value, 0, 0

    def __call__(self, x: Any, seed: int) -> Any:
        y = np.array(self.network(x, seed), dtype=np.float32)
        self.calls += 1
        for k in range(len(y)):
            if self.seen + k in self.broken:
                y[k].flat[-1] = self.value
        self.seen += len(y)
        return y


class TestNotNumbers:
    def reasons(self, result: RunResult) -> set[str]:
        assert {a.verdict for a in result.record.audits} == {"error"}
        assert not any(a.measurements for a in result.record.audits)
        return {a.reason for a in result.record.audits}

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_a_translators_are_counted_and_named_and_it_runs_once(self, value):
        cohort = BrainPhantoms(people=6, size=32)
        names = [case.case_id for case in cohort.cases]
        good = computing_translator(Power(1.0))
        network = Broken(good.network, {1, 4, 10}, value)
        # The dry run takes the first image.
        network.seen = -1
        result = audited("translation", ("FID-010", "GEO-001"), replace(good, network=network), cohort)
        (reason,) = self.reasons(result)
        assert f"NaN or infinity in 3 of {len(names)} images" in reason
        assert f"first in {names[1]}, {names[4]}, {names[10]}" in reason
        assert any("NaN or infinity in 3 of" in text for text in result.record.deviations)
        assert network.calls == 1 + -(-len(names) // 16)

    def test_a_detectors_are_counted_and_named(self):
        cohort = BrainPhantoms(people=6, size=32)
        names = [case.case_id for case in cohort.cases]
        good = ThresholdDetector(0.56).subject()
        network = Broken(good.network, {2 * 3, 2 * 5 + 1}, np.nan)
        network.seen = -1
        result = audited(
            "translation", ("PAT-001", "PAT-002"), computing_translator(Power(1.0)), cohort,
            detector=replace(good, network=network),
        )  # fmt: skip
        (reason,) = self.reasons(result)
        assert f"The detector returned NaN or infinity in 2 of {len(names)} cases" in reason
        assert f"first in {names[3]}, {names[5]}" in reason

    def test_a_samplers_are_counted_and_named(self):
        cohort = BrainSlices(people=40, size=32)
        good = planted_sampler(cohort, Independent())
        network = Broken(good.network, {64 + 3, 64 + 7}, np.nan)
        result = audited(
            "synthesis", ("FID-001",), replace(good, network=network), cohort,
            options={"resamples": 20, "store": None, "samples": 40},
        )  # fmt: skip
        (reason,) = self.reasons(result)
        assert "NaN or infinity in 2 of 40 images" in reason
        assert "first in sample-00003, sample-00007" in reason

    def test_a_super_resolvers_are_counted_and_named(self):
        cohort = BrainTruths(people=3, size=48)
        good = planted_super_resolver(cohort, Truthful(0.0))
        run = SuperResolutionRun(
            replace(good, network=Broken(good.network, {0, 2}, np.nan)), cohort, None, LocalEngine(), 0
        )
        with pytest.raises(Exception, match=r"NaN or infinity in 2 of") as caught:
            _ = run.items
        assert caught.value.found.startswith(f"first in {run.cases[0].case_id}, {run.cases[2].case_id}")

    def test_one_case_in_ten_is_no_average_over_the_others(self):
        cohort = BrainPhantoms(people=10, size=32)
        result = audited("translation", ("FID-010",), planted_translator(cohort, NotANumber(dose=0.1)), cohort)
        assert result.record.verdict == "error"
