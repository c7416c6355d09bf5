"""Exhibits of the screening map: what it is blind to, the shares of flagged patches, and the maps themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from medgan_qa.audits._planting import Cell
from medgan_qa.audits._scanning import Patches, Scan
from medgan_qa.audits.catalogue import Findings, stack
from medgan_qa.audits.exhibits import forest, random_picks
from medgan_qa.audits.translation import TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.record import Exhibit

Flagged = tuple[Patches, NDArray[np.bool_]]
"""The judged patches of a case, and which of them are flagged."""


def blindness_curves(code: str, removed: Sequence[tuple[Cell, Estimate]]) -> Exhibit:
    """Share of removed lesions that are flagged, over diameter, a line a contrast."""
    series = []
    for contrast in sorted({cell.contrast for cell, _ in removed}):
        row = [(cell, e.measurement.value or 0.0) for cell, e in removed if cell.contrast == contrast]
        name = f"{100 * contrast:g} % contrast"
        series.append({"name": name, "x": [c.diameter_mm for c, _ in row], "y": [round(v, 4) for _, v in row]})
    return Exhibit(
        id=f"{code}-blindness",
        kind="curves",
        title="Share of removed lesions that the map flags",
        caption="Lesions planted into reference patches and removed in the output, by diameter and contrast (share of "
        "the value range). What is missing to 1 is what the map is blind to.",
        data={
            "x_label": "Diameter of the planted lesion (mm)",
            "y_label": "Patches flagged",
            "series": series,
            "y_range": [0.0, 1.0],
        },
    )


def shares(code: str, estimates: Sequence[Estimate]) -> Exhibit:
    """All shares of flagged patches with their intervals."""
    return forest(
        f"{code}-shares",
        "Flagged patches: outputs, clean patches, and patches with a planted fault",
        "Ends are one-sided 95 % bounds, clustered by patient.",
        estimates,
        x=(0.0, 1.0),
        label=lambda m: m.label,
    )


def maps(
    findings: Findings,
    run: TranslationRun,
    code: str,
    judged: Mapping[str, Flagged],
    scan: Scan,
    *,
    worst: int,
    random: int,
) -> None:
    """Add the maps of the cases with the largest flagged share, and of cases drawn by seed."""
    ordered = sorted(judged.values(), key=lambda held: (-held[1].mean(), held[0].item.case.case_id))
    first = [held[0].item for held in ordered[:worst] if held[1].any()]
    taken = {item.case.case_id for item in first}
    rest = random_picks(run, code, [held[0].item for held in judged.values()], random, taken)
    shown = [judged[item.case.case_id] for item in (*first, *rest)]
    if not shown:
        return
    file = f"exhibits/{code}-maps.npz"
    references = [p.item.reference for p, _ in shown if p.item.reference is not None]
    findings.arrays[file] = {
        "source": stack([_map(p, flags, scan) for p, flags in shown]).astype(np.float32),
        "output": stack([p.item.output for p, _ in shown]).astype(np.float32),
        "reference": stack(references).astype(np.float32),
    }
    target = run.cohort.target_domain or "target"
    findings.exhibits.append(
        Exhibit(
            id=f"{code}-maps",
            kind="panels",
            title="Screening maps",
            caption="The map is bright where the patches over a pixel are flagged: white if all are, black if none is. "
            f"The {len(first)} cases with the largest share of flagged patches, and {len(rest)} drawn at random from "
            "the others.",
            file=file,
            data={
                "cases": [_case(held, "worst" if k < len(first) else "random") for k, held in enumerate(shown)],
                "columns": {"source": "flagged (map)", "output": f"{target} (model)", "reference": f"{target} (real)"},
                "display": [0.0, 1.0],
            },
        )
    )


def _case(held: Flagged, rule: str) -> dict[str, str]:
    patches, flags = held
    case = patches.item.case
    label = f"{int(flags.sum())} of {len(flags)} patches flagged"
    return {"case_id": case.case_id, "patient_id": case.patient_id, "label": label, "rule": rule}


def _map(patches: Patches, flags: NDArray[np.bool_], scan: Scan) -> NDArray[np.float64]:
    """Share of the judged patches over each pixel that are flagged, (H, W); 0 where none was judged."""
    flagged, over = (np.zeros(patches.item.output.shape) for _ in range(2))
    for (y, x), flag in zip(patches.corners, flags, strict=True):
        over[y : y + scan.patch, x : x + scan.patch] += 1
        flagged[y : y + scan.patch, x : x + scan.patch] += flag
    share: NDArray[np.float64] = np.divide(flagged, over, out=np.zeros_like(over), where=over > 0)
    return share
