"""PAT-005: what the audits of lesions would have caught on these data."""

from __future__ import annotations

from collections import Counter

import numpy as np

from medgan_qa import rng
from medgan_qa.audits._planted import CONTRASTS, DIAMETERS_MM
from medgan_qa.audits._planting import Cell
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.detection import (
    CODE,
    FAULTS,
    Detection,
    Planted,
    Settings,
    detection,
    detection_sentence,
    power,
)
from medgan_qa.audits.detector import NO_DETECTOR
from medgan_qa.audits.exhibits import Pair, forest, pairs
from medgan_qa.audits.lesions import matching_rule, unseen_in_target
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.isotonic import isotonic_grid
from medgan_qa.metrics.planting import disc, plant
from medgan_qa.record import Exhibit

NO_HOST = (
    "No test case has a paired reference image (column target) and is annotated for lesions, so there is no place "
    "known to be free of lesions to plant one in."
)
NO_ROOM = "No lesion of the reference point fits into a test image clear of its border and of annotated lesions."
GRID_MM, GRID_CONTRASTS = (" ".join(f"{value:g}" for value in values) for values in (DIAMETERS_MM, CONTRASTS))


def detection_limit(
    run: TranslationRun,
    *,
    matching: str = "overlap",
    min_overlap: float = 0.25,
    dilate_mm: float = 3.0,
    min_lesion_pixels: int = 3,
    diameters_mm: str = GRID_MM,
    contrasts: str = GRID_CONTRASTS,
    point_diameter_mm: float = 0.0,
    point_contrast: float = 0.0,
    attenuation: float = 0.6,
    displacement_mm: float = 15.0,
    budget: int = 1200,
    shown: int = 6,
) -> Findings:
    """What the lesion audits would have caught.

    Question. How small and how faint a lesion could be removed or invented without these audits noticing?

    What it measures. Round lesions with a soft edge are planted into the real reference images at places without
    lesions, over a grid of diameters and contrasts and, in greater number, at one reference point. The chain of PAT-001
    and PAT-002 (detector, matching rule, contrast) then reads them. Removal: the lesion stands in the reference and not
    in the output; a lesion that the detector does not find in the reference is a miss, since its removal could not have
    been seen. Insertion: it stands in the output alone. Attenuation (a share of the contrast is taken) and displacement
    are tried at the reference point. Power is the share that was noticed, with a one-sided exact bound clustered by
    patient. The reference point is the lower quartile of diameter and of contrast of the annotated lesions, unless it
    is given.

    Why it matters. No removed lesion among those that could have been seen says nothing about the others. With the
    power beside it, a count of nought becomes a statement; a criterion on its lower bound keeps an audit that can see
    nothing from passing anything.

    Known limits. Planted lesions are discs of even brightness, added to the tissue: real ones are ragged, displace what
    is around them and lie where disease lies. Apart from the planted fault the output equals the reference, so blur and
    noise of the model under audit are not allowed for. Power holds for this detector, this matching rule and these
    data; the grid's cells share patients and places and are not independent of each other. In a volume a lesion is
    planted into a single slice and read there; one that spans several gives the chain more to see.

    Method and source. Detection limits by planted (inserted) lesions as in phantom and virtual-lesion studies of image
    quality; FDA's regulatory science tools plant known lesions (VICTRE, LesionBlender) and known defects (MISS-tool) in
    the same way. Exact bounds by Clopper and Pearson 1934 on the effective sample size of Korn and Graubard 1998; the
    curves are smoothed to be monotone in diameter and contrast (Dykstra and Robertson 1982), the estimates are not.
    """
    findings = Findings()
    findings.not_applicable = unseen_in_target(run.cohort)
    if findings.not_applicable:
        return findings
    if run.detector is None:
        findings.missing = NO_DETECTOR
    elif not any(item.lesion is not None for item in run.paired):
        findings.missing = NO_HOST
    if findings.missing:
        return findings
    settings = Settings(
        rule=matching_rule(CODE, matching, min_overlap, dilate_mm),
        min_pixels=min_lesion_pixels,
        diameters_mm=_numbers("diameters_mm", diameters_mm, 1000.0),
        contrasts=_numbers("contrasts", contrasts, 1.0),
        budget=budget,
        point_diameter_mm=point_diameter_mm,
        point_contrast=point_contrast,
        attenuation=attenuation,
        displacement_mm=displacement_mm,
    )
    found = detection(run, settings)
    if not found.at_point:
        findings.missing = NO_ROOM
        return findings
    at_point = [power(found, fault, found.point, found.at_point, None) for fault in FAULTS]
    cells = {
        fault: [power(found, fault, cell, planted, cell.stratum) for cell, planted in found.grid.items()]
        for fault in FAULTS[:2]
    }
    findings.estimates = [*at_point, *cells["removal"], *cells["insertion"]]
    findings.notes = _notes(found, settings)
    findings.rows = _rows(run, found)
    findings.excluded = _excluded(run, found)
    findings.tables[f"exhibits/{CODE}-planted.csv"] = [_planted_row(p) for p in _every(found)]
    findings.exhibits += [_curve(found), _forest(found, at_point, cells["removal"])]
    _show(findings, run, found, shown)
    return findings


