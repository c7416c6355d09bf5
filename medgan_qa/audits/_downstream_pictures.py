"""Figures and the table of INT-003."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from medgan_qa.audits._downstream_estimates import LESION, Areas
from medgan_qa.audits._downstream_measures import ANNOTATED, READ, TRUTH, Read
from medgan_qa.audits.exhibits import forest
from medgan_qa.audits.translation import Item
from medgan_qa.criteria import Estimate
from medgan_qa.record import Exhibit


def table(code: str, items: Sequence[Item], read: Read) -> Exhibit:
    """Everything that was read, in the truth and in every upscaled image."""
    rows = [*_lesion_rows(items, read), *_tissue_rows(items, read)]
    return Exhibit(
        id=f"{code}-table",
        kind="counts",
        title="Segmentation of the truth and of upscaled images",
        caption="Dice: means over images. Areas: means over patients, mm2 of a slice. Lesions are held against the "
        "annotation, tissue against the truth's own classes.",
        data={"columns": ["measure", *READ, ANNOTATED], "rows": rows},
    )


def _lesion_rows(items: Sequence[Item], read: Read) -> list[list[str]]:
    if not read.lesions:
        return []
    free = [i.case.case_id for i in items if i.annotation == "lesion-free" and i.case.case_id in read.lesions]
    overlaps = {image: list(read.lesion_dice(image, items).values()) for image in READ}
    clean = {i: [not read.lesions[c].marked[i] for c in free if i in read.lesions[c].marked] for i in READ}
    sizes = {
        i: _by_patient(items, {c: one.area[i] for c, one in read.lesions.items() if i in one.area})
        for i in (*READ, ANNOTATED)
    }
    rows = [["Dice of lesions", *(_mean(overlaps[i]) for i in READ), "1"]]
    if free:
        shares = (f"{100 * np.mean(clean[i]):.0f} %" if clean[i] else "-" for i in READ)
        rows.append(["Lesion-free, nothing marked", *shares, "100 %"])
    return [*rows, ["Area of lesions", *(_mean(sizes[i]) for i in (*READ, ANNOTATED))]]


def _tissue_rows(items: Sequence[Item], read: Read) -> list[list[str]]:
    if not read.tissue:
        return []
    images = READ[1:]
    rows = [["Dice of tissue", "1", *(_mean(list(read.tissue_dice(i).values())) for i in images), "-"]]
    for name in read.classes:
        held = {c: one for c, one in read.tissue.items() if name in one.area[TRUTH]}
        overlaps = (_mean([one.dice[i][name] for one in held.values()]) for i in images)
        rows.append([f"Dice of tissue, {name}", "1", *overlaps, "-"])
        sizes = (_mean(_by_patient(items, {c: one.area[i][name] for c, one in held.items()})) for i in READ)
        rows.append([f"Area of tissue, {name}", *sizes, "-"])
    return rows


def _mean(values: Sequence[float]) -> str:
    middle = float(np.mean(values)) if values else 0.0
    return (f"{middle:.0f}" if middle >= 100 else f"{middle:.3g}") if values else "-"


def _by_patient(items: Sequence[Item], values: Mapping[str, float]) -> list[float]:
    slices: dict[str, list[float]] = {}
    for item in items:
        if item.case.case_id in values:
            slices.setdefault(item.case.patient_id, []).append(values[item.case.case_id])
    return [float(np.mean(held)) for held in slices.values()]


def dice_forest(code: str, estimates: Sequence[Estimate]) -> list[Exhibit]:
    """Dice by image, lesions and tissue, each with its interval."""
    wanted = {f"{code}.dice": "lesions", f"{code}.tissue_dice": "tissue"}
    held = [e for e in estimates if e.measurement.id.partition("[")[0] in wanted and e.measurement.value is not None]
    if not held:
        return []
    shown = forest(
        f"{code}-dice",
        "Dice by image",
        "Lesions against the annotation, tissue against the truth's classes. Ends are one-sided 95 % bounds.",
        held,
        x=(0.0, 1.0),
        label=lambda m: f"{wanted[m.id.partition('[')[0]]}, {m.stratum}",
    )
    return [shown]


def area_scatter(code: str, held: Areas) -> Exhibit:
    """Bland-Altman plot of one quantity."""
    a = held.model
    low, high = a.limit("low"), a.limit("high")
    points = [_point(x, y, "model", name) for x, y, name in zip(a.mean, a.difference, held.patients, strict=True)]
    if held.truth is not None:
        own = zip(held.truth.mean, held.truth.difference, held.patients, strict=True)
        points += [_point(x, y, TRUTH, name) for x, y, name in own]
    reach = [low, high, 0.0, *(p["y"] for p in points if isinstance(p["y"], float))]
    room = 0.05 * (max(reach) - min(reach)) or 1.0
    of = "annotation" if held.name == LESION else "truth"
    own_words = " The detector's own reading of the truth stands beside it." if held.truth is not None else ""
    return Exhibit(
        id=f"{code}-{held.name.replace(' ', '-')}",
        kind="scatter",
        title=f"Agreement of area: {held.name}",
        caption=f"One mark a patient: segmented area minus that of the {of} against the mean of both, with the model's "
        f"bias and limits of agreement (bias plus and minus 1.96 standard deviations).{own_words}",
        data={
            "x_label": f"Mean of segmented area and {of} (mm2 of a slice)",
            "y_label": f"Segmented area minus {of} (mm2)",
            "points": points,
            "lines": [
                {"y": high, "label": "+1.96 sd"},
                {"y": a.bias, "label": "bias"},
                {"y": low, "label": "-1.96 sd"},
            ],
            "y_range": [min(reach) - room, max(reach) + room],
        },
    )


def _point(x: float, y: float, group: str, patient: str) -> dict[str, float | str]:
    return {"x": float(f"{x:.5g}"), "y": float(f"{y:.5g}"), "group": group, "case_id": patient}
