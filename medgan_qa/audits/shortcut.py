"""DIS-005: whether the score comes from the disease, or from something that happens to go with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._covered_parts import (
    CODE,
    CoveredScores,
    Hidden,
    border_regions,
    lesions_hidden,
    occlusion_maps,
    scores_covered,
)
from medgan_qa.audits._scores import area_estimate, area_of, called
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.classification import NO_THRESHOLD, ClassificationRun, Scored, Threshold, said
from medgan_qa.audits.exhibits import Pair, forest, pairs
from medgan_qa.audits.numbers import median, plain, rate
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.occlusion import Typical
from medgan_qa.record import Exhibit, Measurement
from medgan_qa.stats.roc import RocArea, roc_area_difference

HEAD = "Area under the ROC curve"
NO_MASKS = "No case of the disease has a lesion mask, so nobody knows where the evidence should lie."
NO_DROPS = "No case was mapped, or covering a field took nothing off the score of any."
NO_CALLS = "No case with a lesion mask is called, so there is no call to follow."

Bool = NDArray[np.bool_]
Vector = NDArray[np.float64]


def shortcut(
    run: ClassificationRun,
    *,
    threshold: float = 0.0,
    frame: float = 0.0625,
    corner: float = 0.1875,
    maps: int = 40,
    along: int = 8,
    shown: int = 6,
) -> Findings:
    """Evidence that is not the disease.

    Question. Does the score come from the disease, or from a marker, a border or whatever else happens to go with it?

    What it measures. Every case is scored again with a part covered by the mean of all test images. With only the
    border visible (a frame of the parameter frame and squares of corner at the corners, as shares of the shorter side)
    the area under the ROC curve should be one half; with the border covered, or all that lies outside the body, it
    should be what it was, and the loss is measured on the same cases. Where lesions are annotated, each is painted over
    by the tissue around it: the calls that survive are the share of rightly called cases that are called all the same.
    Of as many patients as the parameter maps, drawn by the run's seed, an occlusion map is made of along x along
    fields, each covered in turn by the mean of the images without the disease: the evidence in the lesion is the share
    of all that is taken off the score which the fields on the lesion take, beside the share of the fields that lie on
    it.

    Why it matters. A classifier learns whatever parts the classes in its training data: a burnt-in marker, the border
    of one scanner, a tube. On test data from the same sources it looks excellent, and it fails where the marker is
    missing (DeGrave et al. 2021).

    Known limits. A shortcut within the body that is no lesion (a tube, the texture of one scanner) is seen only where
    lesions are annotated. Covered images look like no others, and a network may answer them at random; the mean image
    and the painted tissue keep that small, not out. The border tells something without any shortcut where the classes
    differ in position or size. A call that survives may rest on what a lesion does to its surroundings.

    Method and source. Occlusion after Zeiler and Fergus 2014; borders and markers after DeGrave et al. 2021. Painting
    by the solution of Laplace's equation. Areas and their paired difference as DIS-001; shares as PAT-001; medians over
    patients by order statistics.
    """
    findings = Findings()
    findings.missing = run.objection
    findings.excluded = dict(run.unlabelled)
    if findings.missing:
        return findings
    point = run.threshold(CODE, threshold)
    typical = Typical([item.image for item in run.items])
    scores = scores_covered(run, typical, border_regions(run, frame, corner))
    hidden = lesions_hidden(run)
    inside, area = occlusion_maps(run, maps, along, point)
    findings.estimates = [
        *_areas(run, scores),
        _surviving(hidden, point),
        *_evidence(inside, area, hidden, point),
    ]
    findings.rows = _rows(run, scores, hidden, inside, point)
    findings.notes = _notes(run, scores, hidden, point)
    findings.exhibits += _forests(run, findings.estimates)
    _show(findings, run, hidden, point, shown)
    return findings


def _forests(run: ClassificationRun, estimates: Sequence[Estimate]) -> list[Exhibit]:
    """The border by itself, whose limit lies on the other side of that of the others."""
    ends = "Ends are one-sided 95 % bounds by patient."
    whole = area_of(run, CODE, "auc", f"{HEAD}, whole image", run.logits)
    return [
        forest(
            f"{CODE}-border",
            f"{HEAD}, with nothing but the border to see",
            f"One half is expected. {ends}",
            estimates[:1],
            x=(0.0, 1.0),
            label=_part,
        ),
        forest(
            f"{CODE}-areas",
            f"{HEAD}, with parts of the image covered",
            f"No change is expected where the border, or the air, is covered. {ends}",
            [whole, *estimates[1:3]],
            x=(0.0, 1.0),
            label=_part,
        ),
    ]


def _part(m: Measurement) -> str:
    return m.label.removeprefix(f"{HEAD}, ")


def _areas(run: ClassificationRun, scores: CoveredScores) -> list[Estimate]:
    # A lesion in the border is no shortcut.
    clear = scores.clear
    every = np.ones(len(clear), bool)
    return [
        area_of(run, CODE, "border_auc", f"{HEAD}, border only", scores.inside, chosen=clear, better="none"),
        area_of(run, CODE, "auc_border_covered", f"{HEAD}, border covered", scores.border, chosen=clear),
        area_of(run, CODE, "auc_air_covered", f"{HEAD}, all but the body covered", scores.outside),
        _loss(run, "border_loss", "Area lost when the border is covered", scores.border, clear),
        _loss(run, "air_loss", "Area lost when all but the body is covered", scores.outside, every),
    ]


def _loss(run: ClassificationRun, name: str, label: str, after: Vector, chosen: Bool) -> Estimate:
    patients = [p for p, keep in zip(run.patients, chosen, strict=True) if keep]

    def at(alpha: float) -> RocArea:
        return roc_area_difference(run.logits[chosen], after[chosen], run.positive[chosen], patients, alpha=alpha)

    return area_estimate(f"{CODE}.{name}", label, at, better="lower")


def _surviving(hidden: dict[str, Hidden], point: Threshold | None) -> Estimate:
    hits = [h for h in hidden.values() if called(h.item.logit, point)]
    void = NO_THRESHOLD if point is None else None
    return rate(
        f"{CODE}.surviving_calls",
        "Rightly called cases that are called with the lesion painted over as well",
        [called(h.logit, point) for h in hits],
        [h.item.case.patient_id for h in hits],
        unit_of_analysis="image",
        void=void or (NO_MASKS if not hidden else None if hits else NO_CALLS),
        units=[h.item.case.case_id for h in hits],
    )


def _evidence(
    inside: dict[str, float], area: dict[str, float], hidden: dict[str, Hidden], point: Threshold | None
) -> list[Estimate]:
    patients = [hidden[name].item.case.patient_id for name in inside]
    if not inside:
        hits = any(called(h.item.logit, point) for h in hidden.values())
        reason = NO_MASKS if not hidden else NO_CALLS if point is not None and not hits else NO_DROPS
        return [
            plain(
                f"{CODE}.{name}",
                label,
                None,
                n=0,
                unit="fraction",
                unit_of_analysis="image",
                better=better,
                reason=reason,
            )
            for name, label, better in _EVIDENCE
        ]
    return [
        median(
            f"{CODE}.{name}",
            label,
            list(values.values()),
            patients,
            unit="fraction",
            unit_of_analysis="image",
            better=better,
            units=list(values),
        )
        for (name, label, better), values in zip(_EVIDENCE, (inside, area), strict=True)
    ]


_EVIDENCE = (
    ("evidence_in_lesion", "Share of the evidence that lies on the lesion, median patient", "higher"),
    ("fields_on_lesion", "Share of the fields that lie on the lesion, median patient", "none"),
)


def _rows(
    run: ClassificationRun,
    scores: CoveredScores,
    hidden: dict[str, Hidden],
    inside: dict[str, float],
    point: Threshold | None,
) -> list[Row]:
    rows = []
    for k, item in enumerate(run.items):
        name = item.case.case_id
        held = hidden.get(name)
        rows.append(
            {
                **item.row,
                "logit": round(item.logit, 5),
                "logit_border_only": round(float(scores.inside[k]), 5),
                "logit_border_covered": round(float(scores.border[k]), 5),
                "logit_air_covered": round(float(scores.outside[k]), 5),
                "logit_lesion_hidden": None if held is None else round(held.logit, 5),
                "evidence_in_lesion": None if name not in inside else round(inside[name], 4),
                "status": _status(item, held, point),
            }
        )
    return rows


def _status(item: Scored, held: Hidden | None, point: Threshold | None) -> str:
    if held is None:
        return "no lesion to hide"
    if point is None:
        return "no threshold"
    if not called(item.logit, point):
        return "not called"
    return "called without its lesion" if called(held.logit, point) else "call gone with its lesion"


def _notes(
    run: ClassificationRun, scores: CoveredScores, hidden: dict[str, Hidden], point: Threshold | None
) -> list[str]:
    notes = [said(point)]
    left = int((~scores.clear).sum())
    if left:
        notes.append(f"{left} cases whose lesion reaches into the border are left out of what is said of the border.")
    without = sum(item.positive for item in run.items) - len(hidden)
    if without:
        notes.append(f"{without} cases of the disease have no lesion mask, so no lesion of theirs was painted over.")
    healthy = [item.logit for item in run.items if not item.positive]
    if hidden:
        before, after = (np.median(v) for v in zip(*((h.item.logit, h.logit) for h in hidden.values()), strict=True))
        notes.append(
            f"Median logit {before:.2f} with the lesion, {after:.2f} with it painted over, {np.median(healthy):.2f} in "
            "cases without."
        )
    return notes


def _show(
    findings: Findings, run: ClassificationRun, hidden: dict[str, Hidden], point: Threshold | None, shown: int
) -> None:
    """The cases whose score falls least when the lesion is hidden, and some at random."""
    ordered = sorted(
        (h for h in hidden.values() if point is None or called(h.item.logit, point)),
        key=lambda h: (h.item.logit - h.logit, h.item.case.case_id),
    )
    worst = ordered[:shown]
    rest = ordered[shown:]
    chosen = rng.child(run.seed, "exhibit", CODE).permutation(len(rest))[: max(0, shown // 2)]
    picked = [(h, "worst") for h in worst] + [(rest[k], "random") for k in sorted(chosen)]
    pairs(
        findings,
        f"{CODE}-lesions",
        "Scores with the lesion painted over",
        f"The {len(worst)} called cases whose score falls least, and {len(chosen)} drawn at random.",
        [_pair(h, rule) for h, rule in picked],
        ("as it is", "lesion painted over"),
    )


def _pair(held: Hidden, rule: str) -> Pair:
    item = held.item
    label = f"logit {item.logit:.2f}, {held.logit:.2f} without its lesion"
    grey = held.image.mean(axis=0, dtype=np.float32)
    return Pair(item.grey, grey, item.case.case_id, item.case.patient_id, label, rule)
