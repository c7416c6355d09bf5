"""GEO-002: tissue boundaries and lesion outlines that the translation changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from medgan_qa.audits._placements import LesionShape, Placed, changed_px, lesion_shapes, none_placed, placements
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pick, panels, random_picks
from medgan_qa.audits.numbers import count, identifier, median, rate
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.outlines import BoundaryAgreement, boundary_agreement, edges
from medgan_qa.record import Exhibit

CODE = "GEO-002"
REAL_PAIRS = "real pairs"
AGAINST_REFERENCE = "against reference"

# id, label, unit, better
BOUNDARIES = (
    ("boundary_distance_mm", "Median distance of edges", "mm", "lower"),
    ("boundary_hd95_mm", "Median 95th percentile distance of edges", "mm", "lower"),
    ("boundary_f_score", "Median share of edges found again (F-score)", "1", "higher"),
)
STRATA = {None: "output to source", REAL_PAIRS: "reference to source", AGAINST_REFERENCE: "output to reference"}


class _Case(NamedTuple):
    """One case's boundaries and deformation."""

    placed: Placed
    boundaries: dict[str | None, BoundaryAgreement | None]
    """By stratum."""
    deformation_mm: float | None

    @property
    def item(self) -> Item:
        return self.placed.item

    @property
    def loss(self) -> float | None:
        """F-score of the real pair less that of source and output."""
        real, made = self.boundaries.get(REAL_PAIRS), self.boundaries.get(None)
        return None if real is None or made is None else real.f_score - made.f_score


def altered_structure(
    run: TranslationRun,
    *,
    tolerance_mm: float = 2.0,
    limit_mm: float = 2.0,
    limit_px: float = 1.0,
    outline_limit: float = 0.06,
    outline_limit_px: float = 0.35,
    min_lesion_pixels: int = 12,
    lesion_reach_mm: float = 15.0,
    worst: int = 6,
    random: int = 3,
) -> Findings:
    """Altered structure.

    Question. Does the output keep the boundaries of tissues and the outlines of lesions?

    What it measures. Edges are found in source, output and reference, each by its own gradients, and compared: mean
    symmetric distance, 95th percentile distance, and the F-score of edges found again within tolerance_mm (or a pixel,
    if that is more). The value of source and real reference stands beside that of source and output, as two contrasts
    never show quite the same edges; boundary_loss is the difference of their F-scores case by case. Deformation is the
    95th percentile of local displacements that shift, rotation and scale do not explain; a case is deformed when it
    exceeds limit_mm and limit_px pixels. Lesions are outlined at half of their contrast in reference and output and
    moved onto each other: a lesion is reshaped when the mean distance of the outlines exceeds outline_limit of its
    radius and outline_limit_px pixels.

    Why it matters. A translator may move a wall, round off a ventricle or make a square of a round lesion, and still
    give a sharp, plausible image. Size, margin and shape decide what a lesion is taken for, and how it is treated.

    Known limits. Edges that the source does not show cannot be expected from the output; the real pairs say how many
    there are. Without references the source alone is compared, and lesions are not outlined. A shift or a scale of the
    whole lowers the boundary scores too; GEO-001 tells which it was. Deformation is followed in windows of 24 pixels
    (of at most 128 across): what is smaller moves its edges, and shows in the boundary distance. Outlines of lesions a
    few pixels wide are coarse, which is what outline_limit_px allows for. Lesions that are lost or faint have no
    outline; PAT-001 and PAT-003 count those. A lesion of a volume is outlined once, in the slice that shows it largest.

    Method and source. Canny 1986 with quantiles of the gradient as thresholds; boundary F-score after Martin et al.
    2004; 95th percentile Hausdorff distance after Huttenlocher et al. 1993; windows placed by normalised gradient
    fields as in GEO-001; outlines between pixels after Lorensen and Cline 1987. Rates: Clopper and Pearson 1934,
    clustered by patient; medians: order statistics.
    """
    findings = Findings()
    placed = placements(run)
    objections = {p.item.case.case_id: p.objection for p in placed}
    kept = [p for p in placed if not objections[p.item.case.case_id]]
    findings.not_applicable = none_placed(placed)
    if findings.not_applicable:
        return findings
    cases = run.engine.map(lambda p: _measured(p, tolerance_mm), kept, label="Comparing boundaries")
    empty = {c.item.case.case_id: "no edges in the output" for c in cases if c.boundaries[None] is None}
    findings.excluded = {case_id: reason for case_id, reason in objections.items() if reason} | empty
    ids = {p.item.case.case_id for p in kept}
    shapes = [s for s in lesion_shapes(run, min_lesion_pixels, lesion_reach_mm) if s.item.case.case_id in ids]

    deformed = {
        c.item.case.case_id: c.placed.beyond(c.deformation_mm, limit_mm, limit_px)
        for c in cases
        if c.deformation_mm is not None
    }
    reshaped = {
        s.lesion_id: s.change > outline_limit and changed_px(s) > outline_limit_px
        for s in shapes
        if s.change is not None
    }
    findings.estimates = [
        *_deformation(cases, deformed),
        *_outlines(shapes, reshaped),
        *_boundaries(cases),
    ]
    findings.rows = [_row(p, _by_id(cases), deformed, findings.excluded) for p in placed]
    findings.tables[f"exhibits/{CODE}-lesions.csv"] = [_lesion_row(s, reshaped.get(s.lesion_id)) for s in shapes]
    findings.notes = _notes(run, cases)
    outlined = [s for s in shapes if s.change is not None]
    if outlined:
        findings.exhibits.append(_scatter(outlined, reshaped, outline_limit))
    _show(findings, run, cases, deformed, _reshaped_cases(shapes, reshaped), worst, random)
    return findings


