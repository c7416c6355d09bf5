"""MEM-002: one half for fresh patients, more for samples that lean on the training patients."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from medgan_qa import rng
from medgan_qa.audits.catalogue import HEADINGS, Audit, Findings
from medgan_qa.audits.synthesis import Pictures, Space, SynthesisRun
from medgan_qa.audits.systematic_closeness import systematic_closeness
from medgan_qa.cohorts.phantom import BrainSlices
from medgan_qa.controls.samplers import Independent, Plan, World, planted_sampler
from medgan_qa.engines import LocalEngine
from medgan_qa.metrics.data_copying import training_share

Float = np.ndarray


@dataclass(frozen=True)
class Leaning:
    """Every sample part fresh patient, part training patient; none of them is a copy."""

    weight: float = 0.75
    name: str = "leaning"

    def draw(self, world: World, g: np.random.Generator) -> Float:
        fresh, chosen = world.fresh(g), world.training[int(g.integers(len(world.training)))]
        known = world.training_images(chosen).image[0]
        return (fresh + np.float32(self.weight) * (known - fresh)).astype(np.float32)


class Given:
    """A run of features that are given: only what the audit reads."""

    extractors, primary, resamples, seed = ("given",), "given", 100, 0

    def __init__(self, train: Float, reference: Float, generated: Float, per_patient: int = 1) -> None:
        self._space = Space("given", {}, reference, generated, train, ())
        self.train, self.reference = (_pictures(len(x), per_patient) for x in (train, reference))
        self.sampled = self.generated = _pictures(len(generated), 1)
        generator = rng.child(0, "halves")
        self.halves = {"generated": generator.random((100, len(generated))) < 0.5}

    def space(self, name: str) -> Space:
        return self._space


def _pictures(n: int, per_patient: int) -> Pictures:
    names = tuple(f"patient-{k // per_patient}" for k in range(n))
    return Pictures(np.zeros((n, 1, 1, 1), np.float32), names, names)


def drawn(seed: int, *shape: int) -> Float:
    return rng.child(seed, "features").standard_normal(shape).astype(np.float32)


@cache
def audited(plan: Plan) -> Findings:
    cohort = BrainSlices(people=60)
    run = SynthesisRun(planted_sampler(cohort, plan), cohort, None, LocalEngine(), 0, extractors=("pixels",))
    return systematic_closeness(run, permutations=999)


def value(findings: Findings, name: str) -> Any:
    return next(e for e in findings.estimates if e.measurement.id == f"MEM-002.{name}").measurement


def test_fresh_patients_are_nearer_to_neither() -> None:
    share = value(audited(Independent()), "train_share")
    assert share.interval.low < 0.5 < share.interval.high
    assert share.clusters == 60
    assert value(audited(Independent()), "exact_p").value > 0.05
    assert abs(value(audited(Independent()), "data_copying_z[pixels]").value) < 3


def test_samples_that_lean_on_training_patients_are_found() -> None:
    findings = audited(Leaning())
    share = value(findings, "train_share")
    assert share.value > 0.6
    assert share.interval.low > 0.5
    assert value(findings, "exact_p").value < 0.01
    assert (
        value(findings, "data_copying_z[pixels]").value < value(audited(Independent()), "data_copying_z[pixels]").value
    )


def test_the_share_is_that_of_the_metric() -> None:
    train, held_out, generated = drawn(1, 80, 3), drawn(2, 120, 3), drawn(3, 90, 3)
    run = Given(train, held_out, generated)
    other = training_share(
        train,
        held_out,
        generated,
        train_clusters=run.train.patients,
        held_out_clusters=[f"test {p}" for p in run.reference.patients],
    )
    findings = systematic_closeness(run, permutations=99)
    assert findings.notes[0].startswith("80 training images against as many")
    # The larger set is cut at random, so the two agree in how far a share of this size can differ.
    assert value(findings, "train_share").value == pytest.approx(other.train / 90, abs=0.1)


def test_ties_count_half() -> None:
    points = drawn(1, 60, 4)
    share = value(systematic_closeness(Given(points, points, drawn(2, 50, 4)), permutations=99), "train_share")
    assert share.value == 0.5


@pytest.mark.parametrize("sampled_from", ["train", "reference"])
def test_exact_images_of_one_side_are_nearest_to_it(sampled_from: str) -> None:
    sets = {"train": drawn(1, 60, 4), "reference": drawn(2, 60, 4)}
    findings = systematic_closeness(Given(sets["train"], sets["reference"], sets[sampled_from]), permutations=199)
    assert value(findings, "train_share").value == (1.0 if sampled_from == "train" else 0.0)
    assert value(findings, "exact_p").value == pytest.approx(1 / 200 if sampled_from == "train" else 1.0)


def test_p_values_are_uniform_where_nothing_was_memorized() -> None:
    def p(seed: int) -> float:
        sets = [np.repeat(drawn(seed + 1000 * k, 50, 3), 2, axis=0) for k in range(2)]
        jitter = 0.05 * drawn(seed + 5000, 200, 3)
        run = Given(sets[0] + jitter[:100], sets[1] + jitter[100:], drawn(seed + 9000, 60, 3), per_patient=2)
        return float(value(systematic_closeness(run, permutations=99), "exact_p").value)

    values = np.array([p(seed) for seed in range(60)])
    assert (values <= 0.1).mean() <= 0.1 + 3 * np.sqrt(0.09 / 60)
    assert 0.3 < values.mean() < 0.7


def test_copies_and_spread_samples_cancel_in_c_t_but_not_in_the_share() -> None:
    train, held_out = drawn(1, 400, 8), drawn(2, 400, 8)
    generated = np.concatenate([train[:120], 1.25 * drawn(3, 280, 8)])
    findings = systematic_closeness(Given(train, held_out, generated), permutations=199)
    statistic = value(findings, "data_copying_z[given]")
    assert statistic.value > -3
    assert "cancels" in statistic.reason
    assert value(findings, "exact_p").value < 0.01


def test_small_sets_are_inconclusive() -> None:
    findings = systematic_closeness(Given(drawn(1, 60, 4), drawn(2, 39, 4), drawn(3, 60, 4)))
    assert findings.missing is not None
    assert "39 test patients" in findings.missing
    assert findings.estimates == []


def test_without_a_train_partition_it_is_inconclusive() -> None:
    run = Given(drawn(1, 60, 4), drawn(2, 60, 4), drawn(3, 60, 4))
    run.train = None  # type: ignore[assignment]
    assert "no train partition" in str(systematic_closeness(run).missing)


def test_images_that_are_all_the_same_are_nearer_to_neither_and_c_t_is_nought() -> None:
    same = np.zeros((60, 4), np.float32)
    findings = systematic_closeness(Given(same, same, same), permutations=19, cells=1)
    assert value(findings, "train_share").value == 0.5
    assert value(findings, "data_copying_z[given]").value == 0


def test_c_t_that_cannot_be_had_says_why() -> None:
    run = Given(drawn(1, 45, 4), drawn(2, 45, 4), drawn(3, 45, 4))
    statistic = value(systematic_closeness(run, permutations=19, cells=12), "data_copying_z[given]")
    assert statistic.value is None
    assert "no cell holds 20" in statistic.reason


def test_the_docstring_has_the_headings_in_order() -> None:
    document = Audit("MEM-002", "", systematic_closeness).document
    places = [document.index(f"\n\n{heading}") for heading in HEADINGS]
    assert places == sorted(places)
