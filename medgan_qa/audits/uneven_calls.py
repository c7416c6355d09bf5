"""DIS-004: whether the classifier is as good in every group of patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgan_qa.audits._call_groups import CODE, Claim, Contrast, contrast_of, gap_of, p_value_of
from medgan_qa.audits._scores import called, score_row
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.classification import NO_THRESHOLD, ClassificationRun, Threshold, said
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.numbers import plain
from medgan_qa.audits.subgroups import MOST_LEVELS, Attribute, attributes
from medgan_qa.audits.synthesis import Pictures
from medgan_qa.criteria import Estimate
from medgan_qa.record import Exhibit
from medgan_qa.stats import FEWEST_CLUSTERS, holm

NO_GROUPS = (
    "The test cases declare no attribute with two levels or more (columns site, attr.NAME), so nobody can say whether "
    "the classifier fails in one group."
)


def uneven_calls(run: ClassificationRun, *, threshold: float = 0.0, alpha: float = 0.01) -> Findings:
    """Discrimination in every group of patients.

    Question. Is the discriminator as good at every site, in both sexes, at every age and in every other declared group?

    What it measures. Area under the ROC curve, sensitivity and specificity at the declared threshold are measured at
    every level of every declared attribute (site, sex, bands of age and the like), the smallest group first, each with
    bounds clustered by patient. For each the largest difference between two levels is given with an interval, and the
    p-value of the hypothesis that all levels are alike, corrected by Holm's procedure over attributes and measures. The
    uneven attributes are those for which it is rejected at the family-wise error rate alpha. By lesion size, where
    masks tell it, sensitivity is only reported: small lesions are harder for everybody.

    Why it matters. A classifier that overlooks the disease at one scanner, or in one sex, passes over all patients
    together if that group is small. The group learns of it first.

    Known limits. A difference says that groups fare differently and not why: disease may be milder in one, or labels
    worse. None found is not none there: with few patients a large gap goes unseen, which the interval of the gap shows.
    Levels with fewer than eight patients are named and not compared. Attributes with more than twelve levels are no
    groups, and groups that nobody declared are not looked at.

    Method and source. Areas as DIS-001; shares as PAT-001. Gaps by MOVER (Zou and Donner 2008), Bonferroni over pairs
    of levels. Tests by permutation of whole patients (Good 2005; Phipson and Smyth 2010), for areas among patients with
    the same labels; correction after Holm 1979.
    """
    findings = Findings()
    findings.missing = run.objection
    findings.excluded = dict(run.unlabelled)
    if findings.missing:
        return findings
    declared, sizes = _declared(run)
    if not declared:
        findings.missing = NO_GROUPS
        return findings
    point = run.threshold(CODE, threshold)
    claims = _claims(run, point)
    contrasts = [contrast_of(run, claim, *one) for claim in claims for one in declared]
    adjusted = [step.p_adjusted for step in holm([c.p for c in contrasts], alpha)]
    findings.estimates.append(_uneven(contrasts, adjusted, alpha))
    for contrast, p in zip(contrasts, adjusted, strict=True):
        findings.estimates += [gap_of(contrast), p_value_of(contrast, p), *contrast.levels.values()]
    if sizes is not None:
        by_size = contrast_of(run, claims[1], *sizes)
        findings.estimates += [e for e in by_size.levels.values() if e.measurement.n]
    findings.rows = [_row(run, k, declared, point) for k in range(len(run.items))]
    findings.tables[f"exhibits/{CODE}-groups.csv"] = _table(contrasts, adjusted)
    findings.notes = [said(point), *_said(contrasts, adjusted, alpha), *_not_used(run, declared)]
    findings.exhibits += [exhibit for claim in claims for exhibit in _forest(claim, contrasts)]
    return findings


def _declared(
    run: ClassificationRun,
) -> tuple[list[tuple[Attribute, dict[str, str | None]]], tuple[Attribute, dict[str, str | None]] | None]:
    """Attributes with their levels by case id, and lesion size apart."""
    cases = tuple(item.case for item in run.items)
    names = tuple(case.case_id for case in cases)
    masks = tuple(item.lesion for item in run.items)
    nothing = np.zeros((len(cases), 0, 0, 0), np.float32)
    pictures = Pictures(nothing, names, tuple(run.patients), cases, masks, run.items[0].spacing_mm)
    found = [(a, dict(zip(names, a.levels, strict=True))) for a, _ in attributes(pictures, pictures)]
    drawn = {name for case in cases for name in case.attributes} | {"site"}
    sizes = next((one for one in found if one[0].name == "lesion" and "lesion" not in drawn), None)
    return [one for one in found if one is not sizes], sizes


def _claims(run: ClassificationRun, point: Threshold | None) -> list[Claim]:
    right = np.array([called(item.logit, point) == item.positive for item in run.items])
    void = NO_THRESHOLD if point is None else None
    assert run.classes is not None
    negative, positive = run.classes
    every = np.ones(len(right), bool)
    return [
        Claim("auc", "Area under the ROC curve", every, None, None),
        Claim("sensitivity", f"Cases of {positive} that are called", run.positive, right, void),
        Claim("specificity", f"Cases of {negative} that are not called", ~run.positive, right, void),
    ]


def _uneven(contrasts: Sequence[Contrast], adjusted: Sequence[float], alpha: float) -> Estimate:
    """How many attributes make a difference; no number where none could be tested."""
    tested = [(c, p) for c, p in zip(contrasts, adjusted, strict=True) if c.reason is None]
    untested = next((c.reason for c in contrasts if c.reason), None)
    return plain(
        f"{CODE}.uneven_attributes",
        "Attributes between whose levels area, sensitivity or specificity differs",
        float(len({c.attribute for c, p in tested if p <= alpha})) if tested else None,
        n=len({c.attribute for c, _ in tested}),
        unit="count",
        unit_of_analysis="attribute",
        better="lower",
        reason=None if tested else untested,
    )


def _said(contrasts: Sequence[Contrast], adjusted: Sequence[float], alpha: float) -> list[str]:
    notes = []
    for contrast, p in zip(contrasts, adjusted, strict=True):
        held = {level: contrast.levels[level].measurement.value for level in contrast.readable}
        values = {level: value for level, value in held.items() if value is not None}
        name = "Area under the curve" if contrast.claim.name == "auc" else contrast.claim.name.capitalize()
        if contrast.reason is None and p <= alpha:
            worst, best = min(values, key=lambda at: values[at]), max(values, key=lambda at: values[at])
            notes.append(
                f"{name} depends on {contrast.attribute}: {values[worst]:.2f} in {worst}, {values[best]:.2f} in {best} "
                f"(p = {p:.3g} after correction)."
            )
        small = [level for level in contrast.levels if level not in contrast.readable]
        if small and contrast.claim.void is None:
            named = ", ".join(f"{level} ({contrast.levels[level].measurement.clusters})" for level in small)
            notes.append(
                f"{name} by {contrast.attribute}: inconclusive for {named}, patients in brackets; at least "
                f"{FEWEST_CLUSTERS} are needed to compare a group."
            )
        if contrast.several:
            notes.append(
                f"{contrast.several} patients have cases at several levels of {contrast.attribute}, and are left out "
                f"of the test of {contrast.claim.name}."
            )
    return notes


def _not_used(run: ClassificationRun, declared: Sequence[tuple[Attribute, Mapping[str, str | None]]]) -> list[str]:
    named = {name for item in run.items for name in item.case.attributes}
    named |= {"site"} if any(item.case.site is not None for item in run.items) else set()
    left = named - {one.name for one, _ in declared}
    listed = ", ".join(sorted(left))
    return [f"Attributes with one level, or with more than {MOST_LEVELS}, are no grouping: {listed}."] if left else []


def _forest(claim: Claim, contrasts: Sequence[Contrast]) -> list[Exhibit]:
    levels = [e for c in contrasts if c.claim is claim for e in c.levels.values() if e.measurement.value is not None]
    if not levels or claim.void:
        return []
    title = f"{claim.label}, by group"
    caption = "Smallest group of each attribute first. Ends are one-sided 95 % bounds by patient."
    return [forest(f"{CODE}-{claim.name}", title, caption, levels, x=(0.0, 1.0))]


def _table(contrasts: Sequence[Contrast], adjusted: Sequence[float]) -> list[Row]:
    def rounded(value: float | None) -> float | None:
        return None if value is None else round(value, 4)

    return [
        {
            "measure": contrast.claim.name,
            "attribute": contrast.attribute,
            "level": level,
            "patients": m.clusters,
            "cases": m.n,
            "value": rounded(m.value),
            "low": rounded(m.interval.low if m.interval else None),
            "high": rounded(m.interval.high if m.interval else None),
            "p_adjusted": None if contrast.reason else round(p, 4),
        }
        for contrast, p in zip(contrasts, adjusted, strict=True)
        for level, m in ((level, e.measurement) for level, e in contrast.levels.items())
    ]


def _row(
    run: ClassificationRun,
    k: int,
    declared: Sequence[tuple[Attribute, Mapping[str, str | None]]],
    point: Threshold | None,
) -> Row:
    item = run.items[k]
    groups = {attribute.name: levels[item.case.case_id] for attribute, levels in declared if attribute.name != "site"}
    return {**score_row(item, point), **{f"group_{name}": level for name, level in groups.items()}}