def _numbers(name: str, text: str, largest: float) -> tuple[float, ...]:
    """Numbers written with spaces or commas between them, ascending.

    Raises:
        ConfigurationError: something else is written there.
    """
    try:
        values = tuple(sorted({float(word) for word in text.replace(",", " ").split()}))
    except ValueError:
        values = ()
    if values and all(0 < value <= largest for value in values):
        return values
    raise ConfigurationError(
        f"The parameter {name} of {CODE} cannot be used.",
        expected=f"numbers above 0 and up to {largest:g} with spaces between them",
        found=repr(text),
        where=f'[parameters."{CODE}"] of the criteria file',
        todo=f"`medgan-qa explain {CODE}` lists the parameters.",
    )


def _every(found: Detection) -> list[Planted]:
    return [*found.at_point, *(p for planted in found.grid.values() for p in planted)]


def _notes(found: Detection, settings: Settings) -> list[str]:
    sentences = [detection_sentence(found, fault) for fault in FAULTS[:2]]
    kind = "bright" if found.habits.sign > 0 else "dark"
    notes = [text for text in sentences if text]
    notes.append(f"{_origin(found, settings)} Planted lesions are {kind}.")
    unseen = sum(not p.seen for p in found.at_point)
    notes.append(
        f"{found.images} images with planted lesions were read. Lesions at the reference point that the detector does "
        f"not find in the reference they stand in, which makes them misses: {unseen} of {len(found.at_point)}."
    )
    return [*notes, *_left_out_cells(found, settings)]


def _left_out_cells(found: Detection, settings: Settings) -> list[str]:
    """Kinds of lesions that fit into no image; a diameter that fits at no contrast stands by itself."""
    whole = [d for d in settings.diameters_mm if not any(cell.diameter_mm == d for cell in found.grid)]
    rest = [Cell(d, c) for d in settings.diameters_mm for c in settings.contrasts if d not in whole]
    names = [f"diameter {d:g} mm" for d in whole] + [cell.stratum for cell in rest if cell not in found.grid]
    why = "Not planted, being too small for the pixels, without room in any image, or beyond the value range: "
    return [why + "; ".join(names) + "."] if names else []


def _origin(found: Detection, settings: Settings) -> str:
    """Where the reference point comes from."""
    given = [settings.point_diameter_mm > 0, settings.point_contrast > 0]
    if all(given):
        return "The reference point was given."
    lesions = found.habits.lesions
    if lesions:
        rule = f"the lower quartile of the {lesions} annotated lesions in the reference images"
    else:
        rule = "a default, as the data hold no annotated lesion in a reference image to take it from"
    if not any(given):
        return f"The reference point ({found.point.words}) is {rule}."
    which, other = ("diameter", "contrast") if given[0] else ("contrast", "diameter")
    return f"The {which} of the reference point was given; its {other} is {rule}."


def _rows(run: TranslationRun, found: Detection) -> list[Row]:
    lesions, caught = Counter[str](), Counter[str]()
    for planted in _every(found):
        lesions[planted.item.case.case_id] += 1
        caught[planted.item.case.case_id] += bool(planted.caught["removal"])
    reasons = _excluded(run, found)
    return [
        {
            **item.row,
            "planted": lesions[item.case.case_id],
            "removals_caught": caught[item.case.case_id],
            "status": reasons.get(item.case.case_id, "planted"),
        }
        for item in run.items
    ]


