"""Exhibits that several audits share: image panels of chosen cases."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits.catalogue import Findings, stack
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.record import Exhibit, Measurement

Float = NDArray[np.float32]


class Pick(NamedTuple):
    """A case chosen for display, and why."""

    item: Item
    label: str
    rule: str
    """`worst` or `random`."""


def random_picks(run: TranslationRun, purpose: str, items: Sequence[Item], count: int, taken: set[str]) -> list[Item]:
    """`count` cases drawn by the run's seed from those not already shown, in the order of the cohort."""
    left = [item for item in items if item.case.case_id not in taken]
    if len(left) <= count:
        return left
    chosen = rng.child(run.seed, "exhibit", purpose).choice(len(left), size=count, replace=False)
    return [left[k] for k in sorted(chosen)]


def panels(
    findings: Findings,
    run: TranslationRun,
    exhibit_id: str,
    title: str,
    caption: str,
    picks: Sequence[Pick],
    *,
    reading: bool,
) -> None:
    """Add panels of the picked cases: source, output, reference, lesion and, if asked, the detector's marks."""
    if not picks:
        return
    items = [pick.item for pick in picks]
    arrays: dict[str, NDArray[Any]] = {
        "source": stack([i.source for i in items]).astype(np.float32),
        "output": stack([i.output for i in items]).astype(np.float32),
        "lesion": stack([np.zeros_like(i.body) if i.lesion is None else i.lesion for i in items]),
    }
    if all(i.reference is not None for i in items):
        arrays["reference"] = stack([i.reference for i in items if i.reference is not None]).astype(np.float32)
    if reading:
        arrays["reading"] = stack([run.readings[i.case.case_id].output for i in items])
    file = f"exhibits/{exhibit_id}.npz"
    findings.arrays[file] = arrays
    source, target = run.cohort.source_domain or "source", run.cohort.target_domain or "target"
    findings.exhibits.append(
        Exhibit(
            id=exhibit_id,
            kind="panels",
            title=title,
            caption=caption,
            file=file,
            data={
                "cases": [
                    {
                        "case_id": p.item.case.case_id,
                        "patient_id": p.item.case.patient_id,
                        "label": p.label,
                        "rule": p.rule,
                    }
                    for p in picks
                ],
                "columns": {"source": source, "output": f"{target} (model)", "reference": f"{target} (real)"},
                "display": [0.0, 1.0],
            },
        )
    )


class Pair(NamedTuple):
    """Two images side by side, and what to say of them."""

    output: Float
    """(H, W), a sample."""
    reference: Float
    """(H, W), a real image."""
    case_id: str
    patient_id: str
    label: str
    rule: str
    """`worst` or `random`."""


def pairs(
    findings: Findings, exhibit_id: str, title: str, caption: str, shown: Sequence[Pair], columns: tuple[str, str]
) -> None:
    """Add samples beside real images, with their difference; `columns` name the two."""
    if not shown:
        return
    file = f"exhibits/{exhibit_id}.npz"
    findings.arrays[file] = {
        "output": stack([pair.output for pair in shown]).astype(np.float32),
        "reference": stack([pair.reference for pair in shown]).astype(np.float32),
    }
    cases = [{"case_id": p.case_id, "patient_id": p.patient_id, "label": p.label, "rule": p.rule} for p in shown]
    data = {
        "cases": cases,
        "columns": {"output": columns[0], "reference": columns[1]},
        "display": [0.0, 1.0],
    }
    findings.exhibits.append(Exhibit(id=exhibit_id, kind="panels", title=title, caption=caption, file=file, data=data))


def sheet(
    findings: Findings, exhibit_id: str, title: str, caption: str, groups: Mapping[str, Float], *, columns: int = 10
) -> None:
    """Add small images in rows, a group (K, H, W) under the other."""
    held = {label: images for label, images in groups.items() if len(images)}
    if not held:
        return
    file = f"exhibits/{exhibit_id}.npz"
    findings.arrays[file] = {"images": np.concatenate(list(held.values())).astype(np.float32)}
    data = {
        "groups": [{"label": label, "count": len(images)} for label, images in held.items()],
        "columns": columns,
        "display": [0.0, 1.0],
    }
    findings.exhibits.append(Exhibit(id=exhibit_id, kind="sheet", title=title, caption=caption, file=file, data=data))


def forest(
    exhibit_id: str,
    title: str,
    caption: str,
    estimates: Sequence[Estimate],
    *,
    x: tuple[float, float],
    label: Callable[[Measurement], str] = lambda m: m.stratum or "all",
) -> Exhibit:
    """Estimates with their intervals, one below the other; `label` names a row, by its stratum if not given."""
    measurements = [estimate.measurement for estimate in estimates]
    rows = [
        {
            "label": label(m),
            "value": m.value,
            "low": m.interval.low if m.interval else None,
            "high": m.interval.high if m.interval else None,
            "n": m.n,
            "clusters": m.clusters,
            "unit_of_analysis": m.unit_of_analysis,
            "reason": m.reason,
        }
        for m in measurements
    ]
    data = {"unit": measurements[0].unit, "rows": rows, "limit": None, "x": list(x)}
    return Exhibit(id=exhibit_id, kind="forest", title=title, caption=caption, data=data)
