"""PAT-001: lesions that the reference shows and the output does not."""

from __future__ import annotations

from collections import Counter
from typing import Any

from medgan_qa.audits._volume_lesions import lost_slices, volume_columns
from medgan_qa.audits._volumes import volume_notes
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.detection import detection_by, detection_sentence
from medgan_qa.audits.detector import NO_DETECTOR, qualify
from medgan_qa.audits.exhibits import Pick, forest, panels, random_picks
from medgan_qa.audits.lesions import (
    REMOVED,
    STATUSES,
    Lesion,
    by_case,
    excluded,
    lesions_of,
    matching_rule,
    not_judged,
    site_stratum,
    unseen_in_target,
    worst_status,
)
from medgan_qa.audits.numbers import Noise, by_stratum, count, identifier, rate
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate

CODE = "PAT-001"


def removed_pathology(
    run: TranslationRun,
    *,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_lesion_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    worst: int = 8,
    random: int = 4,
) -> Findings:
    """Lesions removed by the translation.

    Question. Does the model remove lesions that the real image of the target domain shows?

    What it measures. Every annotated lesion is read by a detector in the real reference image and in the model's
    output. Of the lesions that it finds in the reference, the removal rate is the share that is lost (not found in the
    output, or with less than a tenth of its contrast left) or inverted (contrast of the opposite sign, a fifth or more
    in size). Weakened lesions (under half of the contrast, still found) are counted apart. The rate carries a one-sided
    exact upper bound clustered by patient, overall and by lesion diameter, contrast and site. In a volume a lesion is
    one region over neighbouring slices, counted once, and is read in three dimensions.

    Why it matters. A translator trained without pathology in its target domain learns that its output holds none, and
    paints healthy tissue over tumours while distribution distances, cycle error and structural similarity look fine
    (Cohen et al. 2018). A removed lesion is a missed diagnosis.

    Known limits. The detector judges: a lesion that it does not find in the reference cannot be followed and is left
    out, and counted. It must not have been trained on outputs of the model. Lesions that share a patient or a slice are
    not independent; the bound allows for patients, not for sites. A lesion of a volume that is gone from a few of its
    slices counts as kept where enough of it is found; the table of lesions says how much is marked in each slice. Rates
    say nothing about lesions smaller or fainter than those in the data.

    Method and source. Lesion-wise matching after the lesion-wise scoring of the BraTS challenges (2023); Cohen JP, Luck
    M, Honari S, Distribution matching losses can hallucinate features in medical image translation, MICCAI 2018;
    Clopper and Pearson 1934 on the effective sample size of Korn and Graubard 1998.
    """
    findings = Findings()
    findings.not_applicable = unseen_in_target(run.cohort)
    if findings.not_applicable:
        return findings
    if run.detector is None:
        findings.missing = NO_DETECTOR
    elif not run.paired:
        findings.missing = "No case has a paired reference image (column target), so the detector cannot be qualified."
    if findings.missing:
        return findings
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    lesions = lesions_of(run, rule, min_lesion_pixels, read=True)
    if not lesions:
        findings.missing = "No test case has an annotated lesion and a reference image, so nothing could be removed."
        return findings

    qualified = qualify(
        CODE,
        run,
        lesions,
        rule,
        min_pixels=min_lesion_pixels,
        sensitivity_min=detector_sensitivity_min,
        false_alarm_max=detector_false_alarm_max,
    )
    readable = [lesion for lesion in lesions if lesion.found_reference]
    overall = _rate(lesions, None, qualified.objection)
    site = site_stratum(lesion.item for lesion in lesions)
    strata = [
        _rate(group, name, qualified.objection)
        for key in (lambda x: x.size_stratum, lambda x: x.contrast_stratum, lambda x: site(x.item))
        for name, group in by_stratum(lesions, key).items()
    ]
    statuses = Counter(lesion.status for lesion in lesions)
    weakened = rate(
        f"{CODE}.weakened_rate",
        "Lesions kept with under half of their contrast",
        [lesion.status == "weakened" for lesion in readable],
        [lesion.patient for lesion in readable],
        unit_of_analysis="lesion",
        void=qualified.objection,
        units=[lesion.lesion_id for lesion in readable],
    )
    unread = count(
        f"{CODE}.not_read_in_reference",
        "Lesions that the detector does not find in the reference (left out)",
        statuses["not read in reference"],
        n=len(lesions),
        unit_of_analysis="lesion",
        better="none",
    )
    findings.estimates = [overall, weakened, *strata, unread, *qualified.estimates]
    groups = by_case(lesions)
    findings.rows = [_case_row(item, groups.get(item.case.case_id, [])) for item in run.items]
    findings.excluded = excluded(run, groups)
    findings.tables[f"exhibits/{CODE}-lesions.csv"] = [_row(lesion) for lesion in lesions]
    findings.notes = [rule.describe(), _statuses(statuses), *volume_notes(run.items), *_partly_lost(lesions)]
    if qualified.objection:
        findings.notes.append(qualified.objection)
    # A rate is never printed without what the audit could have seen.
    sentence = detection_sentence(detection_by(run, rule, min_lesion_pixels))
    if sentence:
        findings.notes.append(sentence)
    findings.exhibits.append(
        forest(
            f"{CODE}-strata",
            "Removal rate, overall and by stratum",
            "Share of the lesions read in the reference that are lost or inverted in the output. Ends are one-sided "
            "95 % bounds, clustered by patient.",
            [overall, *strata],
            x=(0.0, 1.0),
        )
    )
    _show(findings, run, lesions, worst, random)
    return findings


