"""PAT-003: how much of a lesion's contrast survives, with its sign."""

from __future__ import annotations

from collections.abc import Callable

from medgan_qa.audits._volume_lesions import volume_columns
from medgan_qa.audits._volumes import volume_notes
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.lesions import (
    FLAT,
    INVERTED,
    WEAK,
    Lesion,
    by_case,
    excluded,
    lesions_of,
    not_judged,
    unseen_in_target,
)
from medgan_qa.audits.numbers import by_stratum, count, identifier, median, rate
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import MatchingRule
from medgan_qa.record import Exhibit

CODE = "PAT-003"


def contrast_recovery(run: TranslationRun, *, min_lesion_pixels: int = 3) -> Findings:
    """Lesion contrast recovered by the translation.

    Question. How much of a lesion's contrast does the output keep, and with which sign?

    What it measures. For every annotated lesion, the mean inside the mask minus the mean of a ring of tissue around it
    (one pixel away, three wide, inside the body, outside other lesions), in the output over the same in the real
    reference. In a volume a lesion is one region over neighbouring slices: both means are taken slice by slice, and
    slices weigh by the lesion's pixels in them. 1 is a perfect lesion, 0 a removed one, below 0 an inverted one (dark
    where it should be bright). Reported as the median over patients with an exact interval, with the shares of lesions
    that are flat, inverted or weak.

    Why it matters. A lesion can be attenuated until a reader misses it without being removed, and an unsigned detector
    counts an inverted lesion as kept. No detector is needed, so no detector can be blind: the annotation says where to
    look.

    Known limits. It sees mean intensity, not shape, texture or place beyond the annotated mask. A lesion whose contrast
    in the reference is under three standard errors cannot be divided by and is left out, and counted. The median over
    patients is insensitive to a minority of lost lesions; PAT-001 counts those.

    Method and source. Contrast recovery as in phantom studies of image quality, with a local background; exact interval
    of the median by order statistics.
    """
    findings = Findings()
    findings.not_applicable = unseen_in_target(run.cohort)
    if findings.not_applicable:
        return findings
    every = lesions_of(run, MatchingRule(), min_lesion_pixels, read=False)
    if not every:
        findings.missing = "No test case has an annotated lesion and a paired reference image."
        return findings
    lesions = [lesion for lesion in every if lesion.recovery is not None]
    overall = _median(lesions, None)
    strata = [
        _median(group, name)
        for key in (lambda x: x.size_stratum, lambda x: x.contrast_stratum)
        for name, group in by_stratum(lesions, key).items()
    ]
    undivided = count(
        f"{CODE}.not_divisible",
        "Lesions with too little contrast in the reference (left out)",
        len(every) - len(lesions),
        n=len(every),
        unit_of_analysis="lesion",
        better="none",
    )
    shares = [
        _share(lesions, "inverted_rate", "Lesions inverted", lambda r: r <= INVERTED),
        _share(lesions, "flat_rate", "Lesions with under a tenth of their contrast", lambda r: INVERTED < r < FLAT),
        _share(lesions, "weak_rate", "Lesions with a tenth to half of their contrast", lambda r: FLAT <= r < WEAK),
    ]
    findings.estimates = [overall, *shares, *strata, undivided]
    groups = by_case(every)
    findings.rows = [_case_row(item, groups.get(item.case.case_id, [])) for item in run.items]
    findings.excluded = {
        case_id: "too little contrast in the reference"
        for case_id, held in groups.items()
        if all(lesion.recovery is None for lesion in held)
    }
    findings.excluded |= excluded(run, groups)
    findings.notes = volume_notes(run.items)
    findings.tables[f"exhibits/{CODE}-lesions.csv"] = [_row(lesion) for lesion in every]
    findings.exhibits = [
        _scatter(lesions),
        forest(
            f"{CODE}-strata",
            "Median contrast recovery, overall and by stratum",
            "1 is a perfect lesion, 0 a removed one. Ends are one-sided 95 % bounds of the patients' median.",
            [overall, *strata],
            x=(-0.5, 1.5),
        ),
    ]
    return findings


def _median(lesions: list[Lesion], stratum: str | None) -> Estimate:
    return median(
        identifier(CODE, "contrast_recovery", stratum),
        "Median contrast recovery",
        [lesion.recovery for lesion in lesions if lesion.recovery is not None],
        [lesion.patient for lesion in lesions],
        unit="1",
        unit_of_analysis="lesion",
        better="nearer_one",
        stratum=stratum,
        units=[lesion.lesion_id for lesion in lesions],
    )


def _share(lesions: list[Lesion], name: str, label: str, test: Callable[[float], bool]) -> Estimate:
    return rate(
        f"{CODE}.{name}",
        label,
        [test(lesion.recovery) for lesion in lesions if lesion.recovery is not None],
        [lesion.patient for lesion in lesions if lesion.recovery is not None],
        unit_of_analysis="lesion",
        units=[lesion.lesion_id for lesion in lesions if lesion.recovery is not None],
    )


def _case_row(item: Item, lesions: list[Lesion]) -> Row:
    recoveries = [lesion.recovery for lesion in lesions if lesion.recovery is not None]
    if not recoveries:
        return {**item.row, "lesions": len(lesions), "status": "not divisible" if lesions else not_judged(item)}
    worst = min(recoveries)
    return {**item.row, "lesions": len(lesions), "lowest_recovery": round(worst, 4), "status": _group(worst)}


def _row(lesion: Lesion) -> Row:
    def short(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    return {
        **lesion.item.row,
        "lesion": lesion.number,
        **volume_columns(lesion),
        "diameter_mm": round(lesion.diameter_mm, 2),
        "contrast_reference": short(lesion.contrast_reference),
        "contrast_output": short(lesion.contrast_output),
        "contrast_recovery": short(lesion.recovery),
    }


def _group(recovery: float) -> str:
    if recovery <= INVERTED:
        return "inverted"
    if recovery < FLAT:
        return "flat"
    return "weak" if recovery < WEAK else "kept"


def _scatter(lesions: list[Lesion]) -> Exhibit:
    recoveries = [lesion.recovery for lesion in lesions if lesion.recovery is not None]
    points = [
        {
            "x": round(lesion.diameter_mm, 2),
            "y": round(lesion.recovery, 3),
            "group": _group(lesion.recovery),
            "case_id": lesion.item.case.case_id,
        }
        for lesion in lesions
        if lesion.recovery is not None
    ]
    low, high = min([0.0, *recoveries]), max([1.2, *recoveries])
    return Exhibit(
        id=f"{CODE}-scatter",
        kind="scatter",
        title="Contrast recovery of every lesion",
        caption="One mark a lesion. At 1 a lesion is perfect, at 0 it is removed, below 0 it is inverted.",
        data={
            "x_label": "Diameter (mm)" if any(x.spanned for x in lesions) else "Diameter in the slice (mm)",
            "y_label": "Contrast recovery",
            "points": points,
            "lines": [{"y": 1.0, "label": "perfect"}, {"y": 0.0, "label": "removed"}],
            "x_range": [0.0, max([10.0, *(lesion.diameter_mm for lesion in lesions)]) * 1.05],
            "y_range": [low - 0.1, high + 0.1],
        },
    )
