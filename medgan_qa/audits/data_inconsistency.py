"""CON-001: outputs that contradict the input they were made from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from medgan_qa.audits.catalogue import Findings, Row, stack
from medgan_qa.audits.exhibits import random_picks
from medgan_qa.audits.numbers import median, rate
from medgan_qa.audits.run import grey
from medgan_qa.audits.super_resolution import Float, SuperResolutionRun
from medgan_qa.audits.translation import Item
from medgan_qa.criteria import Estimate
from medgan_qa.metrics.data_consistency import Residual, residual
from medgan_qa.metrics.degradation import Degradation
from medgan_qa.metrics.upsampling import repeated
from medgan_qa.record import Exhibit

CODE = "CON-001"
NO_OPERATOR = (
    "The model's card does not say how its inputs come from truths (table [degradation]), so nothing can be held "
    "against the input."
)
LARGEST_DB = 100.0
"""Beyond it a difference is rounding."""
ERRORS = 3.0
"""Standard errors that a gain may be off."""
SHOWN = 10.0
"""Floors that a map runs to, from grey to white and to black."""

SHARES = {
    "another level or gain": ("level_rate", "Outputs of another level or gain"),
    "contradicts the input in one place": ("local_rate", "Outputs that contradict the input in one place"),
    "contradicts the input": ("contradiction_rate", "Outputs that contradict the input throughout"),
}
"""Measurements of each way to be inconsistent."""
STATUSES = ("consistent", *SHARES)


@dataclass(frozen=True)
class Tolerance:
    """From where on an output contradicts its input."""

    residual: float
    local: float
    bias: float
    gain: float

    def status(self, r: Residual) -> str:
        """What a case is called; the gravest that applies."""
        if r.ratio > self.residual:
            return "contradicts the input"
        if r.local > self.local:
            return "contradicts the input in one place"
        # In a small image noise alone moves a gain by more than it may be off.
        off = 0.0 if r.gain is None else abs(r.gain - 1)
        calibrated = abs(r.bias) <= self.bias and off <= max(self.gain, ERRORS * r.gain_error)
        return "consistent" if calibrated else "another level or gain"


@dataclass(frozen=True, eq=False)
class Held:
    """A case with its output, and its truth, held against the input."""

    item: Item
    output: Residual
    status: str
    truth: Residual | None
    truth_status: str | None


def data_inconsistency(
    run: SuperResolutionRun,
    *,
    residual_max: float = 1.5,
    local_max: float = 2.0,
    bias_max: float = 0.005,
    gain_max: float = 0.01,
    floor: float = 0.005,
    mismatch_max: float = 0.2,
    worst: int = 4,
    random: int = 4,
) -> Findings:
    """Data consistency of a super-resolution.

    Question. Does the output agree with the input it was made from?

    What it measures. Every output is degraded again with the operator that the card declares, and the input is taken
    from it. A case is inconsistent if, inside the body, the root mean square of the difference is more than 1.5 times
    what the declared noise explains (or 0.5 % of the range, where that is more); if the smoothed difference exceeds
    twice that in any place; or if the level is off by more than 0.5 % of the range or the gain by more than 1 % and
    three standard errors. The share of inconsistent cases carries exact bounds clustered by patient; difference, level
    and gain are printed as medians. The truth is held against the input in the same way: where the truth itself is
    inconsistent in more than a fifth of the cases, the declared operator is not how the inputs came about, and no rate
    is given.

    Why it matters. What the input shows was measured. An output that changes it has removed, added or rescaled
    something that is known, and no prior excuses that; a bias of a few per cent passes every fidelity measure and
    falsifies every quantity that is read from the image.

    Known limits. It holds for the declared operator and noise. It says nothing of detail that the operator does not
    see: an output can be consistent and invented, which CON-002 asks for. A model that removes noise leaves the noise
    as its difference, and one that repeats it leaves none; both are consistent. Interpolation that smooths the input
    once more (cubic convolution) is not consistent at sharp edges.

    Method and source. Consistency of outputs with a measured input as in Lugmayr A, Danelljan M, Timofte R, NTIRE 2021
    learning the super-resolution space challenge, CVPR Workshops 2021, who ask for 45 dB; measurement-space part of
    the error: Bhadra S, Kelkar VA, Brooks FJ, Anastasio MA, On hallucinations in tomographic image reconstruction, IEEE
    Trans Med Imaging 2021.
    """
    findings = Findings()
    if run.operator is None:
        findings.missing = NO_OPERATOR
        return findings
    tolerance = Tolerance(residual_max, local_max, bias_max, gain_max)
    held = [_held(run, run.operator, item, tolerance, floor) for item in run.items]
    truths = [h for h in held if h.truth_status is not None]
    mismatch = _rate(
        "truth_inconsistent_rate", "Truths that contradict the input", truths, [h.truth_status for h in truths]
    )
    void = _objection(mismatch.measurement.value, len(truths), mismatch_max)
    overall = _rate("inconsistent_rate", "Outputs that contradict the input", held, [h.status for h in held], void)
    findings.estimates = [
        overall,
        *(_share(held, status, void) for status in SHARES),
        _median("residual_ratio", "Difference from the input over what noise explains", held, "1", lambda r: r.ratio),
        _median(
            "residual_db", "Output degraded again against the input", held, "dB", lambda r: min(r.decibel, LARGEST_DB)
        ),
        _median("bias", "Level of the output over that of the input", held, "unit range", lambda r: r.bias),
        _median("gain", "Gain of the output on the input", held, "1", lambda r: r.gain),
        _median("local_residual", "Largest smoothed difference over noise", held, "1", lambda r: r.local),
        mismatch,
    ]
    findings.rows = [_row(h) for h in held]
    statuses = Counter(h.status for h in held)
    findings.notes = [
        run.operator.sentence(),
        f"Of {len(held)} cases: " + ", ".join(f"{statuses[s]} {s}" for s in STATUSES) + ".",
        *([void] if void else []),
    ]
    findings.exhibits.append(_scatter(held, tolerance))
    _maps(findings, run, held, _floor(run, run.operator, held[0].item, floor), worst, random)
    return findings


def _held(run: SuperResolutionRun, operator: Degradation, item: Item, tolerance: Tolerance, floor: float) -> Held:
    given = grey(run.inputs[item.case.case_id])
    h, w = given.shape
    # Any part of a thick pixel that is body makes it one: its edge is where the body is.
    inside = item.body.reshape(h, run.scale[0], w, run.scale[1]).any(axis=(1, 3))
    there = operator.measured((h, w))
    noise = _floor(run, operator, item, floor)

    def against(image: Float) -> Residual:
        where = inside & there
        return residual(operator.apply(image), given, where if where.any() else there, noise, there)

    output = against(item.output)
    truth = None if item.reference is None else against(item.reference)
    return Held(item, output, tolerance.status(output), truth, None if truth is None else tolerance.status(truth))


def _floor(run: SuperResolutionRun, operator: Degradation, item: Item, least: float) -> float:
    """Root mean square that noise explains in the mean over channels, but at least that of rounding."""
    given = run.inputs[item.case.case_id]
    return max(operator.noise_rms((given.shape[1], given.shape[2])) / math.sqrt(len(given)), least)


def _objection(mismatch: float | None, truths: int, maximum: float) -> str | None:
    if mismatch is None or mismatch <= maximum:
        return None
    return (
        f"{mismatch:.0%} of {truths} truths contradict their inputs when they are degraded as the card declares (at "
        f"most {maximum:.0%} are allowed), so the declared operator is not how these inputs came about. Correct "
        "[degradation] in the card, or the alignment of inputs and truths."
    )


def _rate(name: str, label: str, held: list[Held], statuses: Sequence[str | None], void: str | None = None) -> Estimate:
    return rate(
        f"{CODE}.{name}",
        label,
        [status != "consistent" for status in statuses],
        [h.item.case.patient_id for h in held],
        unit_of_analysis="case",
        void=void,
        units=[h.item.case.case_id for h in held],
    )


def _share(held: list[Held], status: str, void: str | None) -> Estimate:
    name, label = SHARES[status]
    return rate(
        f"{CODE}.{name}",
        label,
        [h.status == status for h in held],
        [h.item.case.patient_id for h in held],
        unit_of_analysis="case",
        void=void,
        units=[h.item.case.case_id for h in held],
    )


def _median(name: str, label: str, held: list[Held], unit: str, value: Callable[[Residual], float | None]) -> Estimate:
    better = {"dB": "higher", "gain": "nearer_one", "bias": "none"}
    pairs = [(h.item.case, v) for h in held if (v := value(h.output)) is not None]
    return median(
        f"{CODE}.{name}",
        label,
        [v for _, v in pairs],
        [case.patient_id for case, _ in pairs],
        unit=unit,
        unit_of_analysis="case",
        better=better.get(name, better.get(unit, "lower")),
        units=[case.case_id for case, _ in pairs],
    )


def _row(h: Held) -> Row:
    r = h.output
    return {
        **h.item.row,
        "residual_ratio": round(r.ratio, 4),
        "local_residual": round(r.local, 4),
        "bias": round(r.bias, 5),
        "gain": None if r.gain is None else round(r.gain, 4),
        "truth": h.truth_status or "no reference",
        "status": h.status,
    }


def _scatter(held: list[Held], tolerance: Tolerance) -> Exhibit:
    points = [
        {"x": round(h.output.bias, 5), "y": round(h.output.ratio, 3), "group": h.status, "case_id": h.item.case.case_id}
        for h in held
    ]
    side = max([2 * tolerance.bias, *(1.1 * abs(h.output.bias) for h in held)])
    return Exhibit(
        id=f"{CODE}-scatter",
        kind="scatter",
        title="Difference of every output from its input, degraded again",
        caption="One mark a case. A faithful output lies at level 0 and under the line; above it the output "
        "contradicts the input by more than noise explains.",
        data={
            "x_label": "Level of the output over that of the input (share of the range)",
            "y_label": "Difference over what noise explains",
            "points": points,
            "lines": [{"y": tolerance.residual, "label": "tolerated"}],
            "x_range": [-side, side],
            "y_range": [0.0, max([1.2 * tolerance.residual, *(1.1 * h.output.ratio for h in held)])],
        },
    )


def _maps(findings: Findings, run: SuperResolutionRun, held: list[Held], noise: float, worst: int, random: int) -> None:
    """The worst cases by a fixed rule, and cases drawn by seed beside them, with where they differ from the input."""
    ordered = sorted(held, key=lambda h: (-max(h.output.ratio, h.output.local), h.item.case.case_id))
    first = ordered[:worst]
    taken = {h.item.case.case_id for h in first}
    rest = {i.case.case_id for i in random_picks(run, CODE, [h.item for h in held], random, taken)}
    shown = [*first, *(h for h in held if h.item.case.case_id in rest)]
    file, target = f"exhibits/{CODE}-maps.npz", run.cohort.target_domain or "target"
    findings.arrays[file] = {
        "source": stack([_map(h.output, noise, run.scale) for h in shown]).astype(np.float32),
        "output": stack([h.item.output for h in shown]).astype(np.float32),
    }
    columns = {"source": "difference (map)", "output": f"{target} (model)"}
    references = [h.item.reference for h in shown if h.item.reference is not None]
    if len(references) == len(shown):
        findings.arrays[file]["reference"] = stack(list(references)).astype(np.float32)
        columns["reference"] = f"{target} (real)"
    findings.exhibits.append(
        Exhibit(
            id=f"{CODE}-maps",
            kind="panels",
            title="Where outputs contradict their inputs",
            caption="The map is grey where the output, degraded again, agrees with the input; brighter where the "
            f"output is too bright and darker where it is too dark, up to {SHOWN:g} times what noise explains "
            f"({SHOWN * noise:.3f} of the range). The {len(first)} cases with the largest difference, and {len(rest)} "
            "drawn at random from the others.",
            file=file,
            data={
                "cases": [
                    {
                        "case_id": h.item.case.case_id,
                        "patient_id": h.item.case.patient_id,
                        "label": f"{h.status}, {h.output.ratio:.1f} times noise",
                        "rule": "worst" if k < len(first) else "random",
                    }
                    for k, h in enumerate(shown)
                ],
                "columns": columns,
                "display": [0.0, 1.0],
            },
        )
    )


def _map(r: Residual, noise: float, scale: tuple[int, int]) -> Float:
    return repeated(np.clip(0.5 + r.map / (2 * SHOWN * noise), 0.0, 1.0), scale)
