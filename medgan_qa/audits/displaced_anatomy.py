"""GEO-001: outputs that do not lie where the real image lies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from medgan_qa.audits._placements import LesionShape, Placed, lesion_shapes, none_placed, placements
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pick, forest, panels, random_picks
from medgan_qa.audits.lesions import site_stratum
from medgan_qa.audits.numbers import by_stratum, count, identifier, median, rate
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.geometry import Placement
from medgan_qa.record import Exhibit

CODE = "GEO-001"
REAL_PAIRS = "real pairs"
IN_PLACE = "in place"
NOT_PLACED = "nothing in common"


def displaced_anatomy(
    run: TranslationRun,
    *,
    limit_mm: float = 2.0,
    limit_px: float = 1.0,
    scale_limit: float = 0.02,
    min_lesion_pixels: int = 12,
    lesion_reach_mm: float = 15.0,
    worst: int = 6,
    random: int = 3,
) -> Findings:
    """Displaced anatomy.

    Question. Does the output lie where the real image lies: not moved, mirrored, wrapped around or resized?

    What it measures. Every output is placed against the real image of the target domain, or against the source where
    there is none, by the directions of edges and not by grey values. A case is displaced when the body's centre moved
    by more than limit_mm and more than limit_px pixels; flipped when a mirrored or half-turned real image agrees better
    than any upright one; wrapped when what left at one border came in at the other; scaled when its size is off by more
    than scale_limit. Misplaced is any of these, and an output that has nothing in common with a real image that its
    source could be placed in. Shift and scale are also given as medians over patients, with the shift between source
    and reference of the same cases beside them. The centres of annotated lesions, outlined at half of their contrast in
    output and reference, are followed apart.

    Why it matters. Surgery, biopsy and radiation are aimed by the image. A flip or a shift of a few millimetres leaves
    every distribution distance as it was, and with cyclic losses nothing in training forbids it.

    Known limits. A plain shift of the whole output is found to about a tenth of a pixel in the same contrast, worse
    against a source of another one. An anatomy that is symmetric within the noise cannot be told from its mirror image;
    such a case is left out of the flipped rate, counted, and placed as if upright. A flip is one about the middle lines
    of the image; quarter turns and rotations are not looked for, though small rotations are listed. A cyclic shift is
    told from a plain one only if part of the body crossed the border. Cases whose source and reference do not lie on
    each other are left out (2 mm and one pixel): the model cannot be right against both. Scales are followed up to half
    or one and a half times.

    Method and source. Kuglin and Hines 1975 (shift from spectra) on normalised gradient fields (Haber and Modersitzki
    2006) in double-angle form (Granlund 1978), with cosine-weighted windows placed one by one and an affine map through
    them by reweighted least squares (Tukey's biweight). Orientations are told apart by local differences of over 4
    standard errors. Rates: Clopper and Pearson 1934, clustered by patient; medians: order statistics.
    """
    findings = Findings()
    placed = placements(run)
    objections = {p.item.case.case_id: p.objection for p in placed}
    findings.excluded = {case_id: reason for case_id, reason in objections.items() if reason}
    kept = [p for p in placed if not objections[p.item.case.case_id]]
    findings.not_applicable = none_placed(placed)
    if findings.not_applicable:
        return findings
    judged = {p.item.case.case_id: _judged(p, limit_mm, limit_px, scale_limit) for p in kept}
    shapes = [s for s in lesion_shapes(run, min_lesion_pixels, lesion_reach_mm) if s.item.case.case_id in judged]

    site = site_stratum(p.item for p in kept)
    overall = _misplaced(kept, judged, None)
    strata = [_misplaced(group, judged, name) for name, group in by_stratum(kept, lambda p: site(p.item)).items()]
    rates = _rates(kept, judged)
    findings.estimates = [overall, *rates, *_medians(kept), *strata, _lesion_shift(shapes), *_counts(kept, objections)]
    findings.rows = [_row(p, judged.get(p.item.case.case_id), objections[p.item.case.case_id]) for p in placed]
    findings.tables[f"exhibits/{CODE}-lesions.csv"] = [_lesion_row(shape) for shape in shapes]
    findings.notes = _notes(kept, judged)
    findings.exhibits = [
        forest(
            f"{CODE}-rates",
            "Misplaced cases, by kind and site",
            "Share of cases. Ends are one-sided 95 % bounds, clustered by patient.",
            [overall, *rates, *strata],
            x=(0.0, 1.0),
            label=lambda m: m.stratum or m.label,
        )
    ]
    if any(_moved(p) is not None for p in kept):
        findings.exhibits.append(_scatter(kept, judged))
    _show(findings, run, kept, judged, worst, random)
    return findings


def _judged(placed: Placed, limit_mm: float, limit_px: float, scale_limit: float) -> list[str]:
    """Everything that is wrong with the place of an output, gravest first; empty where it lies in place."""
    where = _where(placed)
    distance = where.distance_mm
    if distance is None:
        return [NOT_PLACED]
    found = [where.shift.name] if where.flipped else []
    if where.shift.wrapped:
        found.append("wrapped around")
    if placed.beyond(distance, limit_mm, limit_px):
        found.append("displaced")
    if where.scale is not None and abs(where.scale - 1) > scale_limit:
        found.append("scaled")
    return found


def _where(placed: Placed) -> Placement:
    assert placed.output is not None
    return placed.output


def _moved(placed: Placed) -> tuple[float, float] | None:
    return _where(placed).displacement_mm


def _share(
    name: str, label: str, kept: Sequence[Placed], event: Callable[[Placed], bool], stratum: str | None
) -> Estimate:
    return rate(
        identifier(CODE, name, stratum),
        label,
        [event(p) for p in kept],
        [p.item.case.patient_id for p in kept],
        unit_of_analysis="image",
        stratum=stratum,
        units=[p.item.case.case_id for p in kept],
    )


def _misplaced(kept: Sequence[Placed], judged: dict[str, list[str]], stratum: str | None) -> Estimate:
    label = "Cases that do not lie where the real image lies"
    return _share("misplaced_rate", label, kept, lambda p: bool(judged[p.item.case.case_id]), stratum)


def _rates(kept: Sequence[Placed], judged: dict[str, list[str]]) -> list[Estimate]:
    def has(kind: str) -> Callable[[Placed], bool]:
        return lambda p: kind in judged[p.item.case.case_id]

    found = [p for p in kept if _moved(p) is not None]
    sized = [p for p in found if _where(p).scale is not None]
    readable = [p for p in found if _where(p).flipped is not None]
    return [
        _share("displaced_rate", "Cases displaced", found, has("displaced"), None),
        _share("flipped_rate", "Cases flipped", readable, lambda p: bool(_where(p).flipped), None),
        _share("wrapped_rate", "Cases wrapped around", found, has("wrapped around"), None),
        _share("scaled_rate", "Cases of another size", sized, has("scaled"), None),
        _share("not_placed_rate", "Cases with nothing in common with the real image", kept, has(NOT_PLACED), None),
    ]


def _medians(kept: Sequence[Placed]) -> list[Estimate]:
    moved = [(p, p.output.distance_mm) for p in kept if p.output is not None]
    pairs = [(p, p.pair.distance_mm) for p in kept if p.pair is not None]
    sized = [(p, _where(p).scale) for p in kept]
    sizes = [(p, abs(scale - 1)) for p, scale in sized if scale is not None]
    return [
        _median("displacement_mm", "Median displacement", moved, "mm", None),
        _median("displacement_mm", "Median displacement between source and reference", pairs, "mm", REAL_PAIRS),
        _median("scale_error", "Median difference in size", sizes, "fraction", None),
    ]


def _median(
    name: str, label: str, values: Sequence[tuple[Placed, float | None]], unit: str, stratum: str | None
) -> Estimate:
    held = [(p, value) for p, value in values if value is not None]
    return median(
        identifier(CODE, name, stratum),
        label,
        [value for _, value in held],
        [p.item.case.patient_id for p, _ in held],
        unit=unit,
        unit_of_analysis="image",
        better="none" if stratum == REAL_PAIRS else "lower",
        stratum=stratum,
        units=[p.item.case.case_id for p, _ in held],
    )


def _lesion_shift(shapes: Sequence[LesionShape]) -> Estimate:
    held = [(s, s.shift_mm) for s in shapes if s.shift_mm is not None]
    return median(
        f"{CODE}.lesion_shift_mm",
        "Median displacement of lesions",
        [shift for _, shift in held],
        [s.patient for s, _ in held],
        unit="mm",
        unit_of_analysis="lesion",
        better="lower",
        units=[s.lesion_id for s, _ in held],
    )


def _counts(kept: Sequence[Placed], objections: dict[str, str | None]) -> list[Estimate]:
    unread = sum(_moved(p) is not None and _where(p).flipped is None for p in kept)
    return [
        count(
            f"{CODE}.orientation_not_readable",
            "Cases too symmetric to be told from their mirror image (left out of the flipped rate)",
            unread,
            n=len(kept),
            unit_of_analysis="image",
            better="none",
        ),
        count(
            f"{CODE}.unusable_pairs",
            "Cases whose real images cannot be compared or do not lie on each other (left out)",
            sum(reason is not None for reason in objections.values()),
            n=len(objections),
            unit_of_analysis="image",
            better="none",
        ),
    ]


def _row(placed: Placed, judged: list[str] | None, objection: str | None) -> Row:
    if placed.output is None or judged is None:
        return {**placed.item.row, "status": objection}
    where = placed.output
    down, right = where.displacement_mm or (None, None)
    numbers = {
        "displacement_mm": where.distance_mm,
        "down_mm": down,
        "right_mm": right,
        "scale": where.scale,
        "rotation_deg": where.rotation_deg,
        "agreement": where.shift.agreement,
        "real_pair_mm": None if placed.pair is None else placed.pair.distance_mm,
    }
    return {
        **placed.item.row,
        "against": placed.against,
        **{name: None if value is None else round(value, 3) for name, value in numbers.items()},
        "orientation": where.shift.name if where.shift.found else None,
        "orientation_readable": where.flipped is not None,
        "status": ", ".join(judged) or IN_PLACE,
    }


def _lesion_row(shape: LesionShape) -> Row:
    return {
        **shape.item.row,
        "lesion": shape.number,
        "diameter_mm": round(shape.diameter_mm, 2),
        "shift_mm": None if shape.shift_mm is None else round(shape.shift_mm, 2),
        "status": shape.status,
    }


def _notes(kept: Sequence[Placed], judged: dict[str, list[str]]) -> list[str]:
    against = Counter(p.against for p in kept)
    notes = ["Outputs were placed against " + " and ".join(f"the {k} in {n} cases" for k, n in sorted(against.items()))]
    kinds = Counter(kind for found in judged.values() for kind in found)
    notes = [notes[0] + "."] if kept else ["No case could be placed."]
    if kinds:
        notes.append("Found: " + ", ".join(f"{kind} in {n}" for kind, n in sorted(kinds.items())) + ".")
    unread = [p for p in kept if _moved(p) is not None and _where(p).flipped is None]
    if unread:
        notes.append(
            f"In {len(unread)} cases the anatomy is too symmetric to be told from its mirror image (first "
            f"{unread[0].item.case.case_id}); they are left out of the flipped rate."
        )
    return notes


def _scatter(kept: Sequence[Placed], judged: dict[str, list[str]]) -> Exhibit:
    points = [
        {
            "x": round(moved[1], 2),
            "y": round(-moved[0], 2),
            "group": (judged[p.item.case.case_id] or [IN_PLACE])[0],
            "case_id": p.item.case.case_id,
        }
        for p in kept
        if (moved := _moved(p)) is not None
    ]
    reach = 1.1 * max([3.0, *(max(abs(p["x"]), abs(p["y"])) for p in points)])  # type: ignore[arg-type]
    return Exhibit(
        id=f"{CODE}-displacement",
        kind="scatter",
        title="Displacement of every case",
        caption="One mark a case, after a flip is undone. In the middle the output lies where the real image lies.",
        data={
            "x_label": "To the right of the image (mm)",
            "y_label": "To the top of the image (mm)",
            "points": points,
            "lines": [{"y": 0.0, "label": "in place"}],
            "x_range": [-reach, reach],
            "y_range": [-reach, reach],
        },
    )


def _show(
    findings: Findings, run: TranslationRun, kept: list[Placed], judged: dict[str, list[str]], worst: int, random: int
) -> None:
    """The worst cases by a fixed rule (most kinds of fault, then farthest), and cases drawn by seed."""

    def badness(placed: Placed) -> tuple[int, float, str]:
        case_id = placed.item.case.case_id
        return (-len(judged[case_id]), -(_where(placed).distance_mm or 0.0), case_id)

    def label(item: Item) -> str:
        where = _where(by_id[item.case.case_id])
        status = ", ".join(judged[item.case.case_id]) or IN_PLACE
        return status if where.distance_mm is None else f"{status}, {where.distance_mm:.1f} mm"

    by_id = {p.item.case.case_id: p for p in kept}
    picks = [Pick(p.item, label(p.item), "worst") for p in sorted(kept, key=badness)[:worst]]
    taken = {pick.item.case.case_id for pick in picks}
    rest = random_picks(run, CODE, [p.item for p in kept], random, taken)
    picks += [Pick(item, label(item), "random") for item in rest]
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random cases",
        f"The {len(taken)} cases with the most faults of place (then the largest displacement), and {len(rest)} drawn "
        "at random.",
        picks,
        reading=False,
    )
