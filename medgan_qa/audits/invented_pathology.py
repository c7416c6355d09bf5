"""PAT-002: lesions that the output shows and nobody annotated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from medgan_qa.audits._false_marks import Mark, false_marks
from medgan_qa.audits._volumes import volume_notes
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.detection import detection_by, detection_sentence
from medgan_qa.audits.detector import NO_DETECTOR, qualify
from medgan_qa.audits.exhibits import Pick, forest, panels, random_picks
from medgan_qa.audits.lesions import lesions_of, matching_rule, site_stratum, unseen_in_target
from medgan_qa.audits.numbers import Noise, by_stratum, count, identifier, rate
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import MatchingRule

CODE = "PAT-002"


class Charge(NamedTuple):
    """What the detector marks in one case."""

    item: Item
    invented: list[Mark]
    """Marks in the output that neither an annotated lesion nor a mark in the real image explains."""
    real: list[Mark]
    """Marks in the real image that no annotated lesion explains: the detector's own false alarms."""
    vanished: bool
    """The real image is marked and the output is not: the detector contradicts itself the other way."""

    @property
    def patient(self) -> str:
        """Its patient."""
        return self.item.case.patient_id


def invented_pathology(
    run: TranslationRun,
    *,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_mark_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    worst: int = 4,
    random: int = 4,
) -> Findings:
    """Lesions invented by the translation.

    Question. Does the model put lesions into images of patients who have none?

    What it measures. The detector reads the real reference image and the model's output of every case that is annotated
    as lesion-free. A case counts as invented when the output holds a mark of the detector that it does not make at the
    same place in the real image. The invention rate is the share of such cases, with a one-sided exact upper bound
    clustered by patient. Where the detector also marks real images whose outputs it leaves alone, that inconsistency is
    taken off the lower bound, so a model is not failed for its reader's noise. Marks beside the annotated lesions of
    other cases are counted apart. In a volume the case is a slice and the cluster its patient; a mark over several
    slices is one mark, and explained wherever a lesion or a mark in the real image is near it in any direction.

    Why it matters. A translator whose target domain is rich in pathology adds it (Cohen et al. 2018). An invented
    lesion leads to a biopsy or a treatment that nobody needed. Removal and invention are two claims: a model that
    removes and adds in equal measure has the right prevalence and is wrong twice.

    Known limits. Only what the detector can see is counted: an invented lesion of a kind that it does not know, or a
    dark one where it looks for bright ones, is missed. Cases that nobody annotated are left out.

    Method and source. As PAT-001; false alarms of the reader on real images are matched by place before any mark is
    charged to the model.
    """
    findings = Findings()
    findings.not_applicable = unseen_in_target(run.cohort)
    if findings.not_applicable:
        return findings
    free = [i for i in run.paired if i.lesion is not None and not i.lesion.any()]
    if run.detector is None:
        findings.missing = NO_DETECTOR
    elif not free:
        findings.missing = "No test case is annotated as lesion-free and has a reference image."
    if findings.missing:
        return findings
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    qualified = qualify(
        CODE,
        run,
        lesions_of(run, rule, min_mark_pixels, read=True),
        rule,
        min_pixels=min_mark_pixels,
        sensitivity_min=detector_sensitivity_min,
        false_alarm_max=detector_false_alarm_max,
    )
    charges = _charges(run, free, rule, min_mark_pixels)
    overall = _rate(charges, None, qualified.objection)
    site = site_stratum(free)
    strata = [
        _rate(group, name, qualified.objection) for name, group in by_stratum(charges, lambda c: site(c.item)).items()
    ]
    annotated = [i for i in run.paired if i.lesion is not None and i.lesion.any()]
    beside = _charges(run, annotated, rule, min_mark_pixels)
    other = count(
        f"{CODE}.invented_beside_lesions",
        "Further marks charged to the model in cases that have lesions",
        _beside(beside, free),
        n=len(beside),
        unit_of_analysis="case with lesions",
        better="lower",
    )
    findings.estimates = [overall, *strata, other, *qualified.estimates]
    judged = {c.item.case.case_id: c for c in [*charges, *beside]}
    findings.rows = [_row(item, judged.get(item.case.case_id)) for item in run.items]
    counted = {c.item.case.case_id for c in charges}
    findings.excluded = {i.case.case_id: _left_out(i) for i in run.items if i.case.case_id not in counted}
    cases = sum(bool(c.invented) for c in charges)
    findings.notes = [
        f"Of {len(charges)} lesion-free cases, {cases} hold an invented lesion. The detector marks "
        f"{sum(bool(c.real) for c in charges)} of the real images of the same cases; marks at the same places are not "
        "charged to the model.",
        *volume_notes(run.items),
    ]
    if qualified.objection:
        findings.notes.append(qualified.objection)
    # A rate is never printed without what the audit could have seen.
    sentence = detection_sentence(detection_by(run, rule, min_mark_pixels), "insertion")
    if sentence:
        findings.notes.append(sentence)
    findings.exhibits.append(
        forest(
            f"{CODE}-strata",
            "Invention rate, overall and by stratum",
            "Share of lesion-free cases with an invented lesion. Ends are one-sided 95 % bounds by patient.",
            [overall, *strata],
            x=(0.0, 1.0),
        )
    )
    _show(findings, run, charges, worst, random)
    return findings


