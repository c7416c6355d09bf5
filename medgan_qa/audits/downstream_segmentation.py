"""INT-003: whether the upscaled image can be segmented as well as plain interpolation, and as the truth."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from medgan_qa.audits._downstream_estimates import (
    area_estimates,
    areas,
    lesion_estimates,
    objection,
    tissue_estimates,
    truth_dice,
)
from medgan_qa.audits._downstream_measures import (
    TRUTH,
    Read,
    lesion_readings,
    lesions_of,
    tissue_by_class,
)
from medgan_qa.audits._downstream_pictures import area_scatter, dice_forest, table
from medgan_qa.audits._stored import scale_of
from medgan_qa.audits._tissue_error import class_rule, tissue_of
from medgan_qa.audits._upscaled import IMAGES, MODEL, ONE_GRID, PLAIN
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pick, panels, random_picks
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics.intensity_classes import LEVELS, Window

CODE = "INT-003"
NO_DETECTOR = (
    "No detector of lesions was given, so lesions were not segmented. Give one for images of the output's kind: "
    "--detector FILE."
)
NO_LESIONS = "No case has an annotated lesion and a true image, so no lesion was segmented."


def downstream_segmentation(
    run: SuperResolutionRun,
    *,
    unit: str = "auto",
    classes: int = 4,
    lesion_margin_px: int = 2,
    min_lesion_pixels: int = 3,
    dice_min: float = 0.5,
    detector_false_alarm_max: float = 0.2,
    worst: int = 3,
    random: int = 3,
) -> Findings:
    """Segmentation with and without super-resolution.

    Question. Is a segmentation of the output as near to the annotation as one of the interpolated input, and what
    does it lose against the true image?

    What it measures. The run's detector, a segmentation network for images of the output's kind, marks lesions in
    the truth, the output, the input interpolated (bicubic) and the input with its pixels repeated. Dice with the
    annotated mask is averaged over the cases with an annotated lesion; two empty masks would have a Dice of 1, so
    cases annotated as lesion-free are counted apart, by the share in which nothing of 3 pixels or more is marked.
    The marked area, a patient's mean over all annotated slices, is compared with the annotated one: bias and limits
    of agreement. The same is done with tissue: classes of intensity, their windows taken from the true images
    together (Hounsfield units: fixed windows) and applied to each image after a median over 3 x 3 pixels, within
    the truth's body and without lesions; the truth's own classes are what Dice and area are measured against. The
    gain is the model less bicubic on the same cases.

    Why it matters. An upscaled image is often made to be measured. One that looks better and is segmented worse
    than its own interpolated input has no use in a pipeline, and an area that is read too small is a response to
    treatment that did not happen.

    Known limits. It says as much as the detector can: its Dice on the truth stands beside every other, and where
    the lower bound of that is below the least allowed, or too many true lesion-free images are marked, nothing is
    concluded about lesions. A detector that a blur serves better than the truth does would judge against detail. It
    must not have been trained on outputs of the model. Classes of intensity are no anatomy, and those of the truth
    hold its noise, so their Dice stays below 1 for a perfect model that removes noise. Area in slices stands for
    volume, which needs all slices and their distance: of volumes too, Dice and area are taken slice by slice, and
    the slices of a patient are one cluster. Lesions that were removed or invented have audits of their own.

    Method and source. Dice 1945; bias and limits of agreement after Bland and Altman 1999, with exact bounds after
    Carkeet 2015; classes after Otsu 1979. Means with intervals that resample patients; gains by Student's t over
    patients; shares after Clopper and Pearson 1934, clustered by patient.
    """
    findings = Findings()
    if not run.paired:
        findings.not_applicable = "No case has the true image (column target), so there is nothing to compare with."
        return findings
    _check(classes, lesion_margin_px, dice_min, detector_false_alarm_max)
    read = _read(run, unit, classes, lesion_margin_px, min_lesion_pixels)
    if not read.lesions and not read.tissue:
        findings.missing = f"{read.absent} No class of tissue could be told apart in the true images either."
        return findings
    patient = {item.case.case_id: item.case.patient_id for item in run.paired}
    own = truth_dice(run, CODE, read, patient)
    unfit = objection(own, read, run.paired, dice_min, detector_false_alarm_max)
    if unfit and not read.tissue:
        findings.missing = unfit
    measured = areas(run, read, lesions=not unfit)
    findings.estimates = [
        *lesion_estimates(run, CODE, read, patient, unfit or read.absent),
        *([own] if read.lesions else []),
        *tissue_estimates(run, CODE, read, patient),
        *(estimate for held in measured for estimate in area_estimates(CODE, held)),
    ]
    findings.rows = [_row(item, read) for item in run.items]
    findings.excluded = {row["case_id"]: row["status"] for row in findings.rows if row["status"] != "measured"}
    findings.notes = [*([unfit] if unfit else []), *_notes(run, read)]
    findings.exhibits = [table(CODE, run.paired, read)]
    _show(findings, run, read, worst, random)
    findings.exhibits += [area_scatter(CODE, held) for held in measured]
    findings.exhibits += dice_forest(CODE, findings.estimates)
    return findings


def _check(classes: int, margin: int, least: float, most_marked: float) -> None:
    if classes in LEVELS and margin >= 0 and 0 <= least < 1 and 0 <= most_marked <= 1:
        return
    raise ConfigurationError(
        f"The parameters of {CODE} cannot be used.",
        expected=f"classes of {', '.join(map(str, LEVELS))}; lesion_margin_px of 0 or more; dice_min of 0 to below 1; "
        "detector_false_alarm_max of 0 to 1",
        found=f"classes {classes}, lesion_margin_px {margin}, dice_min {least:g}, detector_false_alarm_max "
        f"{most_marked:g}",
        where=f'[parameters."{CODE}"] of the criteria file',
        todo=f"`medgan-qa explain {CODE}` lists the parameters.",
    )


def _read(run: SuperResolutionRun, unit: str, classes: int, margin: int, min_pixels: int) -> Read:
    scale = scale_of(run.cohort, unit)
    regions = {item.case.case_id: tissue_of(item, margin) for item in run.paired}
    windows = class_rule(run.paired, regions, scale, classes).windows
    tissue = run.engine.map(
        lambda item: tissue_by_class(run, item, scale, windows, regions[item.case.case_id]),
        run.paired,
        label="Segmenting tissue",
    )
    held = {item.case.case_id: one for item, one in zip(run.paired, tissue, strict=True) if one.area[TRUTH]}
    read = Read(tissue=held, windows=windows)
    annotated = [item for item in run.paired if item.lesion is not None]
    if not any(item.annotation == "lesions" for item in annotated):
        read.absent = NO_LESIONS
    elif run.detector is None:
        read.absent = NO_DETECTOR
    else:
        marks = lesion_readings(run, annotated)
        own = {item.case.case_id: lesions_of(item, marks[item.case.case_id], min_pixels) for item in annotated}
        read.lesions = own
    return read


def _row(item: Item, read: Read) -> Row:
    case_id = item.case.case_id
    row: dict[str, Any] = dict(item.row)
    lesions, tissue = read.lesions.get(case_id), read.tissue.get(case_id)
    if lesions is not None and item.annotation == "lesions":
        row |= {f"dice_{image}": round(value, 4) for image, value in lesions.dice.items()}
    if lesions is not None:
        row |= {f"lesion_area_{image}": float(f"{value:.5g}") for image, value in lesions.area.items()}
    if tissue is not None:
        row |= {f"tissue_dice_{i}": round(read.tissue_dice(i)[case_id], 4) for i in IMAGES}
    if item.reference is None:
        return {**row, "status": "no reference"}
    return {**row, "status": "nothing to segment" if lesions is None and tissue is None else "measured"}


def _notes(run: SuperResolutionRun, read: Read) -> list[str]:
    notes = [read.absent] if read.absent else []
    ranges = ", ".join(f"{name} {_range(window)}" for name, window in read.windows.items())
    notes.append(f"Classes of tissue by the true images' intensity: {ranges or 'none could be told apart'}.")
    if read.lesions:
        notes.append(
            "Dice of lesions is a mean over cases with an annotated lesion. Two empty masks have a Dice of 1 by "
            "definition; such cases are counted as unmarked instead."
        )
    if run.scale == (1, 1):
        notes.append(ONE_GRID)
    return notes


def _range(window: Window) -> str:
    low, high = window
    if not np.isfinite(low):
        return f"below {high:.3g}"
    return f"from {low:.3g}" if not np.isfinite(high) else f"{low:.3g} to {high:.3g}"


def _show(findings: Findings, run: SuperResolutionRun, read: Read, worst: int, random: int) -> None:
    """The cases that lose most against bicubic, of lesions where these were read, and cases drawn by seed."""
    by_lesion = read.lesion_dice(PLAIN, run.paired)
    source: Mapping[str, float] = by_lesion or read.tissue_dice(PLAIN)
    own = read.lesion_dice(MODEL, run.paired) if by_lesion else read.tissue_dice(MODEL)
    shown = [item for item in run.paired if item.case.case_id in source]
    order = sorted(shown, key=lambda i: (own[i.case.case_id] - source[i.case.case_id], i.case.case_id))[:worst]
    rest = random_picks(run, CODE, shown, random, {item.case.case_id for item in order})
    picks = [
        Pick(item, f"Dice {own[item.case.case_id]:.2f}, bicubic {source[item.case.case_id]:.2f}", rule)
        for items, rule in ((order, "worst"), (rest, "random"))
        for item in items
    ]
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random cases",
        f"The {len(order)} cases whose Dice of {'lesions' if by_lesion else 'tissue'} falls furthest below that of "
        f"bicubic interpolation, and {len(rest)} drawn at random.",
        picks,
        reading=bool(by_lesion),
    )
