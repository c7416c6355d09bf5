"""ROB-001: outputs that change although the input does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medgan_qa.audits._pass_differences import ALIKE, Difference, advice, cause_of, compared_with, tally
from medgan_qa.audits._passes import (
    Answer,
    LesionRule,
    Sample,
    answers,
    followed,
    not_sampled,
    objection_to_reader,
    on_other_device,
    rows_of,
    sampled,
)
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pair, forest, pairs
from medgan_qa.audits.lesions import Lesion, matching_rule
from medgan_qa.audits.numbers import identifier, median, plain, rate
from medgan_qa.audits.run import grey
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.criteria import Estimate

CODE = "ROB-001"


def unrepeatable_output(
    run: TranslationRun,
    *,
    cases: int = 64,
    tolerance: float = 1 / 255,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_lesion_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    shown: int = 6,
) -> Findings:
    """Outputs that change although the input does not.

    Question. Does the model give the same output when it is given the same image again?

    What it measures. Cases drawn by patient are passed through the model again: in the same batches with the same seed,
    with another seed, each image alone, and on the other device (CPU or CUDA) where there is one and the model can be
    loaded on it. Compared with a first pass, the largest and the root mean square difference over the body are taken.
    The changed rate is the share of cases whose largest difference exceeds `tolerance`, by default one step of an 8-bit
    image, in any pass and by pass. With a detector, the share of lesions whose fate (as in PAT-001) differs between
    passes. The row of each case names the cause: not deterministic, draws random numbers, batch-dependent,
    device-dependent.

    Why it matters. An output that depends on a seed, or on who else was in the batch, is not the output that was
    validated. A lesion that is there in one pass and gone in the next was never measured. Batch normalization left in
    training mode makes a patient's image depend on other patients'.

    Known limits. Rare events need many passes: each case is passed four or five times, not thousands. A model that
    draws random numbers by design is flagged; whether that is acceptable is for the criteria to say. For a model that
    draws noise, dependence on the batch is looked for by exchanging every second image under the same seed; for one
    that is not deterministic it cannot be told. Other versions of libraries and other machines are not covered.

    Method and source. Repeatability as in ISO 5725-1 (same method, same item, short interval), on images; exact bounds
    by patient as PAT-001. PyTorch notes on reproducibility: results need not agree between devices and batch sizes,
    which is why differences below `tolerance` are printed and not counted.
    """
    findings = Findings()
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    how = LesionRule(rule, min_lesion_pixels, detector_sensitivity_min, detector_false_alarm_max)
    sample = sampled(run, CODE, cases)
    passes = _passes(run, sample, findings.notes)
    first = passes.pop("first pass")
    compared = {name: compared_with(first, outputs, sample) for name, outputs in passes.items()}
    if _needs_companions(compared, tolerance):
        passes["other companions"] = _other_companions(run, sample)
        compared["other companions"] = compared_with(first, passes["other companions"], sample)
    # What a model draws may miss an image in one pass and hit it in the next, so this is asked of the model as a whole.
    draws = any(d.beyond(tolerance) for d in compared["other seed"])
    causes = [cause_of({n: d[k] for n, d in compared.items()}, tolerance, draws) for k in range(len(sample.items))]
    findings.estimates = _estimates(sample, compared, tolerance)
    findings.estimates.append(_status_changes(run, sample, [first, *passes.values()], how))
    findings.rows = _rows(run, sample, compared, causes)
    findings.excluded = not_sampled(run, sample)
    findings.notes[:0] = [tally(causes), advice(causes)] if set(causes) != {ALIKE} else [tally(causes)]
    findings.exhibits.append(
        forest(
            f"{CODE}-passes",
            "Cases whose output changed, overall and by pass",
            f"Share of cases whose largest difference over the body exceeds {tolerance:.4f} of the unit range. Ends "
            "are one-sided 95 % bounds by patient.",
            [e for e in findings.estimates if e.measurement.id.startswith(f"{CODE}.changed_rate")],
            x=(0.0, 1.0),
        )
    )
    _show(findings, sample, first, passes, compared, shown)
    return findings


def _passes(run: TranslationRun, sample: Sample, notes: list[str]) -> dict[str, list[Answer]]:
    passes = {
        "first pass": answers(run, sample.images, "first"),
        "same seed": answers(run, sample.images, "first"),
        "other seed": answers(run, sample.images, "second"),
    }
    if len({image.shape for image in sample.images}) < len(sample.images):
        passes["alone"] = answers(run, sample.images, "first", batch=1)
    else:
        notes.append("No two images of the sample have one size, so none was compared alone with itself in a batch.")
    other = on_other_device(run.subject)
    if isinstance(other, str):
        notes.append(other)
    else:
        passes["other device"] = answers(run, sample.images, "first", subject=other)
        notes.append(f"The other device was {other.device}; the run's is {run.subject.device}.")
    return passes


def _needs_companions(compared: Mapping[str, list[Difference]], tolerance: float) -> bool:
    def any_in(name: str) -> bool:
        return any(d.beyond(tolerance) for d in compared.get(name, []))

    # The noise of a model that draws it hides what the batch does, unless seed and batch size stay the same.
    return any_in("other seed") and any_in("alone") and not any_in("same seed")


def _other_companions(run: TranslationRun, sample: Sample) -> list[Answer]:
    """Every image once more at its place in the batch, with its neighbour's copies in place of every second image."""
    out: list[Answer] = [""] * len(sample.images)
    for parity in (0, 1):
        images = list(sample.images)
        for shape in dict.fromkeys(image.shape for image in images):
            same = [k for k, image in enumerate(images) if image.shape == shape]
            for place, k in enumerate(same):
                if place % 2 != parity and 0 <= (near := place + 1 - 2 * (place % 2)) < len(same):
                    images[k] = sample.images[same[near]]
        given = answers(run, images, "first")
        kept = [k for k, image in enumerate(images) if image is sample.images[k]]
        for k in kept:
            out[k] = given[k]
    return out


