"""FID-010: how near the output is to the real image of the same slice."""

from __future__ import annotations

from typing import Any

import numpy as np

from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pick, panels, random_picks
from medgan_qa.audits.numbers import mean
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.features.lpips_distance import LpipsDistance, find_lpips
from medgan_qa.metrics import mean_absolute_error, psnr, ssim_map

CODE = "FID-010"

# id, label, unit, better
BODY = (
    ("mae_body", "Mean absolute error, body", "unit range", "lower"),
    ("psnr_body", "Peak signal-to-noise ratio, body", "dB", "higher"),
    ("ssim_body", "Structural similarity, body", "1", "higher"),
    ("lpips", "LPIPS (AlexNet), whole image", "1", "lower"),
)
LESION = (
    ("mae_lesion", "Mean absolute error, lesions", "unit range", "lower"),
    ("psnr_lesion", "Peak signal-to-noise ratio, lesions", "dB", "higher"),
    ("ssim_lesion", "Structural similarity, lesions", "1", "higher"),
)


def paired_fidelity(run: TranslationRun, *, worst: int = 3, random: int = 3) -> Findings:
    """Paired image fidelity.

    Question. How near is the output to the real image of the same slice, over the body and over the lesions?

    What it measures. Mean absolute error, peak signal-to-noise ratio (PSNR) and structural similarity (SSIM) between
    output and reference, over the body and over the annotated lesions apart, averaged over cases with an interval that
    resamples patients. LPIPS, a distance of deep features, where its AlexNet trunk weights are installed. Images are in
    unit range (the dataset's value range), so PSNR and SSIM use a data range of 1, the same for every case.

    Why it matters. It is what publications report, so a reader expects it. Its difference between body and lesion says
    more than either value: a model that removes lesions is as near as any other over the body.

    Known limits. Image-level fidelity does not see pathology: the two shipped CycleGANs have the same error over the
    body, and one of them removes every lesion. It must not stand alone, and the suite does not gate on it. SSIM near
    the border of a region takes in pixels outside it. LPIPS was made for photographs.

    Method and source. Wang et al. 2004 (SSIM: Gaussian window of 1.5 pixels, K = 0.01 and 0.03); Zhang et al. 2018
    (LPIPS).
    """
    findings = Findings()
    if not run.paired:
        findings.not_applicable = "No case has a paired reference image (column target)."
        return findings
    lpips = find_lpips(run.subject.device)
    measured = run.engine.map(lambda item: _measure(item, lpips), run.paired, label="Comparing images")
    rows = [{**item.row, **values} for item, values in zip(run.paired, measured, strict=True)]
    measured_rows = {row["case_id"]: row for row in rows}
    findings.rows = [measured_rows.get(i.case.case_id, {**i.row, "status": "no reference"}) for i in run.items]
    findings.excluded = {i.case.case_id: "no reference" for i in run.items if i.case.case_id not in measured_rows}
    findings.estimates = [_mean(run, rows, *spec) for spec in (*BODY, *LESION)]
    if isinstance(lpips, str):
        findings.notes.append(f"LPIPS was not computed: {lpips}")
    exact = sum(row["psnr_body"] is None and row["mae_body"] == 0 for row in rows)
    if exact:
        findings.notes.append(
            f"{exact} outputs equal the reference exactly; their PSNR is infinite and left out of the mean."
        )
    order = sorted(range(len(rows)), key=lambda k: (-rows[k]["mae_body"], rows[k]["case_id"]))
    picks = [_pick(run.paired[k], rows[k], "worst") for k in order[:worst]]
    taken = {pick.item.case.case_id for pick in picks}
    rest = random_picks(run, CODE, run.paired, random, taken)
    picks += [_pick(item, measured_rows[item.case.case_id], "random") for item in rest]
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random cases",
        f"The {len(taken)} cases with the largest mean absolute error over the body, and {len(rest)} drawn at random.",
        picks,
        reading=False,
    )
    return findings


def _measure(item: Item, lpips: LpipsDistance | str) -> Row:
    assert item.reference is not None
    values: dict[str, Any] = {
        "mae_body": mean_absolute_error(item.output, item.reference, item.body),
        "psnr_body": psnr(item.output, item.reference, item.body, 1.0),
        "ssim_body": None,
    }
    similarity = None
    # Eleven pixels is the width of the SSIM window; a smaller image has no map.
    if min(item.output.shape) >= 11:
        similarity = ssim_map(item.output, item.reference, 1.0)
        values["ssim_body"] = float(similarity[item.body].mean())
    if item.lesion is not None and item.lesion.any():
        values["mae_lesion"] = mean_absolute_error(item.output, item.reference, item.lesion)
        values["psnr_lesion"] = psnr(item.output, item.reference, item.lesion, 1.0)
        values["ssim_lesion"] = None if similarity is None else float(similarity[item.lesion].mean())
    if not isinstance(lpips, str):
        values["lpips"] = lpips.distance(item.output, item.reference)
    return {k: None if v is None else round(float(v), 5) for k, v in values.items()}


def _mean(run: TranslationRun, rows: list[Row], name: str, label: str, unit: str, better: str) -> Estimate:
    present = [row for row in rows if row.get(name) is not None]
    missing = "LPIPS was not computed; the notes say how to bring its weights." if name == "lpips" else ""
    return mean(
        f"{CODE}.{name}",
        label,
        np.array([row[name] for row in present], dtype=np.float64),  # type: ignore[arg-type]  # a vector is a sequence
        [row["patient_id"] for row in present],
        unit=unit,
        unit_of_analysis="image",
        better=better,
        seed=run.seed,
        missing=missing,
        units=[row["case_id"] for row in present],
    )


def _pick(item: Item, row: Row, rule: str) -> Pick:
    similarity = "" if row["ssim_body"] is None else f", SSIM {row['ssim_body']:.2f}"
    return Pick(item, f"MAE {row['mae_body']:.3f}{similarity}", rule)
