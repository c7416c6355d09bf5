"""PAT-004: a screening map of places where output and reference share no detail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from medgan_qa import rng
from medgan_qa.audits._planting import Cell, habits
from medgan_qa.audits._scanning import (
    Patches,
    Rule,
    Sample,
    Scan,
    Typical,
    calibrated,
    correlations,
    patches_of,
    sample,
    typical,
    with_lesions,
)
from medgan_qa.audits._screening_maps import blindness_curves, maps, shares
from medgan_qa.audits.catalogue import Findings, Row
from medgan_qa.audits.numbers import count, rate
from medgan_qa.audits.translation import Item, TranslationRun
from medgan_qa.criteria import Estimate
from medgan_qa.errors import ConfigurationError
from medgan_qa.metrics import MatchingRule
from medgan_qa.metrics.planting import disc
from medgan_qa.metrics.ring_correlation import SMALLEST_SIDE, WindowName, frc

CODE = "PAT-004"
SCREENING = (
    "A screening map says where to look. It opens and closes no gate: what it is blind to is measured and stands "
    "beside it."
)
DISCLAIMER = (
    "Modelled on and changed from sFRC, a regulatory science tool of FDA's CDRH, which is no qualified medical device "
    "development tool; FDA has not evaluated its suitability in any specific context of use, and using it confers no "
    "advantage."
)
THRESHOLDS = (0.75, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
DIAMETERS_MM = (6.0, 10.0, 16.0, 24.0)
CONTRASTS = (0.1, 0.3, 0.5)
SMALLEST_PIXELS = 3


class Blindness(NamedTuple):
    """How often patches with a planted fault are flagged."""

    cell: Cell
    removal: Estimate
    attenuation: Estimate


def suspicious_patches(
    run: TranslationRun,
    *,
    patch_px: int = 32,
    stride_px: int = 16,
    window: str = "hann",
    false_alarm: float = 0.05,
    min_body: float = 0.5,
    attenuation: float = 0.6,
    planted: int = 150,
    worst: int = 4,
    random: int = 4,
) -> Findings:
    """Patches whose detail disagrees with the reference.

    Question. Where does the output show detail that the real image of the same place does not share?

    What it measures. Output and reference are cut into overlapping patches, and the Fourier ring correlation of each
    pair is taken under a Hann window. A patch is flagged when its correlation falls below a threshold before a cutoff
    frequency. Both are calibrated in this run on half of the patients: on clean patches (the reference against itself
    with the small shift, blur and white noise that explain the model's outputs best), so that a stated share of them is
    flagged, and on patches with a planted and removed lesion, of which as many as possible are to be flagged. The other
    patients say how often clean patches are flagged in fact, and how often those whose planted lesion was removed or
    attenuated: the blindness of the map. Patches of which too little is body are left out and counted.

    Why it matters. Hallucinated structure disagrees with the reference in detail, also where no detector was trained to
    look and no lesion is annotated. A map of such places tells a reader where to begin.

    Known limits. For screening only. Ring correlation does not see a change of contrast or level of the whole patch,
    and at published settings hardly the removal of small or faint lesions and no attenuation; how much of that it is
    blind to at the settings of this run is measured and stands beside the map. Fine detail that the reference holds as
    noise cannot agree; the calibration allows for it as blur and white noise. Patches overlap and
    are not independent of each other.

    Method and source. KC P, Zeng R, Soni N, Badano A, sFRC for assessing hallucinations in medical image restoration,
    arXiv:2603.04673 (2026); Saxton and Baumeister 1982 for the correlation. Changed from the published program
    (DIDSR/sfrc, MIT licence): patches overlap, the window is a true two-dimensional Hann window, exclusions are
    counted, and the cutoff is calibrated at a false-alarm rate instead of set to the largest crossing of patches that
    an expert marked. With window = "upstream-0" patches are windowed as that program does it, each multiplied with its
    own transpose.
    """
    findings = Findings()
    if not run.paired:
        findings.missing = (
            "No test case has a paired reference image (column target), so there is nothing to agree with."
        )
        return findings
    scan = _scan(patch_px, stride_px, window, min_body)
    held = [patches_of(item, scan) for item in run.paired]
    judged = [patches for patches in held if len(patches.corners)]
    halves = _halves(judged, run.seed)
    if not all(halves):
        findings.missing = (
            f"Fewer than two patients have a reference image with a patch of {patch_px} pixels inside the body: one "
            "half of the patients is needed to set the thresholds, the other to measure them."
        )
        return findings
    difference = typical([patches.item for patches in judged], run.seed)
    first, second = (sample(half, difference, scan, run.seed, name) for half, name in zip(halves, "ab", strict=True))
    sign = habits(run, MatchingRule(), SMALLEST_PIXELS).sign
    cells = _cells(run.paired, scan)
    rule = _rule(first, cells, difference, scan, sign=sign, planted=planted, false_alarm=false_alarm, seed=run.seed)
    if rule is None:
        findings.missing = (
            f"{len(first.items)} clean patches are too few to set a threshold that flags {false_alarm:.1%} of them."
        )
        return findings
    flags = [rule.flags(correlations(patches, scan)) for patches in judged]
    every = _flagged(judged, flags)
    alarms = _screening(
        f"{CODE}.false_alarm_rate",
        "Clean patches flagged",
        rule.flags(frc(second.clean, second.reference, scan.window)),
        [item.case.patient_id for item in second.items],
        better="lower",
    )
    blind = [
        _blindness(second, cell, difference, scan, rule, sign=sign, kept=1 - attenuation, n=planted, seed=run.seed)
        for cell in cells
    ]
    left_out = count(
        f"{CODE}.patches_left_out",
        "Patches with too little body or a flat reference (left out)",
        sum(patches.left_out for patches in held),
        n=sum(patches.left_out + len(patches.corners) for patches in held),
        unit_of_analysis="patch",
        better="none",
    )
    findings.estimates = [every, alarms, *(b.removal for b in blind), *(b.attenuation for b in blind), left_out]
    findings.notes = _notes(rule, difference, scan, every, alarms, blind, attenuation)
    by_case = {p.item.case.case_id: (p, f) for p, f in zip(judged, flags, strict=True)}
    findings.rows = [_row(item, by_case.get(item.case.case_id)) for item in run.items]
    findings.excluded = {row["case_id"]: row["status"] for row in findings.rows if row["case_id"] not in by_case}
    if blind:
        findings.exhibits.append(blindness_curves(CODE, [(b.cell, b.removal) for b in blind]))
    findings.exhibits.append(shares(CODE, findings.estimates[:-1]))
    maps(findings, run, CODE, by_case, scan, worst=worst, random=random)
    return findings


def _scan(patch_px: int, stride_px: int, window: str, min_body: float) -> Scan:
    """The way of scanning that the parameters ask for.

    Raises:
        ConfigurationError: patches are too small or do not cover the image, or there is no such window.
    """
    names: dict[str, WindowName] = {name: name for name in get_args(WindowName)}
    if window in names and patch_px >= SMALLEST_SIDE and 1 <= stride_px <= patch_px and min_body <= 1:
        return Scan(patch_px, stride_px, names[window], min_body)
    raise ConfigurationError(
        f"The parameters of {CODE} cannot be used.",
        expected=f"patch_px of at least {SMALLEST_SIDE}, stride_px from 1 to patch_px, min_body up to 1, window "
        f"{' or '.join(get_args(WindowName))}",
        found=f"patch_px {patch_px}, stride_px {stride_px}, min_body {min_body:g}, window {window!r}",
        where=f'[parameters."{CODE}"] of the criteria file',
        todo=f"`medgan-qa explain {CODE}` lists the parameters.",
    )


def _halves(judged: list[Patches], seed: int) -> tuple[list[Patches], list[Patches]]:
    """Patients in two halves: one sets the thresholds, the other measures them."""
    names = sorted({patches.item.case.patient_id for patches in judged})
    order = rng.child(seed, CODE, "halves").permutation(len(names))
    first = {names[k] for k in order[: len(names) // 2]}
    inside = [p for p in judged if p.item.case.patient_id in first]
    return inside, [p for p in judged if p.item.case.patient_id not in first]


def _cells(items: Sequence[Item], scan: Scan) -> list[Cell]:
    """Kinds of lesions that have enough pixels somewhere and fit into a patch."""

    def fits(diameter: float, item: Item) -> bool:
        middle, side = (scan.patch // 2, scan.patch // 2), (scan.patch, scan.patch)
        pixels = int((disc(side, middle, diameter, item.spacing_mm) >= 0.5).sum())
        return pixels >= SMALLEST_PIXELS and diameter <= scan.patch * min(item.spacing_mm)

    spacings = {item.spacing_mm: item for item in items}.values()
    return [Cell(d, c) for d in DIAMETERS_MM if any(fits(d, item) for item in spacings) for c in CONTRASTS]


def _some(drawn: Sample, n: int, seed: int) -> Sample:
    """At most `n` patches of a sample, spread by seed."""
    chosen = np.sort(rng.child(seed, CODE, "planted").permutation(len(drawn.items))[:n])
    return Sample(drawn.reference[chosen], drawn.clean[chosen], [drawn.items[k] for k in chosen])


def _rule(
    drawn: Sample,
    cells: Sequence[Cell],
    difference: Typical,
    scan: Scan,
    *,
    sign: int,
    planted: int,
    false_alarm: float,
    seed: int,
) -> Rule | None:
    """Thresholds from the calibration half: its clean patches, and its patches with a removed lesion."""
    few = _some(drawn, planted, seed)
    defects = []
    for cell in cells:
        lesions, outputs = with_lesions(few, cell, difference, sign=sign, kept=0.0, seed=seed)
        defects.append(frc(outputs, lesions, scan.window))
    return calibrated(frc(drawn.clean, drawn.reference, scan.window), defects, THRESHOLDS, false_alarm)


def _blindness(
    drawn: Sample,
    cell: Cell,
    difference: Typical,
    scan: Scan,
    rule: Rule,
    *,
    sign: int,
    kept: float,
    n: int,
    seed: int,
) -> Blindness:
    few = _some(drawn, n, seed)
    patients = [item.case.patient_id for item in few.items]

    def seen(name: str, share: float) -> Estimate:
        lesions, outputs = with_lesions(few, cell, difference, sign=sign, kept=share, seed=seed)
        words = "removed" if share == 0 else f"attenuated by {1 - share:.0%}"
        return _screening(
            f"{CODE}.{name}[{cell.stratum}]",
            f"Patches flagged with {cell.words} {words}",
            rule.flags(frc(outputs, lesions, scan.window)),
            patients,
            better="higher",
            stratum=cell.stratum,
        )

    return Blindness(cell, seen("removal_seen", 0.0), seen("attenuation_seen", kept))


def _flagged(judged: list[Patches], flags: list[NDArray[np.bool_]]) -> Estimate:
    return _screening(
        f"{CODE}.flagged_share",
        "Patches flagged",
        np.concatenate(flags),
        [patches.item.case.patient_id for patches in judged for _ in patches.corners],
        better="lower",
    )


def _screening(
    measurement_id: str, label: str, events: Any, patients: list[str], *, better: str, stratum: str | None = None
) -> Estimate:
    """A share of patches with its interval, printed and not to be judged: without `interval_at` no criterion passes."""
    estimate = rate(
        measurement_id,
        label,
        [bool(event) for event in events],
        patients,
        unit_of_analysis="patch",
        better=better,
        stratum=stratum,
    )
    return Estimate(estimate.measurement.model_copy(update={"reason": SCREENING}))


def _notes(
    rule: Rule,
    difference: Typical,
    scan: Scan,
    every: Estimate,
    alarms: Estimate,
    blind: list[Blindness],
    attenuation: float,
) -> list[str]:
    def share(estimate: Estimate) -> float:
        return estimate.measurement.value or 0.0

    notes = [
        SCREENING,
        f"A patch of {scan.patch} pixels is flagged when its ring correlation falls below {rule.threshold:g} before "
        f"{rule.cutoff:.2f} of the Nyquist frequency (window {scan.window}, step {scan.stride} pixels). The model's "
        f"typical difference is a blur of {difference.blur_px:g} pixels, noise of {difference.noise:.3f} of the range "
        f"and a shift of {np.median(np.hypot(*difference.shifts_px.T)):.1f} pixels.",
        f"{share(every):.1%} of the patches are flagged; of clean patches of patients who did not set the thresholds, "
        f"{share(alarms):.1%} are.",
    ]
    if blind:
        removed = [(b.cell, share(b.removal)) for b in blind]
        faded = [(b.cell, share(b.attenuation)) for b in blind]
        notes.append(
            f"Blindness, measured on planted lesions: of patches with a removed lesion the map flags {_span(removed)}; "
            f"of those with one attenuated by {attenuation:.0%} it flags {_span(faded)}. An image without a flag is "
            "not shown to be without a fault."
        )
    return [*notes, DISCLAIMER]


def _span(shares: list[tuple[Cell, float]]) -> str:
    """The least and the largest share, with the lesions that they belong to."""
    low, high = (pick(shares, key=lambda pair: pair[1]) for pick in (min, max))
    if low[1] == high[1]:
        return f"{low[1]:.0%} whatever the diameter and contrast"
    return f"from {low[1]:.0%} ({low[0].words}) to {high[1]:.0%} ({high[0].words})"


def _row(item: Item, judged: tuple[Patches, NDArray[np.bool_]] | None) -> Row:
    if judged is None:
        reason = "no reference" if item.reference is None else "no patch inside the body"
        return {**item.row, "status": reason}
    patches, flags = judged
    return {
        **item.row,
        "patches": len(flags),
        "left_out": patches.left_out,
        "flagged": int(flags.sum()),
        "status": "flagged" if flags.any() else "not flagged",
    }
