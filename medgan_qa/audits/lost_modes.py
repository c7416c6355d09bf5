"""COV-002: modes and declared subgroups that the samples leave out, by name."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.stats import fisher_exact

from medgan_qa.audits.catalogue import Findings
from medgan_qa.audits.exhibits import Pair, pairs
from medgan_qa.audits.mode_weights import bins_of, too_few
from medgan_qa.audits.numbers import count, identifier, plain
from medgan_qa.audits.subgroups import Attribute, attributes, composition, densest_third
from medgan_qa.audits.synthesis import SynthesisRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import DifferentBins, attribute_score, nearest_neighbors, prevalence, prevalence_replicates
from medgan_qa.record import Exhibit
from medgan_qa.stats import holm

CODE = "COV-002"
POWER = 0.95
"""Probability with which the loss of a whole group must be found for the group to count as looked at."""


BEYOND = 3.0
"""Standard errors beyond which a share is no share: the samples are no mixture of the levels."""


class Group(NamedTuple):
    """One mode or one level of an attribute, and what became of it."""

    name: str
    reference: float
    """Share among the test patients' images."""
    training: float | None
    """Share among the training images."""
    generated: float
    """Share among the samples, counted or read."""
    error: float
    """Standard error of the difference of generated and reference; 0 where a count was tested exactly."""
    p: float
    """Against the samples' share being the reference's or more."""
    readable: bool
    """Its complete loss would have been found."""
    is_mode: bool = False
    """A mode, whose images are counted; otherwise a level of an attribute, which is read."""


def lost_modes(
    run: SynthesisRun,
    *,
    modes: int = 20,
    lost_below: float = 0.5,
    alpha: float = 0.05,
    detectable: float = 0.1,
    neighbours: int = 5,
    exemplars: int = 8,
) -> Findings:
    """Lost modes and subgroups.

    Question. Which kinds of patients do the samples leave out?

    What it measures. Two things are compared between samples and test patients: the share of each mode (k-means cells
    of the training images), by count, and the share of each level of every declared attribute (site, the columns
    attr.NAME, lesion size from the masks; numbers in bands), read from the features: a linear score of the level is
    fitted on the training images and calibrated on the test images, whose levels are known. A mode or level is lost
    when its share among the samples is under half of the patients' (the parameter lost_below) and the difference is
    significant after Holm's correction over all modes and levels, with patients as the unit. A level whose complete
    loss would not have been found is listed as not readable, unless its loss is significant all the same. The
    composition of the training images stands beside it, with the third of each numeric attribute's range that holds
    most of them. Real images that no sample comes near are shown.

    Why it matters. A generator trained on patients of whom most are of one age gives patients of that age. Whatever is
    trained on its samples has then never seen the others, and fails on them first.

    Known limits. A level is read through what it changes in the image. What else differs between samples and real
    images can be read as a level: a generator that smooths looks like the site with the least noise. Where that drives
    a share above 1, or further below 0 than the patients' share, by three standard errors the level is not judged.
    Levels that leave no trace in the features cannot be judged either and are said so. A group that the training images
    lack as well is found by the composition table only.

    Method and source. Modes after Richardson and Weiss 2018; prevalence from scores after Forman 2008 (adjusted means);
    half samples by patient (Shao and Wu 1989); Holm 1979.
    """
    findings = Findings()
    findings.missing = too_few(run)
    if findings.missing:
        return findings
    bins = bins_of(run, run.primary, modes, alpha)
    least = _detectable(run, bins, alpha)
    if least > detectable:
        findings.missing = (
            f"With {len(set(run.reference.patients))} test patients and {len(run.sampled)} samples only the loss of a "
            f"mode of {least:.0%} or more would be found; {detectable:.0%} is asked for, so more of both are needed."
        )
        return findings
    assert run.train is not None
    declared = attributes(run.reference, run.train)
    groups = [*_modes(bins), *(g for pair in declared for g in _levels(run, *pair))]
    groups = [_looked_at(g, alpha / len(groups)) for g in groups]
    steps = holm([g.p for g in groups], alpha)
    lost = [
        g
        for g, step in zip(groups, steps, strict=True)
        if step.p_adjusted <= alpha and g.generated < lost_below * g.reference
    ]
    adjusted = [step.p_adjusted for step in steps]
    findings.estimates = _counts(run, groups, lost, least)
    findings.estimates += [_share(run, g) for g in groups if not g.is_mode]
    findings.exhibits.append(_table(groups, lost, adjusted))
    findings.notes = [*_said(groups, lost, least), *_dominant(declared)]
    _exemplars(run, findings, neighbours, exemplars)
    return findings