def _estimates(sample: Sample, compared: Mapping[str, list[Difference]], tolerance: float) -> list[Estimate]:
    together = [max(column, key=lambda d: d.largest) for column in zip(*compared.values(), strict=True)]
    # One refusal among the passes is a change, whichever pass differs most.
    refused = [any(d.refused for d in column) for column in zip(*compared.values(), strict=True)]
    overall = [d._replace(refused=r) for d, r in zip(together, refused, strict=True)]
    out = []
    for name, differences in [(None, overall), *compared.items()]:
        out += [
            changed_rate(sample, [d.beyond(tolerance) for d in differences], name),
            _typical(sample, differences, name),
            plain(
                identifier(CODE, "largest_difference", name),
                "Largest difference over the body",
                max((d.largest for d in differences), default=None),
                n=len(differences),
                unit="unit range",
                unit_of_analysis="image",
                better="lower",
                stratum=name,
                reason=None if differences else "There is no image to compare.",
            ),
        ]
    return sorted(out, key=lambda e: (e.measurement.stratum is not None, e.measurement.id.split("[")[0]))


def changed_rate(sample: Sample, changed: Sequence[bool], stratum: str | None) -> Estimate:
    """Share of cases whose output changed, in a pass or in any."""
    return rate(
        identifier(CODE, "changed_rate", stratum),
        "Cases whose output changes although the input does not",
        changed,
        sample.patients,
        unit_of_analysis="image",
        stratum=stratum,
        units=sample.case_ids,
    )


def _typical(sample: Sample, differences: Sequence[Difference], stratum: str | None) -> Estimate:
    return median(
        identifier(CODE, "typical_difference", stratum),
        "Root mean square difference over the body, median patient",
        [d.typical for d in differences],
        sample.patients,
        unit="unit range",
        unit_of_analysis="image",
        better="lower",
        stratum=stratum,
        units=sample.case_ids,
    )


def _status_changes(
    run: TranslationRun, sample: Sample, passes: Sequence[Sequence[Answer]], how: LesionRule
) -> Estimate:
    void = objection_to_reader(run, CODE, how)
    read = [] if void else [followed(run, sample, outputs, how) for outputs in passes]
    first: Mapping[str, Lesion] = read[0] if read else {}
    again = [{name: lesion.status for name, lesion in lesions.items()} for lesions in read[1:]]
    return rate(
        f"{CODE}.status_change_rate",
        "Lesions whose fate differs between passes",
        [any(found.get(name) != lesion.status for found in again) for name, lesion in first.items()],
        [lesion.patient for lesion in first.values()],
        unit_of_analysis="lesion",
        void=void,
        units=list(first),
    )


def _rows(
    run: TranslationRun, sample: Sample, compared: Mapping[str, list[Difference]], causes: Sequence[str]
) -> list[Row]:
    def values(k: int) -> Row:
        found: dict[str, Any] = {
            f"largest_{name.replace(' ', '_')}": "refused" if d[k].refused else round(d[k].largest, 7)
            for name, d in compared.items()
        }
        return {**found, "status": causes[k]}

    return rows_of(run, sample, values)


def _show(
    findings: Findings,
    sample: Sample,
    first: Sequence[Answer],
    passes: Mapping[str, Sequence[Answer]],
    compared: Mapping[str, list[Difference]],
    shown: int,
) -> None:
    """The cases that changed most, each in the pass in which it did."""

    def largest(k: int) -> tuple[float, str]:
        return max((d[k].largest, name) for name, d in compared.items())

    order = sorted(range(len(sample.items)), key=lambda k: (-largest(k)[0], sample.items[k].case.case_id))
    picked = []
    for k in order[:shown]:
        difference, name = largest(k)
        before, after = first[k], passes[name][k]
        if isinstance(before, str) or isinstance(after, str):
            continue
        case = sample.items[k].case
        label = f"{name}, largest difference {difference:.4g}"
        picked.append(Pair(grey(after), grey(before), case.case_id, case.patient_id, label, "worst"))
    pairs(
        findings,
        f"{CODE}-cases",
        "Outputs that differ most between passes",
        f"The {len(picked)} cases with the largest difference over the body, in the pass in which it occurs.",
        picked,
        ("again", "first pass"),
    )
