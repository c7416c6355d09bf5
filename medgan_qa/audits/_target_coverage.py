"""Outputs of a translation as samples of the target domain, a part of COV-010."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.mode_coverage import REAL, near
from medgan_qa.audits.numbers import identifier, plain, resampled
from medgan_qa.audits.synthesis import Bool, Float, Pictures, SynthesisRun
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.cohorts.cohort import Case, subset
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import clipped_density_coverage_of, density_coverage_of, expected_coverage, neighbourhood
from medgan_qa.metrics.neighbours import KEEP_FOR_HALVES, Neighbourhood
from medgan_qa.stats import draw_halves

CODE = "COV-010"
RESAMPLES = 200
KINDS = (
    ("clipped_coverage", "Clipped coverage of the target domain"),
    ("clipped_density", "Clipped density in the target domain"),
    ("coverage", "Coverage of the target domain"),
    ("density", "Density in the target domain"),
)
SHARE = "coverage"
"""The one of them that is a share of the images."""
EXTRACTORS = ("pixels", "radiomic")
"""Where things are and how bright; and texture, which sees a blur or a noise of one grey level too."""


class _Domain(SynthesisRun):
    """Outputs as the samples, real target images as the population."""

    def __init__(self, run: TranslationRun, real: Pictures, outputs: Pictures) -> None:
        super().__init__(run.subject, run.cohort, None, run.engine, run.seed, extractors=EXTRACTORS)
        self.__dict__.update(reference=real, sampled=outputs, train=None)


def target_coverage(run: TranslationRun, findings: Findings, k: int, most_real: int) -> None:
    """Add coverage and density of the outputs among real target images, real against real beside them.

    A patient's output lies near to his own target whatever the model does to others. Every value is therefore a mean
    over random splits of the patients, of whom one half gives the real images and the other half the outputs. Values
    outside the declared range count as its ends: what stores the images would cut them there.

    Args:
        run: the run.
        findings: what is added to.
        k: which neighbour sets the radius of a ball.
        most_real: real images at most, those of the test partition first.
    """
    real, outputs = _real(run, most_real), _stacked([i.channels[0] for i in run.items], [i.case for i in run.items])
    reason = _no_coverage(real, outputs, 4 * (k + 1))
    if reason is not None:
        strata = [stratum for name in EXTRACTORS for stratum in (name, f"{name}, {REAL}")]
        findings.estimates += [_nothing(*kind, s, len(outputs), reason) for kind in KINDS for s in strata]
        return
    domain = _Domain(run, real, outputs)
    drawn = draw_halves([*real.patients, *outputs.patients], RESAMPLES, rng.child(run.seed, "halves", CODE))
    ours, theirs = drawn[:, : len(real)], ~drawn[:, len(real) :]
    found: list[Estimate] = []
    for name in EXTRACTORS:
        features = domain.space(name).reference
        among = neighbourhood(features, features, keep=KEEP_FOR_HALVES)
        found += _estimates(_replicates(near(domain, name), ours, theirs, k), name, real, outputs)
        found += _estimates(_replicates(among, ours, ~ours, k), f"{name}, {REAL}", real, real)
    findings.estimates += found
    trained = sum(case.partition == "train" for case in real.cases)
    expected = expected_coverage(len(real) // 2, len(outputs) // 2, k)
    findings.notes.append(
        f"{len(outputs)} outputs against {len(real)} real target images ({trained} of them of the train partition), "
        f"{RESAMPLES} splits of the patients. The coverage expected of images of the same population is {expected:.3f}."
    )
    findings.exhibits.append(
        forest(
            f"{CODE}-coverage",
            "Coverage of the target domain",
            "Outputs against real target images of other patients, and real against real images. Ends are one-sided "
            "95 % bounds from half samples by patient.",
            found,
            x=(0.0, 1.5),
            label=lambda m: f"{m.label}, {m.stratum}",
        )
    )


def _real(run: TranslationRun, most: int) -> Pictures:
    """Targets of the test cases, then those of training patients drawn by the seed until there are `most`."""
    cases = [item.case for item in run.paired]
    images: list[Any] = [item.channels[1] for item in run.paired]
    train = [case for case in subset(run.cohort.cases, "train") if case.has_target]
    people = sorted({case.patient_id for case in train})
    rank = {people[i]: k for k, i in enumerate(rng.child(run.seed, "real targets").permutation(len(people)))}
    chosen = sorted(train, key=lambda case: rank[case.patient_id])[: max(0, most - len(cases))]
    loaded = run.engine.map(run.cohort.load, chosen, label="Reading real target images")
    return _stacked([*images, *(one.target for one in loaded)], [*cases, *chosen])


def _stacked(images: Sequence[Any], cases: Sequence[Case]) -> Pictures:
    """Images of several sizes make no array and are left without pixels."""
    alike = len({image.shape for image in images}) == 1
    array: Float = np.stack(images).clip(0, 1) if alike else np.zeros((len(images), 0, 0, 0), np.float32)
    return Pictures(array, tuple(c.case_id for c in cases), tuple(c.patient_id for c in cases), tuple(cases))


def _no_coverage(real: Pictures, outputs: Pictures, least: int) -> str | None:
    shapes = {real.images.shape[1:], outputs.images.shape[1:]}
    people = [len(set(side.patients)) for side in (real, outputs)]
    if min(people) < least:
        return f"Real target images of {people[0]} patients, outputs of {people[1]}; {least} of each are needed."
    if len(shapes) > 1 or 0 in next(iter(shapes)):
        return "The images differ in size or channels, and are compared image with image."
    return None


def _nothing(name: str, label: str, stratum: str, n: int, reason: str) -> Estimate:
    return plain(
        identifier(CODE, name, stratum),
        label,
        None,
        n=n,
        unit="fraction" if name == SHARE else "1",
        unit_of_analysis="image",
        better="higher",
        stratum=stratum,
        reason=reason,
    )


def _replicates(pairs: Neighbourhood, real: Bool, others: Bool, k: int) -> dict[str, NDArray[np.float64]]:
    """(B,) of every kind, one a split."""
    clipped, plainly = (f(pairs, real, others, k=k) for f in (clipped_density_coverage_of, density_coverage_of))
    return {
        "clipped_coverage": clipped.coverage,
        "clipped_density": clipped.density,
        "coverage": plainly.coverage,
        "density": plainly.density,
    }


def _estimates(
    replicates: dict[str, NDArray[np.float64]], stratum: str, real: Pictures, others: Pictures
) -> list[Estimate]:
    return [
        resampled(
            identifier(CODE, name, stratum),
            label,
            float(replicates[name].mean()),
            replicates[name],
            clusters=min(len(set(side.patients)) for side in (real, others)),
            n=len(real) if name == SHARE else len(others),
            unit="fraction" if name == SHARE else "1",
            unit_of_analysis="image",
            better="higher",
            stratum=stratum,
            share=name == SHARE,
        )
        for name, label in KINDS
    ]
