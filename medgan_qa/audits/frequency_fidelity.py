"""FID-011: whether the detail that super-resolution adds is the truth's, by frequency, beside plain interpolation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from medgan_qa.audits._band_measures import Compared, Measured, measure
from medgan_qa.audits._band_pictures import curve_exhibits, plane, table
from medgan_qa.audits._upscaled import IMAGES, MODEL, ONE_GRID, PLAIN, difference, images_of
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.exhibits import Pick, panels, random_picks
from medgan_qa.audits.numbers import identifier, mean, median
from medgan_qa.audits.super_resolution import SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.criteria import Estimate
from medgan_qa.features.lpips_distance import find_lpips

CODE = "FID-011"


class Measure(NamedTuple):
    """A number that every image has."""

    name: str
    label: str
    unit: str
    better: str
    perfect: str
    compared: bool
    """Whether the difference to plain interpolation is a measurement of its own."""


WHOLE = (
    Measure("rmse", "Root mean square error, body", "unit range", "lower", "0", False),
    Measure("psnr", "Peak signal-to-noise ratio, body", "dB", "higher", "no bound", True),
    Measure("ssim", "Structural similarity, body", "1", "higher", "1", True),
    Measure("lpips", "LPIPS (AlexNet), whole image", "1", "lower", "0", True),
    Measure("sharpness_ratio", "Strength of fine detail over the truth's, body", "1", "nearer_one", "1", False),
    Measure("sharpness_distance", "Difference of local strength of fine detail, body", "1", "lower", "0", True),
)
BANDS = (
    Measure("error_power", "Error over the truth's power", "1", "lower", "0", True),
    Measure("invented_power", "Invented detail over the truth's power", "1", "lower", "0", False),
    Measure("lost_power", "Lost detail over the truth's power", "1", "lower", "0", False),
    Measure("power_ratio", "Power over the truth's power", "1", "nearer_one", "1", False),
    Measure("correlation", "Correlation with the truth", "1", "higher", "1", True),
)
NOTES = (
    "No image is judged by PSNR alone, and none by its looks alone: read both, and the agreement beyond the input's "
    "Nyquist frequency with them.",
    "A published example of why (R. V. Marinescu, Tutorial on Generative Adversarial Networks, slides, one image after "
    "Ledig et al. 2017; figures of that source): bicubic 21.59 dB and SSIM 0.6423, SRResNet 23.53 dB and 0.7832, SRGAN "
    "21.15 dB and 0.6868. SRGAN, the network trained to look sharp, has a lower PSNR than bicubic interpolation.",
)
NO_LPIPS = "LPIPS was not computed; the notes say how to bring its weights."
NO_DETAIL = "The truth has no detail there, or the images are too small for a spectrum."


def frequency_fidelity(run: SuperResolutionRun, *, worst: int = 3, random: int = 3) -> Findings:
    """Fidelity by frequency, and perception against distortion.

    Question. Is the detail in the output that of the truth, at the frequencies that the input could carry and beyond
    them, and is the output nearer to the truth than plain interpolation?

    What it measures. Output and truth are compared in the frequency plane, up to the Nyquist frequency of the input
    along both axes (acquired) and above it (beyond): power of the output and of the error over the truth's power, and
    correlation. The error's power is split into detail that does not agree with the truth (invented) and detail that
    does but is too weak or too strong (lost). An image without any detail there has an error of 1, so above 1 what was
    added does more harm than leaving it out. Bands are rings in cycles per mm where pixels are square and both factors
    equal, else rows and columns apart. Beside it, over the body, in unit range: root mean square error, PSNR and SSIM
    with a data range of 1, LPIPS where its weights are installed, and the local strength of fine detail whatever its
    pattern (ratio and distance, which stand for looks). All of it for the model, for bicubic interpolation and for
    pixel repetition of the same input, with differences of model and bicubic on the same cases.

    Why it matters. A network can look sharper than the truth and have a lower PSNR than bicubic interpolation, or win
    in PSNR by blurring what it is not sure of. Neither says whether a line that appeared is in the patient. What is in
    the output and does not agree with the truth was invented.

    Known limits. Noise in the truth cannot be foreseen, so an error of 0 and a correlation of 1 are out of reach
    beyond what the input carries; compare with bicubic. A shift of a fraction of a pixel counts as error at high
    frequencies. Power is dominated by the lowest frequencies of a region; look at the curves. A tenth of what is
    invented agrees by chance and is counted as right. Two bins on each side of the input's Nyquist frequency are left
    out. Frequencies that a mask of k-space took away below the Nyquist frequency are counted as acquired; consistency
    with the declared operator is another audit's question. Small invented structures are few coefficients among many:
    lesions have audits of their own.

    Method and source. Correlation by frequency after Saxton and Baumeister 1982 (Fourier ring correlation); power that
    is linearly related to the truth after Bendat and Piersol 2010; plane of perception and distortion after Blau and
    Michaeli 2018; SSIM after Wang et al. 2004; LPIPS after Zhang et al. 2018. Medians over patients with exact
    intervals; means with intervals that resample patients; paired differences by Student's t over patients or by order
    statistics of the patients' medians.
    """
    findings = Findings()
    if not run.paired:
        findings.not_applicable = "No case has the true image (column target), so there is nothing to compare with."
        return findings
    lpips, factors = find_lpips(run.subject.device), run.scale

    def compare(item: Item) -> Measured:
        return measure(item, images_of(run, item), factors, lpips)

    results = run.engine.map(compare, run.paired, label="Comparing by frequency")
    cases = {item.case.case_id: found for item, found in zip(run.paired, results, strict=True)}
    missing = NO_LPIPS if isinstance(lpips, str) else ""
    findings.estimates = _estimates(run, cases, missing)
    findings.rows = [_row(item, cases.get(item.case.case_id)) for item in run.items]
    findings.excluded = {i.case.case_id: "no reference" for i in run.items if i.case.case_id not in cases}
    findings.tables[f"exhibits/{CODE}-images.csv"] = [row for i in run.paired for row in _image_rows(i, cases)]
    findings.notes = [*NOTES, *([f"LPIPS was not computed: {lpips}"] if missing else []), *_notes(run, cases)]
    findings.exhibits = [table(CODE, _compared_rows(run, cases)), plane(CODE, run, cases, learned=not missing)]
    findings.exhibits += curve_exhibits(CODE, results)
    _show(findings, run, cases, worst, random)
    return findings


def _regions(cases: dict[str, Measured]) -> list[str]:
    return list(dict.fromkeys(name for m in cases.values() for one in m.images.values() for name in one.bands))


def _band(name: str, region: str) -> Callable[[Compared], float | None]:
    def value(one: Compared) -> float | None:
        return float(getattr(one.bands[region], name)) if region in one.bands else None

    return value


def _plain(name: str) -> Callable[[Compared], float | None]:
    return lambda one: one.values.get(name)


def _held(cases: dict[str, Measured], image: str, value: Callable[[Compared], float | None]) -> dict[str, float]:
    """By case id, of the cases that have the number."""
    found = {case_id: value(m.images[image]) for case_id, m in cases.items()}
    return {case_id: v for case_id, v in found.items() if v is not None}


def _estimates(run: SuperResolutionRun, cases: dict[str, Measured], missing: str) -> list[Estimate]:
    patient = {item.case.case_id: item.case.patient_id for item in run.paired}
    found = []
    for m in BANDS:
        for region in _regions(cases):
            values = _held(cases, MODEL, _band(m.name, region))
            found.append(_median(m, region, values, [patient[c] for c in values]))
    for m in WHOLE:
        found.append(_mean(run, m, _held(cases, MODEL, _plain(m.name)), patient, missing))
    for m in (m for m in BANDS if m.compared):
        found += [_against(m, r, cases, _band(m.name, r), patient, "") for r in _regions(cases)]
    found += [_against(m, None, cases, _plain(m.name), patient, missing) for m in WHOLE if m.compared]
    return found


def _median(m: Measure, region: str, values: dict[str, float], patients: list[str]) -> Estimate:
    return median(
        identifier(CODE, m.name, region),
        m.label,
        list(values.values()),
        patients,
        unit=m.unit,
        unit_of_analysis="image",
        better=m.better,
        stratum=region,
        units=list(values),
    )


def _mean(
    run: SuperResolutionRun, m: Measure, values: dict[str, float], patient: dict[str, str], missing: str
) -> Estimate:
    return mean(
        f"{CODE}.{m.name}",
        m.label,
        list(values.values()),
        [patient[c] for c in values],
        unit=m.unit,
        unit_of_analysis="image",
        better=m.better,
        seed=run.seed,
        missing=missing if m.name == "lpips" else "",
        units=list(values),
    )


def _against(
    m: Measure,
    region: str | None,
    cases: dict[str, Measured],
    value: Callable[[Compared], float | None],
    patient: dict[str, str],
    missing: str,
) -> Estimate:
    model, plain = _held(cases, MODEL, value), _held(cases, PLAIN, value)
    both = [c for c in model if c in plain]
    return difference(
        identifier(CODE, f"{m.name}_difference", region),
        f"{m.label}, model less bicubic",
        {c: (model[c], plain[c]) for c in both},
        [patient[c] for c in both],
        statistic="mean" if region is None else "median",
        unit=m.unit,
        better="higher" if m.better == "higher" else "lower",
        stratum=region,
        void=missing if m.name == "lpips" and missing else None,
    )


def _compared_rows(run: SuperResolutionRun, cases: dict[str, Measured]) -> list[list[str]]:
    """One row a number: the model, the comparators, and what is perfect."""
    patient = {item.case.case_id: item.case.patient_id for item in run.paired}

    def over(image: str, value: Callable[[Compared], float | None], middle: bool) -> str:
        values = _held(cases, image, value)
        if not values:
            return "-"
        if not middle:
            return f"{np.mean(list(values.values())):.3g}"
        own = {p: np.median([v for c, v in values.items() if patient[c] == p]) for p in {patient[c] for c in values}}
        return f"{np.median(list(own.values())):.3g}"

    rows = []
    for m in WHOLE:
        label = m.label if m.unit == "1" else f"{m.label} ({m.unit})"
        rows.append([label, *(over(image, _plain(m.name), False) for image in IMAGES), m.perfect])
    for region in _regions(cases):
        for m in BANDS:
            value = _band(m.name, region)
            rows.append([f"{m.label}, {region}", *(over(image, value, True) for image in IMAGES), m.perfect])
    return rows


def _row(item: Item, found: Measured | None) -> Row:
    if found is None:
        return {**item.row, "status": "no reference"}
    model, plain = found.images[MODEL], found.images[PLAIN]
    row: dict[str, Any] = {**item.row}
    for name in ("psnr", "ssim", "sharpness_ratio"):
        row |= {name: _short(model.values.get(name)), f"{name}_bicubic": _short(plain.values.get(name))}
    region = "beyond" if "beyond" in model.bands else "acquired"
    if region in model.bands:
        names = ("error_power", "invented_power", "correlation")
        row |= {f"{name}_{region}": _short(getattr(model.bands[region], name)) for name in names}
    return {**row, "status": "measured" if model.bands else "no spectrum"}


def _image_rows(item: Item, cases: dict[str, Measured]) -> list[Row]:
    rows = []
    for image, one in cases[item.case.case_id].images.items():
        whole = {m.name: _short(one.values.get(m.name)) for m in WHOLE}
        bands = {
            f"{m.name}_{region.replace(' ', '_')}": _short(_band(m.name, region)(one))
            for region in _regions(cases)
            for m in BANDS
        }
        rows.append(
            {"case_id": item.case.case_id, "patient_id": item.case.patient_id, "image": image, **whole, **bands}
        )
    return rows


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")


def _notes(run: SuperResolutionRun, cases: dict[str, Measured]) -> list[str]:
    notes = []
    exact = sum(m.images[MODEL].values["rmse"] == 0 for m in cases.values())
    if exact:
        notes.append(f"{exact} outputs equal the truth exactly; their PSNR is infinite and left out of the mean.")
    if run.scale == (1, 1):
        notes += [ONE_GRID, "At scale 1 the input's grid carries every frequency, so there is no region beyond it."]
    if any(not m.images[MODEL].bands for m in cases.values()):
        notes.append(NO_DETAIL)
    return notes


def _show(findings: Findings, run: SuperResolutionRun, cases: dict[str, Measured], worst: int, random: int) -> None:
    """The cases with the most invented detail at the highest frequencies, and cases drawn by seed beside them."""

    def invented(item: Item) -> float:
        bands = cases[item.case.case_id].images[MODEL].bands
        held = [bands[name].invented_power for name in ("beyond", "acquired") if name in bands]
        return held[0] if held else 0.0

    order: Sequence[Item] = sorted(run.paired, key=lambda item: (-invented(item), item.case.case_id))[:worst]
    rest = random_picks(run, CODE, run.paired, random, {item.case.case_id for item in order})
    picks = [
        Pick(item, f"invented {invented(item):.2f} of the truth's power", rule)
        for items, rule in ((order, "worst"), (rest, "random"))
        for item in items
    ]
    where = "beyond the input's Nyquist frequency" if max(run.scale) > 1 else "at all frequencies"
    panels(
        findings,
        run,
        f"{CODE}-cases",
        "Worst and random cases",
        f"The {len(order)} cases with the most invented detail {where}, and {len(rest)} drawn at random.",
        picks,
        reading=False,
    )