def _measured(placed: Placed, tolerance_mm: float) -> _Case:
    item = placed.item
    spacing, tolerance = item.spacing_mm, max(tolerance_mm, *item.spacing_mm)
    source, output = edges(item.source), edges(item.output)
    found: dict[str | None, BoundaryAgreement | None] = {None: boundary_agreement(output, source, spacing, tolerance)}
    if item.reference is not None:
        reference = edges(item.reference)
        found[REAL_PAIRS] = boundary_agreement(reference, source, spacing, tolerance)
        found[AGAINST_REFERENCE] = boundary_agreement(output, reference, spacing, tolerance)
    where = placed.output
    return _Case(placed, found, None if where is None else where.windows.deformation_mm)


def _by_id(cases: Sequence[_Case]) -> dict[str, _Case]:
    return {c.item.case.case_id: c for c in cases}


def _median(
    name: str,
    label: str,
    values: Sequence[tuple[_Case, float | None]],
    *,
    unit: str,
    better: str,
    stratum: str | None = None,
) -> Estimate:
    held = [(c, value) for c, value in values if value is not None]
    return median(
        identifier(CODE, name, stratum),
        label,
        [value for _, value in held],
        [c.item.case.patient_id for c, _ in held],
        unit=unit,
        unit_of_analysis="image",
        better=better,
        stratum=stratum,
        units=[c.item.case.case_id for c, _ in held],
    )


def _deformation(cases: Sequence[_Case], deformed: dict[str, bool]) -> list[Estimate]:
    held = [c for c in cases if c.item.case.case_id in deformed]
    values = [(c, c.deformation_mm) for c in cases]
    return [
        rate(
            f"{CODE}.deformed_rate",
            "Cases deformed",
            [deformed[c.item.case.case_id] for c in held],
            [c.item.case.patient_id for c in held],
            unit_of_analysis="image",
            units=[c.item.case.case_id for c in held],
        ),
        _median("deformation_mm", "Median deformation", values, unit="mm", better="lower"),
    ]


def _outlines(shapes: Sequence[LesionShape], reshaped: dict[str, bool]) -> list[Estimate]:
    outlined = [s for s in shapes if s.lesion_id in reshaped]
    ids, patients = [s.lesion_id for s in outlined], [s.patient for s in outlined]
    common: dict[str, Any] = {"unit_of_analysis": "lesion", "units": ids}
    return [
        rate(
            f"{CODE}.reshaped_rate",
            "Lesions with another outline",
            [reshaped[name] for name in ids],
            patients,
            **common,
        ),
        median(
            f"{CODE}.outline_change",
            "Median change of lesion outlines, in radii",
            [s.change for s in outlined if s.change is not None],
            patients,
            unit="1",
            better="lower",
            **common,
        ),
        median(
            f"{CODE}.lesion_area_ratio",
            "Median lesion area over that in the reference",
            [s.area_ratio for s in outlined if s.area_ratio is not None],
            patients,
            unit="1",
            better="nearer_one",
            **common,
        ),
        count(
            f"{CODE}.not_outlined",
            "Lesions without a clear outline in reference or output (left out)",
            len(shapes) - len(outlined),
            n=len(shapes),
            unit_of_analysis="lesion",
            better="none",
        ),
    ]


def _boundaries(cases: Sequence[_Case]) -> list[Estimate]:
    held = [(stratum, words) for stratum, words in STRATA.items() if any(stratum in c.boundaries for c in cases)]
    out = [
        _median(
            name,
            f"{label}, {words}",
            [(c, _value(c.boundaries.get(stratum), name)) for c in cases],
            unit=unit,
            better="none" if stratum == REAL_PAIRS else better,
            stratum=stratum,
        )
        for stratum, words in held
        for name, label, unit, better in BOUNDARIES
    ]
    losses = [(c, c.loss) for c in cases]
    label = "Median loss of F-score against the real pair"
    return [*out, _median("boundary_loss", label, losses, unit="1", better="lower")]


