"""COV-010: how much of the target domain the outputs reach, and whether every group of patients is served alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgan_qa.audits._false_marks import false_marks
from medgan_qa.audits._target_coverage import CODE, target_coverage
from medgan_qa.audits._uneven_groups import Claim, Contrast, Unit, contrast_of, gap_of, p_value_of
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.detector import NO_DETECTOR, qualify
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.lesions import REMOVED, Lesion, lesions_of, matching_rule, unseen_in_target
from medgan_qa.audits.numbers import plain
from medgan_qa.audits.subgroups import MOST_LEVELS, Attribute, attributes
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics import MatchingRule
from medgan_qa.record import Exhibit
from medgan_qa.stats import FEWEST_CLUSTERS, holm


def uneven_translation(
    run: TranslationRun,
    *,
    k: int = 5,
    most_real: int = 1000,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_lesion_pixels: int = 3,
    detector_sensitivity_min: float = 0.75,
    detector_false_alarm_max: float = 0.2,
    alpha: float = 0.05,
) -> Findings:
    """Coverage of the target domain, and of every group of patients.

    Question. Do the outputs reach the whole of the real target domain, and does the model remove or invent lesions in
    one group of patients more than in another?

    What it measures. Outputs of the test cases are held against real target images as samples are against a population
    (COV-001): the share of the balls of real images that hold an output (coverage), and how many balls an output lies
    in (density), plain and clipped. Real images and outputs always come from different patients, and real against real
    images of different patients stand beside. Then the rates of PAT-001 and PAT-002 by level of every declared
    attribute (site, sex, age, scanner), smallest group first; for each attribute the largest gap between two levels,
    and a test that all levels have one rate. Rates by site are those that PAT-001 and PAT-002 print.

    Why it matters. A translator that gives much the same image for every patient can be near to each reference on
    average. One that fails at one scanner, or in one sex, passes over all patients together if that group is small.

    Known limits. Coverage sees what the features see, and depends on the number of images. Texture features tell an
    output that is a little blurred or smoothed from every real image, and their coverage is then near 0: that is a
    question of realism, and the pixels, averaged down, are the ones to ask for lost anatomy. A gap says that groups
    fare differently and not why: lesions may be smaller at one site, or the detector weaker there. Levels with fewer
    than eight patients are not compared, and what is missing is said. Attributes with more than twelve levels are no
    groups. Groups that nobody declared are not looked at.

    Method and source. As COV-001 (Naeem et al. 2020, Salvy et al. 2026), averaged over random splits of the patients
    into those who give real images and those who give outputs; intervals from the same splits (Shao and Wu 1989). Rates
    with exact bounds by patient. Gaps by MOVER (Zou and Donner 2008), Bonferroni over pairs of levels. Equal rates by
    permutation of patients, Holm's correction over attributes and both claims.
    """
    findings = Findings()
    if not any(case.has_target for case in run.cohort.cases if case.partition != "val"):
        findings.not_applicable = "No case has a real image of the target domain (column target)."
        return findings
    target_coverage(run, findings, k, most_real)
    rule = matching_rule(CODE, matching, min_overlap, dilate_mm)
    claims = _claims(run, rule, min_lesion_pixels, detector_sensitivity_min, detector_false_alarm_max)
    declared = _declared(run)
    contrasts = [contrast_of(run.seed, claim, *one) for claim in claims for one in declared]
    adjusted = [step.p_adjusted for step in holm([c.p for c in contrasts], alpha)]
    findings.estimates.append(_uneven(claims, contrasts, adjusted, alpha))
    for contrast, p in zip(contrasts, adjusted, strict=True):
        findings.estimates += [gap_of(contrast), p_value_of(contrast, p)]
        # By site they stand under PAT-001 and PAT-002 already.
        findings.estimates += contrast.rates.values() if contrast.attribute != "site" else []
    findings.rows = [_row(item, claims, declared) for item in run.items]
    findings.tables[f"exhibits/{CODE}-groups.csv"] = _table(contrasts, adjusted)
    findings.notes += [*_said(contrasts, adjusted, alpha), *_not_used(run, declared)]
    findings.notes += dict.fromkeys(claim.void for claim in claims if claim.void)
    findings.exhibits += [exhibit for claim in claims for exhibit in _forest(claim, contrasts)]
    return findings


def _declared(run: TranslationRun) -> list[tuple[Attribute, dict[str, str | None]]]:
    """Attributes with their levels by case id."""
    cases = tuple(item.case for item in run.items)
    names = tuple(case.case_id for case in cases)
    pictures = Pictures(np.zeros((len(cases), 0, 0, 0), np.float32), names, tuple(c.patient_id for c in cases), cases)
    found = [attribute for attribute, _ in attributes(pictures, pictures)]
    return [(attribute, dict(zip(names, attribute.levels, strict=True))) for attribute in found]


def _not_used(run: TranslationRun, declared: Sequence[tuple[Attribute, Mapping[str, str | None]]]) -> list[str]:
    names = {name for item in run.items for name in item.case.attributes} - {one.name for one, _ in declared}
    return (
        [f"Attributes with one level, or with more than {MOST_LEVELS}, are no grouping: {', '.join(sorted(names))}."]
        if names
        else []
    )


def _no_rates(run: TranslationRun) -> str | None:
    """Why lesions cannot be followed; None if they can."""
    unseen = unseen_in_target(run.cohort)
    if unseen is not None or run.detector is None:
        return unseen or NO_DETECTOR
    return None if run.paired else "No test case has a paired reference image (column target)."


def _claims(
    run: TranslationRun, rule: MatchingRule, min_pixels: int, sensitivity_min: float, false_alarm_max: float
) -> list[Claim]:
    objection = _no_rates(run)
    readable: list[Lesion] = []
    free: list[Item] = []
    if objection is None:
        lesions = lesions_of(run, rule, min_pixels, read=True)
        readable = [lesion for lesion in lesions if lesion.found_reference]
        free = [i for i in run.paired if i.lesion is not None and not i.lesion.any()]
        limits = {"sensitivity_min": sensitivity_min, "false_alarm_max": false_alarm_max}
        objection = qualify(CODE, run, lesions, rule, min_pixels=min_pixels, **limits).objection

    charged = false_marks(run, free, rule, min_pixels, of="output")
    removed = [Unit(x.lesion_id, x.item.case, x.status in REMOVED) for x in readable]
    added = [Unit(i.case.case_id, i.case, bool(charged[i.case.case_id])) for i in free]
    return [
        Claim("removal", "Lesions removed (lost or inverted)", "lesion", removed, objection),
        Claim("invention", "Lesion-free cases with an invented lesion", "lesion-free case", added, objection),
    ]


def _uneven(
    claims: Sequence[Claim], contrasts: Sequence[Contrast], adjusted: Sequence[float], alpha: float
) -> Estimate:
    """How many attributes make a difference; no number where none could be tested."""
    tested = [(c, p) for c, p in zip(contrasts, adjusted, strict=True) if c.reason is None]
    untested = next((c.reason for c in contrasts if c.reason), None) or next((c.void for c in claims if c.void), None)
    return plain(
        f"{CODE}.uneven_attributes",
        "Attributes between whose levels the removal or the invention rate differs",
        float(len({c.attribute for c, p in tested if p <= alpha})) if tested else None,
        n=len({c.attribute for c, _ in tested}),
        unit="count",
        unit_of_analysis="attribute",
        better="lower",
        reason=None if tested else untested or "No attribute with at least two levels is declared.",
    )


def _said(contrasts: Sequence[Contrast], adjusted: Sequence[float], alpha: float) -> list[str]:
    notes = []
    for contrast, p in zip(contrasts, adjusted, strict=True):
        rates = {level: contrast.rates[level].measurement.value or 0.0 for level in contrast.readable}
        if contrast.reason is None and p <= alpha:
            worst, best = max(rates, key=lambda at: rates[at]), min(rates, key=lambda at: rates[at])
            notes.append(
                f"{contrast.claim.name.capitalize()} depends on {contrast.attribute}: {rates[worst]:.0%} in {worst}, "
                f"{rates[best]:.0%} in {best} (p = {p:.3g} after correction)."
            )
        small = [level for level in contrast.rates if level not in contrast.readable]
        if contrast.claim.void is None and small and contrast.reason is None:
            held = ", ".join(f"{level} ({contrast.rates[level].measurement.clusters})" for level in small)
            notes.append(
                f"{contrast.claim.name.capitalize()} by {contrast.attribute}: inconclusive for {held}, patients in "
                f"brackets; at least {FEWEST_CLUSTERS} are needed to compare a group."
            )
        if contrast.several:
            notes.append(
                f"{contrast.several} patients have cases at several levels of {contrast.attribute}, and are left out "
                f"of the test of equal {contrast.claim.name} rates."
            )
    return notes


def _forest(claim: Claim, contrasts: Sequence[Contrast]) -> list[Exhibit]:
    rates = [e for c in contrasts if c.claim is claim for e in c.rates.values()]
    if not rates or claim.void:
        return []
    title = f"{claim.name.capitalize()} rate by group"
    caption = f"{claim.label}, smallest group of each attribute first. Ends are one-sided 95 % bounds by patient."
    return [forest(f"{CODE}-{claim.name}", title, caption, rates, x=(0.0, 1.0))]


def _table(contrasts: Sequence[Contrast], adjusted: Sequence[float]) -> list[Row]:
    return [
        {
            "claim": contrast.claim.name,
            "attribute": contrast.attribute,
            "level": level,
            "patients": m.clusters,
            "units": m.n,
            "rate": None if m.value is None else round(m.value, 4),
            "low": None if m.interval is None or m.interval.low is None else round(m.interval.low, 4),
            "high": None if m.interval is None or m.interval.high is None else round(m.interval.high, 4),
            "p_adjusted": None if contrast.reason else round(p, 4),
        }
        for contrast, p in zip(contrasts, adjusted, strict=True)
        for level, m in ((level, e.measurement) for level, e in contrast.rates.items())
    ]


def _row(item: Item, claims: Sequence[Claim], attributes: Sequence[tuple[Attribute, Mapping[str, str | None]]]) -> Row:
    case = item.case.case_id
    removal, invention = ([u.event for u in claim.units if u.case.case_id == case] for claim in claims)
    groups = {attribute.name: levels[case] for attribute, levels in attributes if attribute.name != "site"}
    return {
        **item.row,
        **groups,
        "lesions_read": len(removal),
        "removed": sum(removal),
        "invented": bool(any(invention)) if invention else None,
    }