def _rate(lesions: list[Lesion], stratum: str | None, objection: str | None) -> Estimate:
    readable = [lesion for lesion in lesions if lesion.found_reference]
    gained = [bool(lesion.found_output) and not lesion.found_reference for lesion in lesions]
    return rate(
        identifier(CODE, "removal_rate", stratum),
        "Lesions removed (lost or inverted)",
        [lesion.status in REMOVED for lesion in readable],
        [lesion.patient for lesion in readable],
        unit_of_analysis="lesion",
        stratum=stratum,
        noise=Noise(gained, [lesion.patient for lesion in lesions]),
        void=objection,
        units=[lesion.lesion_id for lesion in readable],
    )


def _case_row(item: Item, lesions: list[Lesion]) -> Row:
    if not lesions:
        return {**item.row, "lesions": 0, "status": not_judged(item)}
    statuses = Counter(lesion.status for lesion in lesions)
    counts = {s.replace(" ", "_"): statuses[s] for s in STATUSES}
    return {**item.row, "lesions": len(lesions), **counts, "status": worst_status(lesions)}


def _row(lesion: Lesion) -> Row:
    return {
        **lesion.item.row,
        "lesion": lesion.number,
        **volume_columns(lesion),
        "diameter_mm": round(lesion.diameter_mm, 2),
        "found_in_reference": lesion.found_reference,
        "found_in_output": lesion.found_output,
        "contrast_recovery": None if lesion.recovery is None else round(lesion.recovery, 3),
        "status": lesion.status,
    }


def _statuses(statuses: Counter[Any]) -> str:
    return f"Of {sum(statuses.values())} annotated lesions: " + ", ".join(f"{statuses[s]} {s}" for s in STATUSES) + "."


def _partly_lost(lesions: list[Lesion]) -> list[str]:
    """Lesions of volumes that are kept, and not in every slice."""
    kept = [x for x in lesions if x.spanned and x.found_reference and x.status not in REMOVED]
    partly = [x for x in kept if lost_slices(x)]
    if not kept:
        return []
    return [
        f"Of {len(kept)} lesions of volumes that are kept, {len(partly)} are gone from one slice or more; the table of "
        "lesions says how much of each is marked in every slice."
    ]


def _show(findings: Findings, run: TranslationRun, lesions: list[Lesion], worst: int, random: int) -> None:
    """The worst lesions by a fixed rule, and cases drawn by seed beside them."""

    def badness(lesion: Lesion) -> tuple[bool, float, str]:
        return (lesion.status not in REMOVED, 9.0 if lesion.recovery is None else lesion.recovery, lesion.lesion_id)

    ordered = sorted((lesion for lesion in lesions if lesion.found_reference), key=badness)
    first = {lesion.item.case.case_id: lesion for lesion in reversed(ordered)}
    picks = [Pick(x.item, _label(x), "worst") for x in sorted(first.values(), key=badness)[:worst]]
    taken = {pick.item.case.case_id for pick in picks}
    rest = random_picks(run, CODE, [x.item for x in first.values()], random, taken)
    rest = sorted(rest, key=lambda item: item.case.case_id)
    picks += [Pick(item, _label(first[item.case.case_id]), "random") for item in rest]
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random lesions",
        f"The {len(taken)} cases with the worst lesion (removed ones first, then lowest contrast recovery), "
        f"and {len(rest)} drawn at random from the others.",
        picks,
        reading=True,
    )


def _label(lesion: Lesion) -> str:
    recovery = "contrast not divisible" if lesion.recovery is None else f"contrast recovery {lesion.recovery:.2f}"
    slices = f" in {len(lesion.spanned)} slices" if len(lesion.spanned) > 1 else ""
    return f"{lesion.status}, {lesion.diameter_mm:.0f} mm{slices}, {recovery}"