def _value(found: BoundaryAgreement | None, name: str) -> float | None:
    if found is None:
        return None
    return {"boundary_distance_mm": found.mean_mm, "boundary_hd95_mm": found.hd95_mm}.get(name, found.f_score)


def _row(placed: Placed, cases: dict[str, _Case], deformed: dict[str, bool], excluded: dict[str, str]) -> Row:
    case_id = placed.item.case.case_id
    case = cases.get(case_id)
    if case is None:
        return {**placed.item.row, "status": excluded[case_id]}
    suffix = {None: "", REAL_PAIRS: "_real_pair", AGAINST_REFERENCE: "_to_reference"}
    numbers = {
        name + suffix[stratum]: _value(found, name)
        for stratum, found in case.boundaries.items()
        for name, _, _, _ in BOUNDARIES
    }
    numbers |= {"deformation_mm": case.deformation_mm, "boundary_loss": case.loss}
    status = "deformed" if deformed.get(case_id) else "kept"
    return {
        **placed.item.row,
        **{name: None if value is None else round(value, 3) for name, value in numbers.items()},
        "status": excluded.get(case_id, status if case_id in deformed else "too few windows"),
    }


def _lesion_row(shape: LesionShape, reshaped: bool | None) -> Row:
    before, after = shape.circularity or (None, None)
    numbers = {
        "outline_change": shape.change,
        "area_ratio": shape.area_ratio,
        "circularity_reference": before,
        "circularity_output": after,
    }
    return {
        **shape.item.row,
        "lesion": shape.number,
        "diameter_mm": round(shape.diameter_mm, 2),
        **{name: None if value is None else round(value, 3) for name, value in numbers.items()},
        "status": shape.status if reshaped is None else "reshaped" if reshaped else "kept",
    }


def _notes(run: TranslationRun, cases: Sequence[_Case]) -> list[str]:
    if not run.paired:
        return ["No case has a paired reference image: lesions were not outlined, and no real pair stands beside."]
    unplaced = sum(c.deformation_mm is None for c in cases)
    text = f"In {unplaced} of {len(cases)} cases too few windows were placed to tell a deformation."
    return [text] if unplaced else []


def _reshaped_cases(shapes: Sequence[LesionShape], reshaped: dict[str, bool]) -> set[str]:
    return {s.item.case.case_id for s in shapes if reshaped.get(s.lesion_id)}


def _scatter(shapes: Sequence[LesionShape], reshaped: dict[str, bool], limit: float) -> Exhibit:
    points = [
        {
            "x": round(s.diameter_mm, 2),
            "y": round(s.change, 4),
            "group": "reshaped" if reshaped[s.lesion_id] else "kept",
            "case_id": s.item.case.case_id,
        }
        for s in shapes
        if s.change is not None
    ]
    return Exhibit(
        id=f"{CODE}-outlines",
        kind="scatter",
        title="Change of every lesion's outline",
        caption="One mark a lesion: mean distance of the outlines in output and reference over the lesion's radius. A "
        "disc made a square of the same area stands at 0.08.",
        data={
            "x_label": "Diameter in the slice (mm)",
            "y_label": "Change of outline (radii)",
            "points": points,
            "lines": [{"y": limit, "label": "reshaped above"}],
            "x_range": [0.0, 1.05 * max([10.0, *(s.diameter_mm for s in shapes)])],
            "y_range": [0.0, 1.1 * max([2 * limit, *(s.change for s in shapes if s.change is not None)])],
        },
    )


def _show(
    findings: Findings,
    run: TranslationRun,
    cases: Sequence[_Case],
    deformed: dict[str, bool],
    reshaped: set[str],
    worst: int,
    random: int,
) -> None:
    """The worst cases by a fixed rule (deformed, then reshaped lesions, then distance of edges), and some at random."""

    def distance(case: _Case) -> float:
        found = case.boundaries.get(AGAINST_REFERENCE, case.boundaries[None])
        return 0.0 if found is None else found.mean_mm

    def badness(case: _Case) -> tuple[bool, bool, float, str]:
        name = case.item.case.case_id
        return (not deformed.get(name, False), name not in reshaped, -distance(case), name)

    def label(case: _Case) -> str:
        name = case.item.case.case_id
        found = [
            word for word, held in (("deformed", deformed.get(name)), ("lesion reshaped", name in reshaped)) if held
        ]
        return f"{', '.join(found) or 'kept'}, edges {distance(case):.1f} mm"

    by_id = _by_id(cases)
    picks = [Pick(c.item, label(c), "worst") for c in sorted(cases, key=badness)[:worst]]
    taken = {pick.item.case.case_id for pick in picks}
    rest = random_picks(run, CODE, [c.item for c in cases], random, taken)
    picks += [Pick(item, label(by_id[item.case.case_id]), "random") for item in rest]
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random cases",
        f"The {len(taken)} worst cases (deformed first, then reshaped lesions, then the distance of edges), and "
        f"{len(rest)} drawn at random.",
        picks,
        reading=False,
    )