def _charges(run: TranslationRun, items: Sequence[Item], rule: MatchingRule, min_pixels: int) -> list[Charge]:
    invented = false_marks(run, items, rule, min_pixels, of="output")
    real = false_marks(run, items, rule, min_pixels, of="reference")
    found = []
    for item in items:
        name = item.case.case_id
        vanished = bool(real[name]) and not run.readings[name].output.any()
        found.append(Charge(item, invented[name], real[name], vanished))
    return found


def _beside(charges: Sequence[Charge], free: Sequence[Item]) -> int:
    """Marks that no lesion-free case shows; one over several slices is one mark."""
    elsewhere = {item.case.case_id for item in free}
    marks = {mark for charge in charges for mark in charge.invented}
    return sum(elsewhere.isdisjoint(mark.cases) for mark in marks)


def _rate(charges: list[Charge], stratum: str | None, objection: str | None) -> Estimate:
    return rate(
        identifier(CODE, "invention_rate", stratum),
        "Lesion-free cases with an invented lesion",
        [bool(c.invented) for c in charges],
        [c.patient for c in charges],
        unit_of_analysis="lesion-free case",
        stratum=stratum,
        noise=Noise([c.vanished for c in charges], [c.patient for c in charges]),
        void=objection,
        units=[c.item.case.case_id for c in charges],
    )


def _left_out(item: Item) -> str:
    return "no reference" if item.reference is None else item.annotation


def _largest(charge: Charge) -> float:
    return max((mark.diameter_mm for mark in charge.invented), default=0.0)


def _row(item: Item, charge: Charge | None) -> Row:
    if charge is None:
        return {**item.row, "status": _left_out(item)}
    finding = "invented" if charge.invented else "clean"
    return {
        **item.row,
        "annotation": item.annotation,
        "marks_in_reference": len(charge.real),
        "invented": len(charge.invented),
        "largest_invented_mm": round(_largest(charge), 2),
        "status": finding if item.annotation == "lesion-free" else f"{finding}, beside lesions",
    }


def _show(findings: Findings, run: TranslationRun, charges: list[Charge], worst: int, random: int) -> None:
    ordered = sorted((c for c in charges if c.invented), key=lambda c: (-_largest(c), c.item.case.case_id))
    picks = [Pick(c.item, f"invented, {_largest(c):.0f} mm", "worst") for c in ordered[:worst]]
    taken = {pick.item.case.case_id for pick in picks}
    status = {c.item.case.case_id: "invented" if c.invented else "clean" for c in charges}
    rest = random_picks(run, CODE, [c.item for c in charges], random, taken)
    picks += [Pick(item, status[item.case.case_id], "random") for item in rest]
    shown = f"The {len(taken)} cases with the largest invented lesion" if taken else "No invented lesion was found"
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random lesion-free cases",
        f"{shown}; {len(rest)} drawn at random from the others.",
        picks,
        reading=True,
    )