def _modes(bins: DifferentBins) -> list[Group]:
    found = []
    for k in range(bins.bins):
        # Two-sided p-values stand for the one-sided question in the asked direction: never too small.
        p = float(bins.p_values[k]) if bins.z[k] < 0 else 1.0
        found.append(
            Group(
                f"mode {k + 1}",
                float(bins.real_shares[k]),
                None,
                float(bins.generated_shares[k]),
                0.0,
                p,
                readable=True,
                is_mode=True,
            )
        )
    return found


def _detectable(run: SynthesisRun, bins: DifferentBins, alpha: float) -> float:
    """The smallest share of a mode whose complete loss is found with `POWER` after correction over the modes."""
    n = max(1, int(len(run.reference) / bins.design_effect))
    m = len(run.sampled)
    for hits in range(1, n + 1):
        if fisher_exact([[hits, n - hits], [0, m]]).pvalue <= alpha / bins.bins:
            return float(special.betaincinv(hits, n - hits + 1, POWER))
    return 1.0


def _looked_at(group: Group, alpha: float) -> Group:
    """Whether the group's complete loss would have been found with `POWER` at this error rate."""
    if group.is_mode:
        return group
    least = (special.ndtri(1 - alpha) + special.ndtri(POWER)) * group.error
    return group._replace(readable=group.readable and bool(group.reference > least))


def _levels(run: SynthesisRun, reference: Attribute, train: Attribute) -> list[Group]:
    """Every level of an attribute that both sets hold."""
    space = run.space()
    assert space.train is not None
    known = np.array([level is not None for level in reference.levels])
    fitted = np.array([level is not None for level in train.levels])
    there = sorted({*reference.levels} & {*train.levels} - {None}, key=str)
    shares = composition(train)
    found = []
    for level in there:
        is_level = np.array([one == level for one in reference.levels])[known]
        is_trained = np.array([one == level for one in train.levels])[fitted]
        if min(is_level.sum(), (~is_level).sum(), is_trained.sum(), (~is_trained).sum()) < 5:
            continue
        score, drawn = attribute_score(space.train[fitted], is_trained, space.reference[known], space.generated)
        found.append(_level(run, f"{reference.name} {level}", score, is_level, drawn, known, shares[str(level)]))
    return found


def _level(
    run: SynthesisRun,
    name: str,
    score: NDArray[np.float64],
    is_level: NDArray[np.bool_],
    drawn: NDArray[np.float64],
    known: NDArray[np.bool_],
    training: float,
) -> Group:
    read = prevalence(score, is_level, drawn)
    halves = run.halves
    replicates = prevalence_replicates(score, is_level, drawn, halves["reference"][:, known], halves["generated"])
    gaps = replicates[:, 0] - replicates[:, 1]
    gaps = gaps[np.isfinite(gaps)]
    error = float(gaps.std(ddof=1)) if gaps.size > 1 else math.inf
    z = (read.value - read.reference) / error if error > 0 else 0.0
    # A score that does not separate the level in the test images says nothing about the samples either, and one far
    # beyond the two means has left what it was calibrated on. A lost level reads a little below 0 now and then.
    outside = max(-read.value - read.reference, read.value - 1) > BEYOND * error
    usable = read.separation > 0 and error > 0 and not outside
    return Group(name, read.reference, training, read.value, error, float(special.ndtr(z)) if usable else 1.0, usable)


def _counts(run: SynthesisRun, groups: Sequence[Group], lost: Sequence[Group], least: float) -> list[Estimate]:
    n = len(run.sampled)

    def counted(name: str, label: str, value: int) -> Estimate:
        return count(identifier(CODE, name, None), label, value, n=n, unit_of_analysis="sample", better="lower")

    return [
        counted("lost_groups", "Modes and subgroups that are lost", len(lost)),
        counted("lost_modes", "Modes that are lost", sum(g.is_mode for g in lost)),
        counted("unreadable_groups", "Declared subgroups that cannot be read", sum(not g.readable for g in groups)),
        plain(
            identifier(CODE, "smallest_detectable", None),
            "Smallest mode whose loss would have been found (probability 95 %)",
            least,
            n=n,
            unit="fraction",
            unit_of_analysis="sample",
            better="lower",
        ),
    ]