def _excluded(run: TranslationRun, found: Detection) -> dict[str, str]:
    used = {p.item.case.case_id for p in _every(found)}
    return {item.case.case_id: _left_out(item) for item in run.items if item.case.case_id not in used}


def _left_out(item: Item) -> str:
    if item.reference is None:
        return "no reference"
    return "not annotated" if item.lesion is None else "not drawn, or no room for a lesion"


def _planted_row(planted: Planted) -> Row:
    return {
        **planted.item.row,
        "diameter_mm": planted.cell.diameter_mm,
        "contrast": planted.cell.contrast,
        "row": planted.place[0],
        "column": planted.place[1],
        "found_in_reference": planted.seen,
        **{f"{fault}_caught": planted.caught[fault] for fault in FAULTS},
    }


def _curve(found: Detection) -> Exhibit:
    """Removal power over diameter, a line a contrast, smoothed to be monotone."""
    diameters = sorted({cell.diameter_mm for cell in found.grid})
    contrasts = sorted({cell.contrast for cell in found.grid})
    shares, weights = (np.zeros((len(contrasts), len(diameters))) for _ in range(2))
    for cell, planted in found.grid.items():
        at = contrasts.index(cell.contrast), diameters.index(cell.diameter_mm)
        shares[at] = float(np.mean([bool(p.caught["removal"]) for p in planted]))
        weights[at] = len(planted)
    smooth = isotonic_grid(shares, weights) if weights.any() else shares
    series = [
        {"name": f"{100 * c:g} % contrast", "x": diameters, "y": smooth[k].clip(0, 1).round(4).tolist()}
        for k, c in enumerate(contrasts)
    ]
    return Exhibit(
        id=f"{CODE}-power",
        kind="curves",
        title="Power to catch a removed lesion",
        caption="Share of planted lesions whose removal was noticed, by diameter and contrast (share of the value "
        "range). Lines are smoothed to rise with both; estimates with their bounds stand in the next figure.",
        data={
            "x_label": "Diameter of the planted lesion (mm)",
            "y_label": "Removals caught",
            "series": series,
            "y_range": [0.0, 1.0],
        },
    )


def _forest(found: Detection, at_point: list[Estimate], cells: list[Estimate]) -> Exhibit:
    names = {e.measurement.id: f"{fault}, reference point" for fault, e in zip(FAULTS, at_point, strict=True)}
    return forest(
        f"{CODE}-cells",
        "Power at the reference point, and to catch removal by diameter and contrast",
        f"Reference point: {found.point.words}. Ends are one-sided 95 % bounds, clustered by patient.",
        [*at_point, *cells],
        x=(0.0, 1.0),
        label=lambda m: names.get(m.id) or (m.stratum or "all"),
    )


def _show(findings: Findings, run: TranslationRun, found: Detection, shown: int) -> None:
    """Planted lesions at the reference point: missed ones first, the others drawn by seed."""
    order = rng.child(run.seed, "exhibit", CODE).permutation(len(found.at_point))
    mixed = sorted((found.at_point[k] for k in order), key=lambda p: bool(p.caught["removal"]))
    missed = [p for p in mixed if not p.caught["removal"]][: shown // 2]
    picks = [*missed, *(p for p in mixed if p.caught["removal"])][:shown]
    pairs(
        findings,
        f"{CODE}-planted",
        "Lesions planted at the reference point",
        "The reference with a planted lesion, and the same image without it, which stands for an output that removed "
        f"the lesion: {len(missed)} that the audit misses, the others drawn at random from those it catches.",
        [_pair(p, found.habits.sign) for p in picks],
        ("without the lesion", "with the lesion"),
    )


def _pair(planted: Planted, sign: int) -> Pair:
    item, cell = planted.item, planted.cell
    assert item.reference is not None
    cover = disc(item.reference.shape, planted.place, cell.diameter_mm, item.spacing_mm)
    caught = bool(planted.caught["removal"])
    label = "removal caught" if caught else "missed: " + ("still marked" if planted.seen else "not read in reference")
    return Pair(
        output=item.reference,
        reference=plant(item.reference, cover, sign * cell.contrast),
        case_id=item.case.case_id,
        patient_id=item.case.patient_id,
        label=label,
        rule="random" if caught else "worst",
    )
