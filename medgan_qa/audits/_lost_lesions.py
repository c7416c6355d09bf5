"""Lesions that an output keeps, and one of a perturbed input does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from medgan_qa.audits._passes import Answer, LesionRule, Sample, followed, marks, objection_to_reader, with_lesions
from medgan_qa.audits._perturbations import CODE, Perturbation, perturbed
from medgan_qa.audits.lesions import REMOVED, Lesion
from medgan_qa.audits.numbers import Noise, identifier, rate
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.criteria import Estimate


class Loss(NamedTuple):
    """A lesion that the clean output keeps, under one perturbation."""

    lesion: Lesion
    lost: bool
    """Removed from the output."""
    reader: bool
    """The detector does not find it in the perturbed real reference either."""


def losses_of(
    run: TranslationRun,
    sample: Sample,
    first: Sequence[Answer],
    again: Mapping[str, Sequence[Answer]],
    kinds: Sequence[Perturbation],
    how: LesionRule,
) -> list[Estimate]:
    """Rates of lesions that are lost, and that the detector loses in the real reference, by perturbation and under any.

    Args:
        run: the run.
        sample: the cases.
        first: what came out of the clean inputs, one a case.
        again: what came out under each perturbation, one a case.
        kinds: the perturbations.
        how: how lesions are followed.
    """
    void = objection_to_reader(run, CODE, how)
    losses: dict[str, list[Loss]] = {p.name: [] for p in kinds}
    if void is None:
        kept = {n: x for n, x in followed(run, sample, first, how).items() if x.status not in REMOVED}
        losses = {p.name: _lost(run, sample, kept, again[p.name], p, how) for p in kinds}
    over_all = _in_any(list(losses.values()))
    strata: list[tuple[str | None, list[Loss]]] = [(None, over_all), *losses.items()]
    return [
        *(_loss_rate(group, name, void) for name, group in strata),
        *(_reader_rate(group, name, void) for name, group in strata),
    ]


def _lost(
    run: TranslationRun,
    sample: Sample,
    kept: Mapping[str, Lesion],
    outputs: Sequence[Answer],
    p: Perturbation,
    how: LesionRule,
) -> list[Loss]:
    """Every kept lesion that could be followed under one perturbation."""
    after = _followed_back(run, sample, outputs, p, how)
    reference = _followed_back(run, sample, _perturbed_references(run, sample, p), p, how)
    return [
        Loss(lesion, after[name].status in REMOVED, not reference[name].found_output)
        for name, lesion in kept.items()
        if name in after and name in reference
    ]


def _perturbed_references(run: TranslationRun, sample: Sample, p: Perturbation) -> list[Answer]:
    """The real reference of each case under the perturbation, where it has one."""
    held = [(item, item.channels[1]) for item in sample.items if item.channels[1] is not None]
    changed = perturbed(run.seed, [item for item, _ in held], [image for _, image in held], p)
    at = {item.case.case_id: image for (item, _), image in zip(held, changed, strict=True)}
    return [at.get(case_id, "no reference") for case_id in sample.case_ids]


def _followed_back(
    run: TranslationRun, sample: Sample, outputs: Sequence[Answer], p: Perturbation, how: LesionRule
) -> dict[str, Lesion]:
    """Lesions in images that are read where they came out, and then moved back."""
    read = [None if m is None else p.undo(m) for m in marks(run, with_lesions(sample, outputs))]
    back = [o if isinstance(o, str) else p.undo(o) for o in outputs]
    return followed(run, sample, back, how, read)


def _in_any(by_kind: Sequence[Sequence[Loss]]) -> list[Loss]:
    """Each lesion once: lost, by model or by reader, under any of the perturbations."""
    merged: dict[str, Loss] = {}
    for loss in (x for group in by_kind for x in group):
        held = merged.get(loss.lesion.lesion_id, loss)
        merged[loss.lesion.lesion_id] = Loss(loss.lesion, loss.lost or held.lost, loss.reader or held.reader)
    return list(merged.values())


def _loss_rate(losses: Sequence[Loss], stratum: str | None, void: str | None) -> Estimate:
    people = [x.lesion.patient for x in losses]
    return rate(
        identifier(CODE, "lost_under_perturbation", stratum),
        "Lesions that are kept without and removed with a perturbation",
        [x.lost for x in losses],
        people,
        unit_of_analysis="lesion",
        stratum=stratum,
        noise=Noise([x.reader for x in losses], people),
        void=void,
        units=[x.lesion.lesion_id for x in losses],
    )


def _reader_rate(losses: Sequence[Loss], stratum: str | None, void: str | None) -> Estimate:
    return rate(
        identifier(CODE, "detector_lost_under_perturbation", stratum),
        "The same lesions, not found by the detector in the perturbed real reference",
        [x.reader for x in losses],
        [x.lesion.patient for x in losses],
        unit_of_analysis="lesion",
        better="none",
        stratum=stratum,
        void=void,
        units=[x.lesion.lesion_id for x in losses],
    )