def _share(run: SynthesisRun, group: Group) -> Estimate:
    reason = None if group.readable else "Not readable: its complete loss would not have been found."
    return plain(
        identifier(CODE, "share_ratio", group.name),
        "Share among samples over share among patients",
        group.generated / group.reference,
        n=len(run.sampled),
        unit="1",
        unit_of_analysis="sample",
        better="nearer_one",
        stratum=group.name,
        reason=reason,
    )


def _table(groups: Sequence[Group], lost: Sequence[Group], adjusted: Sequence[float]) -> Exhibit:
    rows = [
        [
            g.name,
            "-" if g.training is None else f"{100 * g.training:.1f} %",
            f"{100 * g.reference:.1f} %",
            f"{100 * g.generated:.1f} %" + (f" ± {100 * g.error:.1f}" if g.error else ""),
            f"{p:.2g}",
            "LOST" if g in lost else "" if g.readable else "not readable",
        ]
        for g, p in zip(groups, adjusted, strict=True)
    ]
    return Exhibit(
        id=f"{CODE}-groups",
        kind="counts",
        title="Share of each mode and subgroup",
        caption="Modes are counted; subgroups are read from the features and carry their standard error. p is against "
        "the samples' share being the patients' or more, after Holm's correction over all rows.",
        data={"columns": ["", "training", "test patients", "samples", "adjusted p", ""], "rows": rows},
    )


def _said(groups: Sequence[Group], lost: Sequence[Group], least: float) -> list[str]:
    said = [f"A mode of {least:.1%} or more that is lost altogether would have been found with probability 95 %."]
    said += [
        f"Lost: {g.name}, {g.reference:.1%} of the patients' images and {max(g.generated, 0):.1%} of the samples."
        for g in lost
    ]
    unread = [g.name for g in groups if not g.readable and g not in lost]
    if unread:
        said.append(f"Not readable from these features, so not judged: {', '.join(unread)}.")
    return said


def _dominant(declared: Sequence[tuple[Attribute, Attribute]]) -> list[str]:
    """What the training images are mostly of: a level, or a third of a number's range, that holds three in five."""
    said = []
    for _, train in declared:
        third = densest_third(train)
        if third is not None and third.share >= 0.6:
            said.append(
                f"{third.share:.0%} of the training images have {train.name} {third.low:g} to {third.high:g}, a third "
                f"of the range {third.least:g} to {third.most:g}."
            )
        level, share = next(iter(composition(train).items()))
        if third is None and share >= 0.6:
            said.append(f"{share:.0%} of the training images have {train.name} {level}.")
    return said


def _exemplars(run: SynthesisRun, findings: Findings, neighbours: int, shown: int) -> None:
    """Real test images that no sample comes near, beside the sample that comes nearest."""
    space = run.space()
    # Every image finds itself first.
    own = nearest_neighbors(space.reference, space.reference, neighbours + 1).distance[:, -1]
    nearest = nearest_neighbors(space.reference, space.generated, 1)
    ratio = nearest.distance[:, 0] / np.maximum(own, 1e-12)
    order = sorted(range(len(ratio)), key=lambda i: (-ratio[i], run.reference.names[i]))
    # One image a patient: two slices of one patient say the same.
    first = {run.reference.patients[i]: i for i in reversed(order)}
    chosen = sorted(first.values(), key=lambda i: -ratio[i])[:shown]
    findings.rows = [
        {
            "case_id": run.reference.names[i],
            "patient_id": run.reference.patients[i],
            "distance_to_samples_over_own_neighbours": round(float(ratio[i]), 3),
            "nearest_sample": run.generated.names[int(nearest.index[i, 0])],
        }
        for i in order
        if ratio[i] > 1
    ][:200]
    pairs(
        findings,
        f"{CODE}-exemplars",
        "Real images that no sample comes near",
        f"Test images with the largest distance to the nearest sample, in units of the distance to their own "
        f"{neighbours}th neighbour, one a patient.",
        [
            Pair(
                run.generated.grey[int(nearest.index[i, 0])],
                run.reference.grey[i],
                run.reference.names[i],
                run.reference.patients[i],
                f"{ratio[i]:.1f} times as far as the {neighbours}th neighbour",
                "worst",
            )
            for i in chosen
        ],
        ("nearest sample", "real image"),
    )
